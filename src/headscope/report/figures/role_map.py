"""The role map: which single heads each role of tokens needs."""

import numpy as np
import plotly.graph_objects as go

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import HEAD_ROWS, add_colour_bar, new_plot, plot_label
from headscope.report.figures.relative_changes import SCALE
from headscope.report.palette import INK
from headscope.report.run_results import edited_model, with_result
from headscope.report.tables.role_losses import role_losses_data
from headscope.results.role_losses import LEAST_CHANGE, RoleLosses
from headscope.runs.records import Finished

_ROW = 15
"""Pixels per head."""


def role_map(units: list[Finished[RoleLosses]]) -> Figure:
    """Draw one head × role panel per variant and task; needs at least one with a result."""
    measured = with_result(units)
    # One scale for all; a few cells beyond it are as dark as its end, or all others would be pale.
    span = max(float(np.quantile(abs(result.change), 0.98)) for _, result in measured) or 1.0
    panels = []
    for unit, result in measured:
        title = f"{edited_model(unit.labels)} · {unit.labels['task']} · {result.answers} texts, {result.heads_are}"
        panels.append(Panel(title, _plot(result, span)))
    return Figure(
        name="role-map",
        question="Which heads does each kind of step need?",
        reading="Blue: without the head, the model finds its own tokens of this role less likely; red: more likely; "
        f"pale: no change. A dot marks changes of at least {LEAST_CHANGE:g} with q ≤ 0.05 over all heads and roles.",
        basis="Change of the teacher-forced loss on the model's own correct answers when one head writes nothing, nats "
        "per token of the role, mean over texts, one per problem; Student's t over texts, Benjamini-Hochberg.",
        panels=tuple(panels),
        table=role_losses_data(units),
    )


def _plot(result: RoleLosses, span: float) -> go.Figure:
    names, roles = result.heads.names(), [plot_label(role) for role in result.roles]
    plot = new_plot(height=max(220, 110 + _ROW * len(names)), legend=False)  # slanted names of roles need room
    look = {"colorscale": SCALE, "zmin": -span, "zmax": span, "showscale": False, "xgap": 1, "ygap": 1}
    plot.add_heatmap(
        z=result.change.tolist(), x=roles, y=names, hovertemplate="%{y} %{x}: %{z:+.3f}<extra></extra>", **look
    )
    effects = [effect for role in result.roles for effect in result.effects(role)]
    plot.add_scatter(
        x=[plot_label(effect.role) for effect in effects],
        y=[str(effect.head) for effect in effects],
        mode="markers",
        marker={"size": 4, "color": INK},
        hoverinfo="skip",
    )
    add_colour_bar(plot, SCALE, (-span, span), "nats per token: needed less (left) · more (right)")
    plot.update_layout(meta=HEAD_ROWS)
    plot.update_xaxes(showgrid=False, zeroline=False)
    plot.update_yaxes(showgrid=False, zeroline=False, autorange="reversed", dtick=1)
    return plot
