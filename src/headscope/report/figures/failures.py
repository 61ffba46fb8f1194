"""Figures of why answers are wrong: kinds of failure per model, and over training."""

from collections.abc import Mapping, Sequence

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import (
    BAR_EDGE,
    STEP,
    bar_pattern,
    in_legend_once,
    look_alikes,
    new_plot,
    plot_label,
)
from headscope.report.palette import Mark, lines
from headscope.report.tables.traces import failures_data
from headscope.results.traces import TraceSummary
from headscope.runs.records import Finished

Units = Sequence[Finished[TraceSummary]]
_MOST_KINDS = 5
"""Lines of a panel over steps."""
_PATTERNS = {"solid": "", "dot": "", "dash": "/", "dashdot": "x", "longdash": ".", "longdashdot": "-"}


def failures(units: Units, marks: Mapping[str, Mark]) -> Figure:
    """Draw one panel per task, kinds down, a bar per model, from the last evaluated steps."""
    by_task: dict[str, list[Finished[TraceSummary]]] = {}
    for unit in units:
        by_task.setdefault(str(unit.labels["task"]), []).append(unit)
    return Figure(
        name="reasons",
        question="Why are wrong answers wrong?",
        reading="Each bar is the share of a model's answers that are wrong for one reason, the first that applies: the "
        "answer repeats itself, is cut off, had stated the right answer before (over-thinking), slips in a step, or "
        "states none. Slips are named by their kind.",
        basis="Shares of all answers (problems × samples in each panel's title); a model's bars sum to its wrong ones."
        + look_alikes(marks),
        panels=tuple(_panel(task, of_task, marks) for task, of_task in by_task.items()),
        table=failures_data([(unit.labels, unit.whole) for unit in units]),
    )


def _panel(task: str, units: Units, marks: Mapping[str, Mark]) -> Panel:
    totals: dict[str, int] = {}
    for unit in units:
        for kind, count in unit.whole.failures.items():
            totals[kind] = totals.get(kind, 0) + count
    kinds = sorted(totals, key=lambda kind: -totals[kind])
    plot = new_plot(x="share of answers", height=110 + max(1, len(kinds)) * (14 + 12 * len(units)))
    for unit in units:
        name, summary = unit.labels["variant"], unit.whole
        mark = marks[name]
        shares = [summary.failures.get(kind, 0) / summary.answers for kind in kinds]
        pattern = bar_pattern(_PATTERNS.get(mark.dash, ""))
        plot.add_bar(
            x=shares,
            y=[plot_label(kind) for kind in kinds],
            orientation="h",
            name=plot_label(name),
            marker={"color": mark.colour, "line": BAR_EDGE, "pattern": pattern},
            hovertemplate=f"{plot_label(name)}: %{{x:.1%}}<extra></extra>",
            **in_legend_once(plot, mark),
        )
    plot.update_layout(barmode="group", bargap=0.25, legend={"traceorder": "normal"})
    plot.update_xaxes(rangemode="tozero", tickformat="~%")
    plot.update_yaxes(autorange="reversed")
    sizes = dict.fromkeys(f"{unit.whole.problems} × {unit.whole.samples}" for unit in units)
    return Panel(f"{task} · n {', '.join(sizes)}", plot)


def failures_over_steps(units: Units, variants: tuple[str, ...]) -> Figure:
    """Draw one panel per task and variant with several evaluated steps, a line per kind; the base is step 0."""
    panels = []
    for task in dict.fromkeys(str(unit.labels["task"]) for unit in units):
        of_task = sorted((unit for unit in units if unit.labels["task"] == task), key=_step)
        base = [unit for unit in of_task if unit.labels["variant"] not in variants]
        for variant in variants:
            later = [unit for unit in of_task if unit.labels["variant"] == variant]
            if len(later) > 1:
                panels.append(_steps_panel(f"{variant} on {task}", [*base, *later]))
    return Figure(
        name="reasons-over-steps",
        question="How did the reasons move during training?",
        reading="Each line is the share of all answers that are wrong for one reason, at each evaluated checkpoint; "
        f"the base stands at step 0. The {_MOST_KINDS} kinds that are most frequent at any step; all are in the table.",
        basis="n of each panel: problems × samples.",
        panels=tuple(panels),
        table=failures_data([(unit.labels, unit.whole) for unit in units], name="reasons-over-steps"),
    )


def _step(unit: Finished[TraceSummary]) -> int:
    return int(unit.labels["step"])


def _steps_panel(title: str, units: Units) -> Panel:
    shares = {
        kind: [unit.whole.failures.get(kind, 0) / unit.whole.answers for unit in units]
        for kind in dict.fromkeys(kind for unit in units for kind in unit.whole.failures)
    }
    kinds = sorted(shares, key=lambda kind: -max(shares[kind]))[:_MOST_KINDS]
    plot = new_plot(x=STEP, y="share of answers", height=300)
    for kind, mark in lines(kinds).items():
        plot.add_scatter(
            x=[_step(unit) for unit in units],
            y=shares[kind],
            mode="lines+markers",
            name=plot_label(kind),
            line={"color": mark.colour, "dash": mark.dash, "width": 2},
            marker={"symbol": mark.symbol, "size": 8, "color": mark.colour},
        )
    plot.update_yaxes(rangemode="tozero", tickformat="~%")
    sizes = dict.fromkeys(f"{unit.whole.problems} × {unit.whole.samples}" for unit in units)
    return Panel(f"{title} · n {', '.join(sizes)}", plot)
