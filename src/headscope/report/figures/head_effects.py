"""Layer × head grids of effects: what training changed in what a head does, its ablation, its slope."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import add_colour_bar, grid_height, new_plot, set_grid_axes
from headscope.report.figures.relative_changes import SCALE
from headscope.report.palette import INK
from headscope.report.run_results import RunResults
from headscope.report.tables.effects import drawn_contrasts, head_revert_data, head_scaling_data, training_changes_data
from headscope.results.counts import HeadEstimates
from headscope.results.head_revert import HeadRevert
from headscope.results.head_scaling import HeadScaling
from headscope.results.role_losses import LEAST_CHANGE
from headscope.results.training_effects import LEAST_SHARE
from headscope.runs.records import Finished

Scaled = Sequence[tuple[Finished[HeadScaling], HeadScaling]]

# The rim shows the dot on a dark cell, and in the legend on a dark page.
_MARK = {"size": 7, "color": INK, "symbol": "circle", "line": {"color": "#f7f7f7", "width": 1}}
_WITHIN = 0.98
"""Share of the cells within the colour scale; those beyond are as dark as its end, or all others would be pale."""


def training_changes(results: RunResults) -> Figure:
    """Draw one layer × head panel per variant and model it is compared with; needs at least one training effect."""
    drawn = drawn_contrasts(results)
    span = _span([compared.contrast.heads.value for compared in drawn])
    panels = []
    for compared in drawn:
        heads, changed = compared.contrast.heads, compared.contrast.changed(compared.least)
        plot = grid_plot(heads, changed.grid(*heads.value.shape), span, "nats", "does less (left) · more (right)")
        title = f"{compared.trained} − {compared.other} · {compared.contrast.problems} problems"
        panels.append(Panel(title, plot))
    return Figure(
        name="training-changes",
        question="What did training change in what each head does?",
        reading="Blue: replacing the head costs the last checkpoint more than the model it is compared with, red: "
        "less, pale: as much. A dot marks heads with q ≤ 0.05 over all heads that changed by at least "
        f"{LEAST_SHARE:.0%} of what the whole corrupt text costs. A twin was trained without the signal: what it "
        "learned as well is pale in the panel that compares with it.",
        basis="Rise of the loss when a head's output on the clean text is replaced by that on the corrupt text and all "
        "after it is computed again, nats per evaluated position, mean over pairs of other problems than those heads "
        "were counted on; Student's t over problems, Benjamini-Hochberg. A head's own weights need not have moved: "
        "what reaches it may have. The colours end where 98 % of the cells lie.",
        panels=tuple(panels),
        table=training_changes_data(results),
    )


def ablation_changes(units: Scaled) -> Figure:
    """Draw one layer × head panel per variant and task: the loss without each head; needs at least one."""
    return Figure(
        name="ablation-map",
        question="Which heads do the model's answers need?",
        reading="Blue: without the head, the model finds its own correct answers less likely; red: more likely. A dot "
        f"marks changes of at least {LEAST_CHANGE:g} with q ≤ 0.05 over all heads.",
        basis="Change of the teacher-forced loss on the model's own correct answers when one head writes nothing, nats "
        "per token, mean over texts, one per problem; Student's t over texts, Benjamini-Hochberg. The colours end "
        "where 98 % of the cells lie.",
        panels=_scaling_panels(units, "ablation", "not needed (left) · needed (right)"),
        table=head_scaling_data(units, "ablation"),
    )


def scaling_slopes(units: Scaled) -> Figure:
    """Draw one layer × head panel per variant and task: the slope of the loss over a head's factor; needs one."""
    low, high = units[0][1].factors
    return Figure(
        name="slope-map",
        question="Would the answers be likelier if a head wrote more, or less?",
        reading="Red: the more the head writes, the likelier the model finds its own correct answers; blue: the less "
        f"likely. A dot marks slopes of at least {LEAST_CHANGE:g} with q ≤ 0.05 over all heads.",
        basis=f"Slope of the teacher-forced loss over the factor of what one head writes, between {low:g} and "
        f"{high:g}, nats per token and unit of the factor, mean over texts, one per problem; Student's t over texts, "
        "Benjamini-Hochberg. The colours end where 98 % of the cells lie.",
        panels=_scaling_panels(units, "slope", "more helps (left) · more harms (right)"),
        table=head_scaling_data(units, "slope"),
    )


def revert_changes(units: Sequence[tuple[Finished[HeadRevert], HeadRevert]]) -> Figure:
    """Draw one layer × head panel per variant and task: the loss with each head reverted; needs at least one."""
    span = _span([result.change.value for _, result in units])
    panels = []
    for unit, result in units:
        marked = result.changed().grid(*result.change.value.shape)
        ends = "likelier with the base's weights (left) · less likely (right)"
        plot = grid_plot(result.change, marked, span, "nats per token", ends)
        title = f"{unit.labels['variant']} · {unit.labels['task']} · {result.answers} texts, {result.heads_are}"
        panels.append(Panel(title, plot))
    return Figure(
        name="revert-map",
        question="How much do the answers hang on what training made of a head?",
        reading="Blue: with the base's weights in this head alone, the model finds its own correct answers less "
        "likely; red: more likely. The texts are its own answers, which most changes of its weights make less "
        "likely: a rise alone does not show that training the head helped; compare heads. A dot marks changes of at "
        f"least {LEAST_CHANGE:g} with q ≤ 0.05 over the heads reverted.",
        basis="Change of the teacher-forced loss on the model's own correct answers when one head's q rows and o "
        f"columns are those of the base ({_shared_keys(units[0][1])}), nats per token, mean over texts, one per "
        "problem; Student's t over texts, Benjamini-Hochberg. Near 0 a head may have moved too: what it does to single "
        "texts can cancel in their mean. The colours end where 98 % of the cells lie.",
        panels=tuple(panels),
        table=head_revert_data(units),
    )


def _shared_keys(result: HeadRevert) -> str:
    if result.revert_kv == "all":
        return "keys and values that several heads share stay as trained"
    return "with the keys and values of its group, which changes the group's other heads"


def grid_plot(
    heads: HeadEstimates, marked: "Bool[np.ndarray, 'layer head']", span: float, unit: str, ends: str
) -> go.Figure:
    """Draw one value per head on a colour scale symmetric about 0, with a dot on the ``marked`` ones.

    span: where the scale ends. unit: of the values. ends: what either end of the scale means.
    """
    layers, width = heads.value.shape
    plot = new_plot(height=grid_height(layers))
    look = {"colorscale": SCALE, "zmin": -span, "zmax": span, "showscale": False, "xgap": 1, "ygap": 1}
    plot.add_heatmap(
        z=_or_none(heads.value),
        customdata=_or_none(np.stack([heads.low, heads.high], axis=-1)),
        hovertemplate="L%{y}H%{x}: %{z:+.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}] " + unit + "<extra></extra>",
        **look,
    )
    rows, columns = np.nonzero(marked)
    # A trace without points has no entry in the legend, which says what a dot means.
    x, y = (columns.tolist(), rows.tolist()) if len(rows) else ([None], [None])
    plot.add_scatter(
        x=x, y=y, mode="markers", marker=_MARK, name="q ≤ 0.05, large enough", showlegend=True, hoverinfo="skip"
    )
    add_colour_bar(plot, SCALE, (-span, span), f"{unit}: {ends}")
    set_grid_axes(plot, layers, width)
    return plot


def _scaling_panels(units: Scaled, what: str, ends: str) -> tuple[Panel, ...]:
    grids = [result.ablation if what == "ablation" else result.slope for _, result in units]
    span = _span([heads.value for heads in grids])
    panels = []
    for (unit, result), heads in zip(units, grids, strict=True):
        named = result.needed() if what == "ablation" else result.steep()
        title = f"{unit.labels['variant']} · {unit.labels['task']} · {result.answers} texts, {result.heads_are}"
        panels.append(Panel(title, grid_plot(heads, named.grid(*heads.value.shape), span, "nats per token", ends)))
    return tuple(panels)


def _span(grids: "Sequence[Float[np.ndarray, 'layer head']]") -> float:
    sizes = np.abs(np.concatenate([grid.ravel() for grid in grids]))
    return float(np.nanquantile(sizes, _WITHIN)) or float(np.nanmax(sizes)) or 1.0


def _or_none(values: "Float[np.ndarray, '*cells']") -> list[object]:
    """Return nested lists with None for NaN, which plotly leaves blank and JSON can hold."""
    cells: list[object] = np.where(np.isnan(values), None, values).tolist()  # type: ignore[call-overload]
    return cells
