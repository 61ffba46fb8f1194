"""Teacher-forced evidence: what each operator does to the loss among the controls, and the loss over the dose."""

from collections.abc import Sequence

import plotly.graph_objects as go

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import error_bars, new_plot, plot_label
from headscope.report.run_results import edited_model, with_result
from headscope.report.tables.evidence import STANDS, evidence_data
from headscope.results.colours import BLUE, GREY, ORANGE
from headscope.results.evidence import DoseResponse, Evidence
from headscope.runs.records import Finished


def evidence(units: Sequence[Finished[Evidence]]) -> Figure:
    """Draw per head set and task one panel of operators among their controls, and one of doses if there are any."""
    panels = []
    for unit, result in with_result(units):
        title = f"{edited_model(unit.labels)}, {unit.labels['heads']} heads, {unit.labels['task']}"
        panels.append(Panel(f"{title}: {STANDS[result.stands]}", _operators_plot(result)))
        if result.dose is not None:
            panels.append(Panel(f"{title}: dose", _doses_plot(result.dose)))
    return Figure(
        name="evidence",
        question="Do these heads matter under every operator, more than their controls?",
        reading="Diamond and bar: how much the loss on the model's own correct answers rises when the heads are "
        "replaced, with its interval. Grey ticks: random sets with as many heads per layer; orange: sets of like "
        "importance in the base model. A set stands if the diamond lies right of nearly all grey ticks under three "
        "of the four operators that remove heads; revert, which gives them the base's weights, has no vote.",
        basis="Nats per response token, teacher-forced, 95 % bootstrap over texts; the table holds n, ranks, the "
        "off-task guard, the base model and self-repair. Dose: the heads' writes times α.",
        panels=tuple(panels),
        table=evidence_data(units),
    )


def _operators_plot(evidence: Evidence) -> go.Figure:
    plot = new_plot(x="change of loss, nats per token", height=140 + 50 * len(evidence.operators))
    for colour, name, field in (
        (GREY, "same layers", "control_effects"),
        (ORANGE, "like importance", "importance_effects"),
    ):
        x: list[float] = []
        y: list[str] = []
        for operator in evidence.operators:
            effects = getattr(operator, field).tolist()
            x += effects
            y += [plot_label(operator.operator)] * len(effects)
        tick = {"symbol": "line-ns-open", "color": colour, "size": 12, "line": {"width": 1.5}}
        plot.add_scatter(x=x, y=y, mode="markers", marker=tick, name=name)
    estimates = [operator.effect for operator in evidence.operators]
    plot.add_scatter(
        x=[estimate.value for estimate in estimates],
        y=[plot_label(operator.operator) for operator in evidence.operators],
        mode="markers",
        marker={"symbol": "diamond", "color": BLUE, "size": 11},
        error_x=error_bars(estimates),
        name="these heads",
    )
    return plot


def _doses_plot(dose: DoseResponse) -> go.Figure:
    plot = new_plot(x="factor α on what the heads write", y="change of loss, nats per token", legend=False)
    y = [effect.value for effect in dose.effects]
    bars = error_bars(dose.effects)
    plot.add_scatter(x=list(dose.alphas), y=y, mode="lines+markers", line={"color": BLUE}, error_y=bars, name="dose")
    return plot
