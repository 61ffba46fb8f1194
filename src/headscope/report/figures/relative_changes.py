"""Relative changes of importance: which heads a variant relies on more or less than the base."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from headscope.errors import count_noun
from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import add_colour_bar, grid_height, new_plot, set_grid_axes
from headscope.report.tables.head_grids import relative_changes_data
from headscope.results.overlap import RelativeChanges

SCALE = [[0, "#B2451F"], [0.5, "#f7f7f7"], [1, "#0B5A94"]]


def relative_changes(changes: RelativeChanges) -> Figure:
    """Draw one layer × head panel per variant, its changes averaged over checkpoints; needs at least one."""
    checkpoints = ", ".join(f"{variant} {len(grids)}" for variant, grids in changes.effects.items())
    panels = [
        Panel(f"{variant} · {count_noun(len(grids), 'checkpoint')}", _plot(grids.mean(axis=0)))
        for variant, grids in changes.effects.items()
    ]
    return Figure(
        name="relative-changes",
        question="Which heads does training make matter more, and which less?",
        reading="Blue: the variant relies on the head more than the base does, red: less, pale: alike. 1 is a head "
        "only the variant uses, -1 one only the base uses, 1/3 one that doubled.",
        basis="E = (I_variant - I_base) / (I_variant + I_base), I a head's share of all net score; mean over "
        f"checkpoints ({checkpoints}). E (the paper's effect) divides by the head's own importance: heads that hardly "
        "matter can have large ones.",
        panels=tuple(panels),
        table=relative_changes_data(changes),
    )


def _plot(mean: "Float[np.ndarray, 'layer head']") -> go.Figure:
    layers, heads = mean.shape
    plot = new_plot(height=grid_height(layers))
    look = {"colorscale": SCALE, "zmin": -1, "zmax": 1, "showscale": False, "xgap": 1, "ygap": 1}
    plot.add_heatmap(z=mean.tolist(), hovertemplate="L%{y}H%{x}: E %{z:+.2f}<extra></extra>", **look)
    add_colour_bar(plot, SCALE, (-1.0, 1.0), "relied on less (left) · more (right)")
    set_grid_axes(plot, layers, heads)
    return plot
