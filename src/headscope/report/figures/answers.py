"""Figures of how answers end: correct, wrong, unparsed, unfinished, and how long they are."""

from collections.abc import Sequence

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.accuracy import by_task, panel_title
from headscope.report.figures.canvas import BAR_EDGE, bar_pattern, new_plot, plot_label
from headscope.report.palette import ANSWERS
from headscope.report.tables.accuracy import answers_data
from headscope.results.measures import Measures
from headscope.results.numbers import format_number
from headscope.runs.records import Finished


def answers(evaluations: Sequence[Finished[Measures]]) -> Figure:
    """Draw one panel per task, a bar per model, from the last evaluated steps."""
    return Figure(
        name="answers",
        question="How do the answers end, and how long are they?",
        reading="Each bar holds all answers of one model to one task, split by how they ended; the mean length in "
        "tokens stands at its foot. Unfinished answers were cut at the length limit, unparsed ones hold no readable "
        "answer: both count as wrong.",
        basis="Shares of all answers (problems × samples in each panel's title).",
        panels=tuple(_panel(task, units) for task, units in by_task(evaluations).items()),
        table=answers_data(evaluations),
    )


def _panel(task: str, evaluations: Sequence[Finished[Measures]]) -> Panel:
    plot = new_plot(x="share of answers", height=120 + 52 * len(evaluations))
    names = [_bar_name(unit) for unit in evaluations]
    for verdict, (colour, pattern) in ANSWERS.items():
        shares = [unit.whole.rates.get(verdict, 0.0) for unit in evaluations]
        if any(shares):
            marker = {"color": colour, "line": BAR_EDGE, "pattern": bar_pattern(pattern)}
            hover = f"{verdict}: %{{x:.1%}}<extra></extra>"
            plot.add_bar(x=shares, y=names, orientation="h", name=verdict, marker=marker, hovertemplate=hover)
    plot.update_layout(barmode="stack", bargap=0.35, legend={"traceorder": "normal"})
    plot.update_xaxes(range=[0, 1.001], tickformat="~%")
    plot.update_yaxes(autorange="reversed")
    return Panel(panel_title(task, evaluations), plot)


def _bar_name(unit: Finished[Measures]) -> str:
    return f"{plot_label(unit.labels['variant'])}<br>{format_number(unit.whole.mean_tokens.value, 0)} tokens"
