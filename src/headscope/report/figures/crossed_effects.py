"""Model against prompt: what each of them changed in a head's importance, head by head."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from headscope.heads import HeadId
from headscope.report.blocks import Figure, Panel, Table, Value
from headscope.report.figures.canvas import new_plot
from headscope.report.palette import BLUE, GREEN, ORANGE
from headscope.results.crossed import EFFECTS, Crossed

_SHOWN = 12
"""Heads per panel: those with the largest effect of any kind."""
_ROW = 34
"""Pixels per head, with its three marks."""
_MARKS = {"model": (BLUE, "diamond", 0.25), "prompt": (ORANGE, "square", 0.0), "interaction": (GREEN, "cross", -0.25)}


def crossed_effects(found: Mapping[str, Crossed]) -> Figure:
    """One panel per variant; needs at least one."""
    span = 1.05 * max(_reach(each) for each in found.values())
    pairs = ", ".join(dict.fromkeys(str(each.pairs) for each in found.values()))
    return Figure(
        name="model-or-prompt",
        question="Did training change these heads, or does the prompt?",
        reading="Per head three marks with their intervals: ◆ what changes with the model, ■ with the prompt, ✚ only "
        "where both change. A head whose ◆ lies clear of 0 was changed by training; one with ■ alone answers to the "
        "prompt in either model.",
        basis=f"Share of all |score|, {pairs} pairs, base and last checkpoint each on base-style and on "
        f"reasoning-style clean text; 95 % t intervals over pairs. The {_SHOWN} heads with the largest effect; the "
        "table has all.",
        panels=tuple(Panel(variant, _plot(each, span)) for variant, each in found.items()),
        table=_table(found),
    )


def _reach(found: Crossed) -> float:
    ends = [np.abs(end) for effect in found.effects.values() for end in (effect.value, effect.low, effect.high)]
    return float(max(1e-6, np.nanmax(np.stack(ends))))


def _plot(found: Crossed, span: float) -> go.Figure:
    sizes = np.max(np.stack([np.abs(effect.value) for effect in found.effects.values()]), axis=0)
    shown = [divmod(int(place), sizes.shape[1]) for place in np.argsort(-sizes, axis=None)[:_SHOWN]][::-1]
    plot = new_plot(x="change of the head's share", height=120 + _ROW * len(shown))
    for name, (colour, symbol, shift) in _MARKS.items():
        effect = found.effects[name]
        value, low, high = (
            np.array([each[head] for head in shown]) for each in (effect.value, effect.low, effect.high)
        )
        plot.add_scatter(
            x=value.tolist(),
            y=[row + shift for row in range(len(shown))],
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": 8},
            error_x={
                "array": (high - value).tolist(),
                "arrayminus": (value - low).tolist(),
                "thickness": 1.5,
                "width": 3,
            },
        )
    names = [str(HeadId(*head)) for head in shown]
    plot.update_yaxes(tickvals=list(range(len(shown))), ticktext=names, range=[-0.6, len(shown) - 0.4], zeroline=False)
    plot.update_xaxes(range=[-span, span])
    return plot


def _table(found: Mapping[str, Crossed]) -> Table:
    rows: list[tuple[Value, ...]] = []
    for variant, each in found.items():
        for place, (name, effect) in enumerate(each.effects.items()):
            grids = (effect.value, effect.low, effect.high, each.q_value[place])
            for layer, head in np.ndindex(*effect.value.shape):
                numbers = (float(grid[layer, head]) for grid in grids)
                rows.append((variant, str(HeadId(layer, head)), name, *numbers))
    effects = "; ".join(f"{name}: {meaning}" for name, meaning in EFFECTS.items())
    columns = ("variant", "head", "effect", "change of share", "low", "high", "q")
    return Table(columns, tuple(rows), f"One row per head and effect. {effects}.", "model-or-prompt")
