"""Figures 4 and 5: accuracy over checkpoints, task by task, and against the number of answers drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headscope.report.palette import INK
from headscope.report.paper import subjects
from headscope.report.paper.ablations import Ablations, choose_ablations
from headscope.report.paper.captions import seeds_sentence
from headscope.report.paper.exhibit import Exhibit, lacking
from headscope.report.paper.style import (
    LEAST_POINTS,
    TWO_COLUMNS,
    Look,
    error_bars,
    new_figure,
    panel_title,
    short_name,
)
from headscope.report.run_results import Labels, RunResults
from headscope.report.tables.accuracy import pass_at_k_data, pass_over_steps_data
from headscope.report.tables.verdicts import verdict_data
from headscope.results.colours import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from headscope.results.estimate import Estimate
from headscope.results.measures import Measures
from headscope.results.table import Row, Table, interval_columns
from headscope.runs.records import Finished

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = (
    (BLUE, "-", "o"),
    (VERMILION, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (ORANGE, (0, (5, 1)), "v"),
    (SKY, (0, (1, 1)), "P"),
    (INK, (0, (3, 1, 1, 1, 1, 1)), "X"),
    (GREY, "-", "*"),
)
"""Colour, dashes and marker of each task or model."""

_SETTINGS = 2
"""GRPO recipes that are drawn next to each other, as the paper has two data sets."""

Evaluations = Sequence[Finished[Measures]]


def benchmark_curves(results: RunResults) -> Exhibit:
    """Draw figure 4: pass@1 at every evaluated checkpoint of GRPO, and the problems it gains and loses."""
    first, other_data, other_rate = subjects.grpo_recipes(results)
    names = [group[0] for group in (first, other_data, other_rate) if group][:_SETTINGS]
    evaluated = {unit.labels["variant"] for unit in results.evaluations}
    names_drawn = [name for name in names if name in evaluated]
    if not names_drawn:
        reason = f"no answers of {', '.join(names)} are measured (tasks; headscope eval)"
        return lacking(reason if names else subjects.absent(names, subjects.GRPO))
    lacks = []
    if len(names) < _SETTINGS:
        lacks.append("one GRPO recipe instead of two (variants: a second one with another train.dataset)")
    for name in names_drawn:
        steps = {unit.labels["step"] for unit in results.evaluations if unit.labels["variant"] == name}
        if len(steps) == 1:
            lacks.append(f"{name} answers at its last checkpoint alone (eval.every: 1 measures every checkpoint)")
    units = [unit for unit in results.evaluations if unit.labels["variant"] in ("base", *names_drawn)]
    figure = new_figure(TWO_COLUMNS, 4.3 if len(results.tasks) <= 4 else 4.8)
    grid = figure.subplots(2, len(names_drawn), squeeze=False, height_ratios=(1.5, 1))
    for column, name in enumerate(names_drawn):
        of_variant = [unit for unit in units if unit.labels["variant"] in ("base", name)]
        _draw_steps(grid[0, column], results.tasks, of_variant, name)
        _draw_flips(grid[1, column], results.tasks, of_variant, name)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=6, handlelength=2.8)
    tables = (pass_over_steps_data(units), _flips_table(units))
    return Exhibit(tables, _curves_caption(results, names_drawn, units), tuple(lacks), figure)


def _draw_steps(axes: "Axes", tasks: Sequence[str], units: Evaluations, name: str) -> None:
    steps_drawn: set[int] = set()
    for task, (colour, dashes, marker) in zip(tasks, _LINES, strict=False):
        series = sorted((unit for unit in units if unit.labels["task"] == task), key=lambda unit: unit.labels["step"])
        if not series:
            continue
        steps = [int(unit.labels["step"]) for unit in series]
        scores = [unit.whole.pass_at_k[1] for unit in series]
        steps_drawn.update(steps)
        look: Look = {"color": colour, "marker": marker, "elinewidth": 0.6, "linestyle": dashes}
        values = [score.value for score in scores]
        axes.errorbar(steps, values, yerr=error_bars(scores), label=short_name(task, 18), **look)
        undecided = [index for index, unit in enumerate(series) if not _is_decided(unit.whole.change)]
        hollow: Look = {"marker": marker, "s": 5, "color": "white", "zorder": 3}
        axes.scatter([steps[index] for index in undecided], [values[index] for index in undecided], **hollow)
    axes.set(xlabel="training step (0: base)", ylabel="pass@1", ylim=(-0.03, 1.03))
    axes.locator_params(axis="x", nbins=6, integer=True)
    panel_title(axes, "", f"{short_name(name)}: pass@1 by task")


def _is_decided(change: Estimate | None) -> bool:
    """Return whether the interval of a change lies on one side of 0; false for the base, which has no change."""
    return change is not None and (change.low > 0 or change.high < 0)


def _draw_flips(axes: "Axes", tasks: Sequence[str], units: Evaluations, name: str) -> None:
    last = {
        unit.labels["task"]: unit
        for unit in sorted(units, key=lambda unit: unit.labels["step"])
        if unit.labels["variant"] == name and unit.whole.flips is not None
    }
    drawn = [task for task in tasks if task in last]
    for row, task in enumerate(reversed(drawn)):
        flips = last[task].whole.flips
        assert flips is not None
        gained, lost = 100 * flips.gained / flips.n, 100 * flips.lost / flips.n
        axes.barh(row, gained, 0.6, color=GREEN)
        axes.barh(row, -lost, 0.6, color=VERMILION, hatch="////", edgecolor="white", linewidth=0)
        look: Look = {"textcoords": "offset points", "va": "center", "fontsize": LEAST_POINTS}
        axes.annotate(f"+{flips.gained}" if flips.gained else "0", (gained, row), (2, 0), **look)
        axes.annotate(f"−{flips.lost}" if flips.lost else "0", (-lost, row), (-2, 0), ha="right", **look)
    axes.set_yticks(range(len(drawn)), [short_name(task, 18) for task in reversed(drawn)])
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_xlabel("% of problems: newly wrong | newly right, last checkpoint")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _flips_table(units: Evaluations) -> Table:
    rows: list[Row] = []
    for unit in units:
        flips, change = unit.whole.flips, unit.whole.change
        if flips is not None and change is not None:
            place: Row = {name: unit.labels[name] for name in ("task", "variant", "step")}
            place |= {"newly right": flips.gained, "newly wrong": flips.lost, "problems": flips.n, "p": flips.p_value}
            rows.append(place | {"change of pass@1": change.value, "low": change.low, "high": change.high})
    return Table("flips", tuple(rows), "One row per task and evaluated step; first answers, exact McNemar test.")


def _curves_caption(results: RunResults, names_drawn: Sequence[str], units: Evaluations) -> str:
    sizes = "; ".join(dict.fromkeys(f"{unit.labels['task']} {unit.whole.size}" for unit in units))
    return (
        f"pass@1 of {', '.join(names_drawn)} over GRPO, 95 % intervals over problems; a mark is filled if the change "
        "against the base, paired by problem, has an interval on one side of 0, and hollow if not. Below: problems "
        f"whose first answer became right or wrong, at the last checkpoint. n (problems × samples): {sizes}. Null: the "
        "base's own answers, at step 0. " + seeds_sentence(results)
    )


def coverage_curves(results: RunResults) -> Exhibit:
    """Draw figure 5: pass@k and success@k of one task, thinking off with its heads removed and scaled next to it."""
    lacks = []
    models = ["base", *results.variants]
    if results.thinking:
        labels = results.thinking[0].labels
        models = [str(labels["think_on"]), str(labels["variant"])]
    else:
        lacks.append(
            "no variant is the think-off mode of another, so the run's own models are drawn (chat: {enable_thinking: "
            "false}; headscope run qwen3-think or lab-think)"
        )
    edited = _edits(results, models)
    tasks = list(dict.fromkeys([*(verdict.task for _, verdict in edited), *results.tasks]))
    units = [unit for unit in results.last_evaluations if unit.labels["variant"] in models]
    task = next((task for task in tasks if any(unit.labels["task"] == task for unit in units)), None)
    if task is None:
        return lacking("no answers are measured (tasks; headscope eval)")
    units = [unit for unit in units if unit.labels["task"] == task][: len(_LINES)]
    edited = [(unit, verdict) for unit, verdict in edited if verdict.task == task] if results.thinking else []
    if results.thinking and not edited:
        lacks.append(
            "no heads are removed or scaled with thinking off (ablate.heads: [think-off-only], generated_scales)"
        )
    if edited and not any(len(verdict.ablated_at_k or ()) > 1 for _, verdict in edited):
        lacks.append("one answer per problem with heads removed or scaled, so no curve over k (ablate.samples)")
    if max(unit.whole.largest_k for unit in units) < 8:
        lacks.append("too few answers per problem for large k (eval.samples, eval.k; the paper draws 64)")
    figure = new_figure(TWO_COLUMNS, 2.7)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, letter, name in ((left, "A", "pass@k"), (right, "B", "success@k")):
        _draw_curves(axes, units, name)
        panel_title(axes, letter, f"{name}, {short_name(task)}")
    _draw_edited(left, edited, len(units))
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, handlelength=3)
    tables = [pass_at_k_data(units)]
    if edited:
        tables += [verdict_data([unit for unit, _ in edited]), _edited_table(edited)]
    return Exhibit(tuple(tables), _coverage_caption(results, units, task), tuple(lacks), figure)


def _edits(results: RunResults, models: Sequence[str]) -> Ablations:
    """Return the ablations of one of the models itself, in which its answers were drawn anew."""

    def is_edit(labels: Labels) -> bool:
        return labels["variant"] in models and labels.get("on") is None and labels.get("step") is None

    return choose_ablations(results, is_edit)


def _draw_curves(axes: "Axes", units: Evaluations, name: str) -> None:
    drawn_ks: set[int] = set()
    for unit, (colour, dashes, marker) in zip(units, _LINES, strict=False):
        curve = unit.whole.pass_at_k if name == "pass@k" else unit.whole.success_at_k
        estimates = list(curve.values())
        drawn_ks.update(curve)
        look: Look = {"color": colour, "marker": marker, "elinewidth": 0.6, "linestyle": dashes}
        label = short_name(unit.labels["variant"], 20)
        axes.errorbar(
            list(curve), [estimate.value for estimate in estimates], yerr=error_bars(estimates), label=label, **look
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(drawn_ks), [str(k) for k in sorted(drawn_ks)])
    axes.minorticks_off()
    axes.set(xlabel="k", ylabel="share of problems", ylim=(-0.03, 1.03))
    axes.label_outer()


def _draw_edited(axes: "Axes", edited: Ablations, first: int) -> None:
    for (unit, verdict), (colour, dashes, marker) in zip(edited, _LINES[first:], strict=False):
        label = f"{short_name(unit.labels['heads'], 16)} heads, {unit.labels['operator']}"
        curve = verdict.ablated_at_k or {1: verdict.ablated}
        estimates = list(curve.values())
        look: Look = {
            "color": colour,
            "marker": marker,
            "linestyle": dashes if len(curve) > 1 else "",
            "elinewidth": 0.6,
        }
        values = [estimate.value for estimate in estimates]
        axes.errorbar(list(curve), values, yerr=error_bars(estimates), label=label, **look)


def _edited_table(edited: Ablations) -> Table:
    rows: list[Row] = []
    for unit, verdict in edited:
        for k, estimate in (verdict.ablated_at_k or {1: verdict.ablated}).items():
            place: Row = {name: str(unit.labels[name]) for name in ("variant", "heads", "operator", "task")}
            rows.append(place | {"k": k} | interval_columns("pass@k", estimate))
    return Table("edited-pass-at-k", tuple(rows), "One row per edited model and number of answers.")


def _coverage_caption(results: RunResults, units: Evaluations, task: str) -> str:
    sizes = "; ".join(f"{unit.labels['variant']} {unit.whole.size}" for unit in units)
    methods = ", ".join(dict.fromkeys(unit.whole.pass_at_k[1].method for unit in units))
    return (
        f"Share of the problems of {task} that hold a right answer among k: (A) pass@k, over all subsets of k answers; "
        "(B) success@k, any of the first k, which estimates the same quantity with more noise. Bars: 95 % intervals "
        f"over problems ({methods}). n (problems × samples): {sizes}, each at its last evaluated step. No null. "
        "Unfinished and unparsed answers count as wrong. " + seeds_sentence(results)
    )
