"""Why wrong answers are wrong: kinds of failure per model."""

from collections.abc import Sequence

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import new_plot, plot_label
from headscope.report.palette import model_mark
from headscope.report.tables.traces import failures_data
from headscope.results.traces import TraceSummary
from headscope.runs.records import Finished

Units = Sequence[Finished[TraceSummary]]
_PATTERNS = {"solid": "", "dot": "", "dash": "/", "dashdot": "x", "longdash": ".", "longdashdot": "-"}


def failures(units: Units, variants: tuple[str, ...]) -> Figure:
    """Draw one panel per task, kinds down, a bar per model, from the last evaluated steps."""
    by_task: dict[str, list[Finished[TraceSummary]]] = {}
    for unit in units:
        by_task.setdefault(str(unit.labels["task"]), []).append(unit)
    return Figure(
        name="failures",
        question="Why are wrong answers wrong?",
        reading="Each bar is the share of a model's answers that are wrong for one reason, the first that applies: the "
        "answer repeats itself, is cut off, had stated the right answer before (over-thinking), slips in a step, or "
        "states none. Slips are named by their kind.",
        basis="Shares of all answers (problems × samples in each panel's title); a model's bars sum to its wrong ones.",
        panels=tuple(_panel(task, of_task, variants) for task, of_task in by_task.items()),
        table=failures_data([(unit.labels, unit.whole) for unit in units]),
    )


def _panel(task: str, units: Units, variants: tuple[str, ...]) -> Panel:
    totals: dict[str, int] = {}
    for unit in units:
        for kind, count in unit.whole.failures.items():
            totals[kind] = totals.get(kind, 0) + count
    kinds = sorted(totals, key=lambda kind: -totals[kind])
    plot = new_plot(x="share of answers", height=110 + max(1, len(kinds)) * (14 + 12 * len(units)))
    for unit in units:
        name, summary = unit.labels["variant"], unit.whole
        mark = model_mark(name, variants)
        shares = [summary.failures.get(kind, 0) / summary.answers for kind in kinds]
        pattern = {"shape": _PATTERNS.get(mark.dash, ""), "fgopacity": 0.6}
        plot.add_bar(
            x=shares,
            y=[plot_label(kind) for kind in kinds],
            orientation="h",
            name=plot_label(name),
            marker={"color": mark.colour, "pattern": pattern},
            hovertemplate=f"{plot_label(name)}: %{{x:.1%}}<extra></extra>",
        )
    plot.update_layout(barmode="group", bargap=0.25, legend={"traceorder": "normal"})
    plot.update_xaxes(rangemode="tozero", tickformat=".0%")
    plot.update_yaxes(autorange="reversed")
    sizes = dict.fromkeys(f"{unit.whole.problems} × {unit.whole.samples}" for unit in units)
    return Panel(f"{task} · n {', '.join(sizes)}", plot)
