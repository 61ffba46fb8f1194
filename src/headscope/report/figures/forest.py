"""The forest plot of ablations: each head set's effect on pass@1 among the effects of matched random sets."""

from collections.abc import Sequence

import plotly.graph_objects as go

from headscope.report.blocks import Figure, Panel, Table, Value
from headscope.report.figures.canvas import label, new_plot
from headscope.report.findings import Ablation
from headscope.report.numbers import rounded
from headscope.report.palette import BLUE, GREY, ORANGE, READINGS
from headscope.results.verdict import AblationVerdict

_ROW = 70
"""Pixels per row: two lines of words above the marks."""


def forest(ablations: Sequence[Ablation]) -> Figure:
    """One panel per variant, a row per head set, operator and task that was run."""
    run = [(each, each.verdict) for each in ablations if each.verdict is not None]
    span = 1.1 * max(_reach(verdict) for _, verdict in run)
    variants = dict.fromkeys(each.variant for each, _ in run)
    return Figure(
        name="ablation",
        question="Does removing these heads change the answers, more than removing others does?",
        reading="Diamond and bar: change of pass@1 when the heads are removed, with its interval. Grey "
        "ticks: random sets with the same number "
        "of heads per layer; orange bar: their mean. The heads matter where the bar lies clear of 0 (the "
        "grey line) and of nearly all ticks.",
        basis="Change of pass@1 with minus without the intervention, paired by problem, 95 % problem "
        "bootstrap; problems × samples, rank among "
        "the random sets (1 = strongest) and verdict stand above each row.",
        panels=tuple(_panel(name, [pair for pair in run if pair[0].variant == name], span) for name in variants),
        table=_table(ablations),
    )


def _reach(verdict: AblationVerdict) -> float:
    finite = [abs(bound) for bound in (verdict.effect.low, verdict.effect.high) if bound == bound]
    return float(max([0.05, *finite, *abs(verdict.control_effects)]))


def _panel(variant: str, run: Sequence[tuple[Ablation, AblationVerdict]], span: float) -> Panel:
    plot = new_plot(x="change of pass@1", height=130 + _ROW * len(run))
    for row, (ablation, verdict) in enumerate(reversed(run)):
        _row(plot, row, ablation, verdict)
    for index, trace in enumerate(plot.data):
        trace.showlegend = index < 3
    plot.update_xaxes(range=[-span, span], showgrid=False, zeroline=False)
    plot.update_yaxes(visible=False, range=[-0.5, len(run) - 0.2])
    plot.update_layout(margin={"l": 12})
    return Panel(variant, plot)


def _row(plot: go.Figure, row: int, ablation: Ablation, verdict: AblationVerdict) -> None:
    plot.add_shape(type="line", x0=0, x1=0, y0=row - 0.2, y1=row + 0.2, line={"color": GREY, "width": 2})
    controls = verdict.control_effects.tolist()
    tick = {"symbol": "line-ns-open", "color": GREY, "size": 12, "line": {"width": 1.5}}
    mean = {"symbol": "line-ns-open", "color": ORANGE, "size": 18, "line": {"width": 4}}
    effect = verdict.effect
    reach = {
        "array": [effect.high - effect.value],
        "arrayminus": [effect.value - effect.low],
        "thickness": 2.5,
        "width": 6,
    }
    plot.add_scatter(x=controls, y=[row] * len(controls), mode="markers", marker=tick, name="random sets")
    plot.add_scatter(x=[verdict.control_mean], y=[row], mode="markers", marker=mean, name="their mean")
    diamond = {"symbol": "diamond", "color": BLUE, "size": 11}
    plot.add_scatter(x=[effect.value], y=[row], mode="markers", marker=diamond, error_x=reach, name="these heads")
    what = f"{label(ablation.heads)} heads, {label(ablation.operator)}, {label(ablation.task)}"
    text = f"<b>{len(verdict.heads)} {what}</b> · {_standing(verdict)}"
    plot.add_annotation(
        x=0,
        xref="paper",
        xanchor="left",
        y=row + 0.2,
        yanchor="bottom",
        text=text,
        align="left",
        showarrow=False,
    )


def _standing(verdict: AblationVerdict) -> str:
    place = f"rank {verdict.rank} of {verdict.controls + 1}, p = {rounded(verdict.p_value, 3)}"
    reading = f"{READINGS[verdict.reading]} {verdict.reading}"
    return f"n {verdict.problems} × {verdict.samples}<br>{place} · {reading}"


_COLUMNS = (
    *("variant", "heads", "operator", "task", "n", "samples", "effect", "low", "high"),
    *("random mean", "random sd", "random sets", "rank", "p", "verdict", "reason"),
)


def _table(ablations: Sequence[Ablation]) -> Table:
    rows = tuple(_cells(each) for each in ablations)
    return Table(_COLUMNS, rows, "One row per head set, operator and task.", "ablation")


def _cells(ablation: Ablation) -> tuple[Value, ...]:
    what = (ablation.variant, ablation.heads, ablation.operator, ablation.task)
    found = ablation.verdict
    if found is None:
        return (*what, *([None] * 10), "not run", ablation.reason)
    effect = (found.problems, found.samples, found.effect.value, found.effect.low, found.effect.high)
    null = (found.control_mean, found.control_sd, found.controls, found.rank, found.p_value)
    return (*what, *effect, *null, found.reading, ablation.reason)
