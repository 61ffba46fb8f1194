"""Accuracy against the number of samples drawn and over training: pass@k with bands, task by task."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import (
    STEP,
    STEP_CLICK,
    error_bars,
    in_legend_once,
    look_alikes,
    make_room_for_names,
    new_plot,
    plot_label,
    step_meta,
)
from headscope.report.palette import Mark
from headscope.report.tables.accuracy import pass_at_k_data, pass_over_steps_data
from headscope.results.estimate import Estimate
from headscope.results.measures import Measures
from headscope.runs.records import Finished

Evaluations = Sequence[Finished[Measures]]


def by_task(evaluations: Evaluations) -> dict[str, list[Finished[Measures]]]:
    """Return the evaluations of each task, in order."""
    tasks: dict[str, list[Finished[Measures]]] = {}
    for unit in evaluations:
        tasks.setdefault(unit.labels["task"], []).append(unit)
    return tasks


def panel_title(task: str, evaluations: Evaluations) -> str:
    """Return the title of a task's panel, with its n."""
    return f"{task} · n {', '.join(dict.fromkeys(unit.whole.size for unit in evaluations))}"


def accuracy(evaluations: Evaluations, marks: Mapping[str, Mark]) -> Figure:
    """Draw one panel per task, a line per model, from the last evaluated steps."""
    return Figure(
        name="pass-at-k",
        question="How often do k answers hold a correct one?",
        reading="pass@k is the chance that at least one of k answers to a problem is right; bars are 95 % intervals "
        "over problems. Lines that differ at k = 1 and meet at large k speak for answers made likelier rather than "
        "learnt.",
        basis="Unfinished and unparsed answers count as wrong. n of each panel: problems × samples. success@k, any of "
        "the first k, is in the table: it estimates the same quantity with more noise." + look_alikes(marks),
        panels=tuple(_panel(task, units, marks) for task, units in by_task(evaluations).items()),
        table=pass_at_k_data(evaluations),
    )


def _panel(task: str, evaluations: Evaluations, marks: Mapping[str, Mark]) -> Panel:
    plot = new_plot(x="k", y="pass@k", height=300)
    drawn_ks: set[int] = set()
    for unit in evaluations:
        curve = unit.whole.pass_at_k
        drawn_ks.update(curve)
        _add_line(
            plot, unit.labels["variant"], [str(k) for k in curve], list(curve.values()), marks[unit.labels["variant"]]
        )
    plot.update_xaxes(type="category", categoryorder="array", categoryarray=[str(k) for k in sorted(drawn_ks)])
    plot.update_yaxes(range=[-0.03, 1.03], tickformat="~%")
    make_room_for_names(plot)
    return Panel(panel_title(task, evaluations), plot)


def _add_line(
    plot: go.Figure,
    model: str,
    x: list[str] | list[int],
    estimates: list[Estimate],
    mark: Mark,
    meta: dict[str, str] | None = None,
) -> None:
    plot.add_scatter(
        x=x,
        y=[estimate.value for estimate in estimates],
        error_y=error_bars(estimates) | {"color": mark.colour},
        mode="lines+markers",
        name=plot_label(model),
        line={"color": mark.colour, "dash": mark.dash, "width": 2},
        marker={"symbol": mark.symbol, "size": 8, "color": mark.colour},
        meta=meta,
        **in_legend_once(plot, mark),
    )


def accuracy_over_steps(evaluations: Evaluations, marks: Mapping[str, Mark]) -> Figure:
    """Draw pass@1 at every evaluated step, one panel per task; the base is step 0."""
    return Figure(
        name="pass-over-steps",
        question="How did accuracy move during training?",
        reading="pass@1 at each evaluated checkpoint, with 95 % intervals over problems; the base stands at step 0. "
        f"{STEP_CLICK}",
        basis="n of each panel: problems × samples." + look_alikes(marks),
        panels=tuple(_steps_panel(task, units, marks) for task, units in by_task(evaluations).items()),
        table=pass_over_steps_data(evaluations),
    )


def _steps_panel(task: str, evaluations: Evaluations, marks: Mapping[str, Mark]) -> Panel:
    plot = new_plot(x=STEP, y="pass@1", height=300)
    in_time = sorted(evaluations, key=lambda unit: int(unit.labels["step"]))
    for model in dict.fromkeys(unit.labels["variant"] for unit in evaluations):
        series = [unit for unit in in_time if unit.labels["variant"] == model]
        steps = [int(unit.labels["step"]) for unit in series]
        levels = [unit.whole.pass_at_k[1] for unit in series]
        _add_line(plot, model, steps, levels, marks[model], step_meta(model, task))
    plot.update_yaxes(range=[-0.03, 1.03], tickformat="~%")
    make_room_for_names(plot)
    return Panel(panel_title(task, evaluations), plot)
