"""The effect map: which heads a variant relies on more or less than the base, on one scale for all variants."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from headscope.errors import count_noun
from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import add_colour_bar, grid_height, new_plot, set_grid_axes
from headscope.report.tables.head_grids import effect_map_data
from headscope.results.overlap import EffectMap

_SCALE = [[0, "#B2451F"], [0.5, "#f7f7f7"], [1, "#0B5A94"]]


def effect_map(effect_map: EffectMap) -> Figure:
    """Draw one layer × head panel per variant, its effects averaged over checkpoints; needs at least one."""
    checkpoints = ", ".join(f"{variant} {len(effects)}" for variant, effects in effect_map.effects.items())
    panels = [
        Panel(f"{variant} · {count_noun(len(effects), 'checkpoint')}", _plot(effects.mean(axis=0)))
        for variant, effects in effect_map.effects.items()
    ]
    return Figure(
        name="effect-map",
        question="Which heads does training make matter more, and which less?",
        reading="Blue: the variant relies on the head more than the base does, red: less, pale: alike. 1 is a head "
        "only the variant uses, -1 one only the base uses, 1/3 one that doubled.",
        basis="E = (I_variant - I_base) / (I_variant + I_base), I a head's share of all net score; mean over "
        f"checkpoints ({checkpoints}). E divides by the head's own importance: heads that hardly matter can have large "
        "effects.",
        panels=tuple(panels),
        table=effect_map_data(effect_map),
    )


def _plot(mean: "Float[np.ndarray, 'layer head']") -> go.Figure:
    layers, heads = mean.shape
    plot = new_plot(height=grid_height(layers))
    look = {"colorscale": _SCALE, "zmin": -1, "zmax": 1, "showscale": False, "xgap": 1, "ygap": 1}
    plot.add_heatmap(z=mean.tolist(), hovertemplate="L%{y}H%{x}: E %{z:+.2f}<extra></extra>", **look)
    add_colour_bar(plot, _SCALE, (-1.0, 1.0), "relied on less (left) · more (right)")
    set_grid_axes(plot, layers, heads)
    return plot
