"""Model against prompt: what each of them changed in a head's importance, head by head."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from headscope.heads import HeadId
from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import HEAD_ROWS, new_plot
from headscope.report.tables.crossed import crossed_data
from headscope.results.colours import BLUE, GREEN, ORANGE
from headscope.results.counts import HeadEstimates
from headscope.results.crossed import Crossed

_DRAWN = 12
"""Heads per panel: those with the largest effect of any kind."""
_ROW = 34
"""Pixels per head, with its three marks."""
_MARKS = {"model": (BLUE, "diamond", 0.25), "prompt": (ORANGE, "square", 0.0), "interaction": (GREEN, "cross", -0.25)}


def crossed_effects(designs: Mapping[str, Crossed]) -> Figure:
    """Draw one panel per variant; needs at least one."""
    span = 1.05 * max(_reach(design) for design in designs.values())
    sizes = ", ".join(dict.fromkeys(str(design.size) for design in designs.values()))
    return Figure(
        name="model-or-prompt",
        question="Did training change these heads, or does the prompt?",
        reading="Per head three marks with their intervals: ◆ what changes with the model, ■ with the prompt, ✚ only "
        "if both change. A head whose ◆ lies clear of 0 was changed by training; one with ■ alone answers to the "
        "prompt in either model.",
        basis=f"Share of all net score, {sizes}, base and last checkpoint each on base-style and on "
        f"reasoning-style clean text; 95 % t intervals over problems. The {_DRAWN} heads with the largest effect; the "
        "table has all.",
        panels=tuple(Panel(variant, _plot(design, span)) for variant, design in designs.items()),
        table=crossed_data(designs),
    )


def _reach(design: Crossed) -> float:
    ends: list[np.ndarray] = []
    for effect in design.effects.values():
        ends += [effect.value, effect.low, effect.high]
    return float(max(1e-6, np.nanmax(np.abs(np.stack(ends)))))


def _plot(design: Crossed, span: float) -> go.Figure:
    sizes = np.max(np.stack([np.abs(effect.value) for effect in design.effects.values()]), axis=0)
    largest = np.argsort(-sizes, axis=None)[:_DRAWN]
    # Plotly counts rows from the bottom: the head with the largest effect comes last.
    heads = [HeadId(*divmod(int(index), sizes.shape[1])) for index in largest][::-1]
    plot = new_plot(x="change of the head's share", height=120 + _ROW * len(heads))
    for name, (colour, symbol, shift) in _MARKS.items():
        marker = {"color": colour, "symbol": symbol, "size": 8}
        _add_effect(plot, name, design.effects[name], heads, shift, marker)
    rows = list(range(len(heads)))
    names = [str(head) for head in heads]
    plot.update_yaxes(tickvals=rows, ticktext=names, range=[-0.6, len(heads) - 0.4], zeroline=False)
    plot.update_xaxes(range=[-span, span])
    plot.update_layout(meta=HEAD_ROWS)
    return plot


def _add_effect(
    plot: go.Figure, name: str, effect: HeadEstimates, heads: list[HeadId], shift: float, marker: dict[str, object]
) -> None:
    value = np.array([effect.value[head] for head in heads])
    low = np.array([effect.low[head] for head in heads])
    high = np.array([effect.high[head] for head in heads])
    reach = {"array": (high - value).tolist(), "arrayminus": (value - low).tolist(), "thickness": 1.5, "width": 3}
    y = [row + shift for row in range(len(heads))]
    plot.add_scatter(x=value.tolist(), y=y, mode="markers", name=name, marker=marker, error_x=reach)
