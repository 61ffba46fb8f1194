"""Teacher-forced evidence: what each operator does to the loss among the controls, and the loss over the dose."""

from collections.abc import Sequence

import plotly.graph_objects as go

from headscope.report.blocks import Figure, Panel, Table, Value
from headscope.report.figures.canvas import error_bars, label, new_plot
from headscope.report.findings import Asked
from headscope.report.palette import BLUE, GREY, ORANGE
from headscope.results.evidence import DoseResponse, Evidence


def evidence(asked: Sequence[Asked]) -> Figure:
    """Per head set and task one panel of operators among their controls, and one of doses where there are any."""
    run = [(each, each.evidence) for each in asked if each.evidence is not None]
    panels = []
    for each, found in run:
        title = f"{each.variant}, {each.heads} heads, {each.task}"
        panels.append(Panel(f"{title}: {_STANDS[found.stands]}", _operators(found)))
        if found.dose is not None:
            panels.append(Panel(f"{title}: dose", _doses(found.dose)))
    return Figure(
        name="evidence",
        question="Do these heads matter under every operator, more than their controls?",
        reading="Diamond and bar: how much the loss on the model's own correct answers rises when the heads are "
        "replaced, with its interval. Grey ticks: random sets with as many heads per layer; orange: sets of like "
        "importance in the base model. A set stands where the diamond lies right of nearly all grey ticks under three "
        "of four operators.",
        basis="Nats per response token, teacher-forced, 95 % bootstrap over texts; the table holds n, ranks, the "
        "off-task guard, the base model and self-repair. Dose: the heads' writes times α.",
        panels=tuple(panels),
        table=Table(_COLUMNS, tuple(row for pair in run for row in _rows(*pair)), "One row per operator.", "evidence"),
    )


_STANDS = {True: "stands", False: "does not stand", None: "undecided"}


def _operators(found: Evidence) -> go.Figure:
    plot = new_plot(x="change of loss, nats per token", height=140 + 50 * len(found.operators))
    names = [each.operator for each in found.operators]
    for colour, name, field in (
        (GREY, "same layers", "control_effects"),
        (ORANGE, "like importance", "importance_effects"),
    ):
        points = [(value, each.operator) for each in found.operators for value in getattr(each, field).tolist()]
        mark = {"symbol": "line-ns-open", "color": colour, "size": 12, "line": {"width": 1.5}}
        x, y = [value for value, _ in points], [label(operator) for _, operator in points]
        plot.add_scatter(x=x, y=y, mode="markers", marker=mark, name=name)
    effects = [each.effect for each in found.operators]
    diamond = {"symbol": "diamond", "color": BLUE, "size": 11}
    x = [effect.value for effect in effects]
    y = [label(name) for name in names]
    plot.add_scatter(x=x, y=y, mode="markers", marker=diamond, error_x=error_bars(effects), name="these heads")
    return plot


def _doses(dose: DoseResponse) -> go.Figure:
    plot = new_plot(x="α", y="change of loss, nats per token", legend=False)
    y = [effect.value for effect in dose.effects]
    bars = error_bars(dose.effects)
    plot.add_scatter(x=list(dose.alphas), y=y, mode="lines+markers", line={"color": BLUE}, error_y=bars, name="dose")
    return plot


_COLUMNS = (
    *("variant", "heads", "task", "operator", "texts", "effect", "low", "high", "rank", "p", "p like importance"),
    *("supported", "post - base", "off-task", "specific", "direct - total", "stands", "reason"),
)


def _rows(asked: Asked, found: Evidence) -> list[tuple[Value, ...]]:
    guard, repair = found.guard, found.repair
    beside = (
        None if found.training is None else found.training.value,
        None if guard is None else guard.effect.value,
        None if guard is None else guard.specific.value,
        None if repair is None else repair.repaired.value,
    )
    rows: list[tuple[Value, ...]] = []
    for each in found.operators:
        what = (asked.variant, asked.heads, asked.task, each.operator, found.texts)
        effect = (each.effect.value, each.effect.low, each.effect.high)
        rank = each.rank if len(each.control_effects) else None
        null = (rank, each.p_value, each.importance_p_value, "yes" if each.supported else "no")
        rows.append((*what, *effect, *null, *beside, _STANDS[found.stands], found.reason))
    return rows
