"""The effect map: which heads a variant relies on more or less than the base, on one scale for all variants."""

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from headscope.heads import HeadId
from headscope.report.blocks import Figure, Panel, Table
from headscope.report.figures.canvas import colour_bar, grid_axes, grid_height, new_plot
from headscope.results.overlap import EffectMap

_SCALE = [[0, "#B2451F"], [0.5, "#f7f7f7"], [1, "#0B5A94"]]


def effect_map(found: EffectMap) -> Figure:
    """One layer × head panel per variant, its effects averaged over checkpoints; needs at least one."""
    return Figure(
        name="effect-map",
        question="Which heads does training make matter more, and which less?",
        reading="Blue: the variant relies on the head more than the base does, red: less, pale: alike. 1 is a head "
        "only the variant uses, -1 one only the base uses, 1/3 one that doubled.",
        basis="E = (I_variant - I_base) / (I_variant + I_base), I a head's share of all |score|; mean over checkpoints "
        f"({', '.join(f'{name} {len(each)}' for name, each in found.effects.items())}). E divides by the head's own "
        "importance: heads that hardly matter can have large effects.",
        panels=tuple(
            Panel(f"{name} · {len(each)} checkpoints", _plot(each.mean(axis=0))) for name, each in found.effects.items()
        ),
        table=_table(found),
    )


def _plot(mean: "Float[np.ndarray, 'layer head']") -> go.Figure:
    layers, heads = mean.shape
    plot = new_plot(height=grid_height(layers))
    look = {"colorscale": _SCALE, "zmin": -1, "zmax": 1, "showscale": False, "xgap": 1, "ygap": 1}
    plot.add_heatmap(z=mean.tolist(), hovertemplate="L%{y}H%{x}: E %{z:+.2f}<extra></extra>", **look)
    colour_bar(plot, _SCALE, (-1.0, 1.0), "relied on less (left) · more (right)")
    grid_axes(plot, layers, heads)
    return plot


def _table(found: EffectMap) -> Table:
    rows = []
    for variant, effects in found.effects.items():
        mean = effects.mean(axis=0)
        for layer, head in np.ndindex(mean.shape):
            ends = (float(mean[layer, head]), float(effects[-1, layer, head]))
            rows.append((variant, str(HeadId(layer, head)), *ends))
    return Table(("variant", "head", "mean effect", "last effect"), tuple(rows), "One row per head.", "effect-map")
