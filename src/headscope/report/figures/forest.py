"""The forest plot of ablations: each head set's effect on pass@1 among the effects of matched random sets."""

from collections.abc import Sequence

import plotly.graph_objects as go

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import error_bars, new_plot, plot_label
from headscope.report.palette import READINGS
from headscope.report.run_results import edited_model, with_result
from headscope.report.tables.verdicts import verdict_data
from headscope.results.colours import BLUE, GREY, ORANGE
from headscope.results.numbers import state_p
from headscope.results.verdict import AblationVerdict
from headscope.runs.records import Finished

Unit = tuple[Finished[AblationVerdict], AblationVerdict]

_ROW = 70
"""Pixels per row: two lines of words above the marks."""


def forest(units: Sequence[Finished[AblationVerdict]]) -> Figure:
    """Draw one panel per edited model, a row per head set, operator and task that was run; needs at least one."""
    measured = with_result(units)
    span = 1.1 * max(_reach(verdict) for _, verdict in measured)
    methods = ", ".join(dict.fromkeys(verdict.effect.method for _, verdict in measured))
    by_model: dict[str, list[Unit]] = {}
    for unit, verdict in measured:
        by_model.setdefault(edited_model(unit.labels), []).append((unit, verdict))
    return Figure(
        name="ablation",
        question="Does removing these heads change the answers, more than removing others does?",
        reading="Diamond and bar: change of pass@1 when the heads are removed, with its interval. Grey ticks: random "
        "sets with the same number of heads per layer; orange bar: their mean. The heads matter if the bar lies clear "
        "of 0 (the grey line) and of nearly all ticks.",
        basis=f"Change of pass@1 with minus without the intervention, paired by problem, {methods}; "
        "problems × samples, rank among the random sets (1 = strongest) and verdict stand above each row.",
        panels=tuple(_panel(model, rows, span) for model, rows in by_model.items()),
        table=verdict_data(units),
    )


def _reach(verdict: AblationVerdict) -> float:
    finite = [abs(bound) for bound in (verdict.effect.low, verdict.effect.high) if bound == bound]
    return float(max([0.05, *finite, *abs(verdict.control_effects)]))


def _panel(model: str, rows: Sequence[Unit], span: float) -> Panel:
    plot = new_plot(x="change of pass@1", height=130 + _ROW * len(rows))
    for row, (unit, verdict) in enumerate(reversed(rows)):
        _add_row(plot, row, unit, verdict)
    for index, trace in enumerate(plot.data):
        trace.showlegend = index < 3
    plot.update_xaxes(range=[-span, span], showgrid=False, zeroline=False)
    plot.update_yaxes(visible=False, range=[-0.5, len(rows) - 0.2])
    plot.update_layout(margin={"l": 12})
    return Panel(model, plot)


def _add_row(plot: go.Figure, row: int, unit: Finished[AblationVerdict], verdict: AblationVerdict) -> None:
    plot.add_shape(type="line", x0=0, x1=0, y0=row - 0.2, y1=row + 0.2, line={"color": GREY, "width": 2})
    controls = verdict.control_effects.tolist()
    tick = {"symbol": "line-ns-open", "color": GREY, "size": 12, "line": {"width": 1.5}}
    mean = {"symbol": "line-ns-open", "color": ORANGE, "size": 18, "line": {"width": 4}}
    diamond = {"symbol": "diamond", "color": BLUE, "size": 11}
    reach = error_bars([verdict.effect]) | {"thickness": 2.5, "width": 6}
    plot.add_scatter(x=controls, y=[row] * len(controls), mode="markers", marker=tick, name="random sets")
    plot.add_scatter(x=[verdict.control_mean], y=[row], mode="markers", marker=mean, name="their mean")
    plot.add_scatter(
        x=[verdict.effect.value], y=[row], mode="markers", marker=diamond, error_x=reach, name="these heads"
    )
    heads, operator, task = [plot_label(unit.labels[name]) for name in ("heads", "operator", "task")]
    plot.add_annotation(
        x=0,
        xref="paper",
        xanchor="left",
        y=row + 0.2,
        yanchor="bottom",
        text=f"<b>{len(verdict.heads)} {heads} heads, {operator}, {task}</b> · {_words(verdict)}",
        align="left",
        showarrow=False,
    )


def _words(verdict: AblationVerdict) -> str:
    rank = f"rank {verdict.rank} of {verdict.controls + 1}, {state_p(verdict.p_value)}"
    reading = f"{READINGS[verdict.reading]} {verdict.reading}"
    return f"n {verdict.problems} × {verdict.samples}<br>{rank} · {reading}"
