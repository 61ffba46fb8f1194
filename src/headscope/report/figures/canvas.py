"""The empty plot every figure starts from. Colours of text, grid and ground come from the page's style sheet."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from textwrap import wrap

import numpy as np
import plotly.graph_objects as go

from headscope.plain_text import plain_text
from headscope.report.palette import INK, Mark
from headscope.results.estimate import Estimate

GRID = "#d9dde3"
STEP = "training step"
HEAD_GRID, HEAD_ROWS = {"heads": "grid"}, {"heads": "rows"}
"""What the page is told of a plot whose heads can be chosen: a grid of them, or a row for each by its name."""


STEP_CLICK = "A click on a step opens the answers that changed at the nearest step where they were compared."
"""What readers are told of a chart whose traces have ``step_meta``."""


def step_meta(variant: str, task: str = "") -> dict[str, str]:
    """Return what the page is told of a trace over the steps of a variant: whose answers a click on a step opens."""
    return {"variant": plain_text(variant), "task": plain_text(task)}


def new_plot(*, x: str = "", y: str = "", height: int = 320, legend: bool = True) -> go.Figure:
    """Return a plot with axis titles ``x`` and ``y`` and the legend above it; ``height`` in pixels."""
    axis = {
        "gridcolor": GRID,
        "zerolinecolor": GRID,
        "zerolinewidth": 2,
        "linecolor": GRID,
        "automargin": True,
        "ticks": "outside",
    }
    # All at once: updating a figure part by part takes ten times as long, and a large report has hundreds.
    layout = {
        "template": "none",  # None is plotly's own: 7 kB in every plot
        "autotypenumbers": "strict",
        "hovermode": "closest",
        "height": height,
        "margin": {"l": 48, "r": 12, "t": 36 if legend else 12, "b": 44},
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "showlegend": legend,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "xanchor": "left",
            "yanchor": "bottom",
            "traceorder": "normal",
        },
        "hoverlabel": {"namelength": -1, "align": "left"},
        "xaxis": {"title": {"text": x, "standoff": 15}, **axis},
        "yaxis": {"title": {"text": y, "standoff": 15}, **axis},
    }
    return go.Figure(layout=layout)


def in_legend_once(plot: go.Figure, mark: Mark) -> dict[str, object]:
    """Return what a trace needs for the plot's legend to name the first trace of each mark, and hide all at a click."""
    return {"legendgroup": mark.name, "showlegend": all(trace.legendgroup != mark.name for trace in plot.data)}


def look_alikes(marks: Mapping[str, Mark]) -> str:
    """Return what readers are told if several variants share a mark, to stand after another sentence; else ""."""
    is_shared = len({mark.name for mark in marks.values()}) < len(marks)
    return (
        " Seeds of one recipe look alike and have one name above; pointing at one tells which it is."
        if is_shared
        else ""
    )


_NAMES_A_ROW = 2
"""In the legend of a panel at its narrowest."""
_ROWS_OF_NAMES = 4
"""So many a plot has room for as it is."""
_NAME_HEIGHT = 20
"""Pixels of a row."""


def make_room_for_names(plot: go.Figure) -> None:
    """Make a plot taller by the names in its legend if they are many, which would else scroll in half of it."""
    names = sum(trace.showlegend is not False for trace in plot.data)
    rows = math.ceil(names / _NAMES_A_ROW)
    if rows > _ROWS_OF_NAMES:
        room = _NAME_HEIGHT * (rows + 1)  # one for the legend's own edges
        plot.update_layout(height=plot.layout.height + room, legend={"maxheight": room})


def plot_label(text: object) -> str:
    """Return a name as plot text: plotly reads tags and entities in text, so they are escaped."""
    return escape(plain_text(str(text)), quote=False)


BAR_EDGE = {"color": "#E5ECF6", "width": 0.5}
"""The line around a bar, or a part of one."""


def bar_pattern(shape: str) -> dict[str, object]:
    """Return plotly's pattern over the colour of bars, which tells them apart without colours too."""
    return {"shape": shape, "fillmode": "overlay", "fgopacity": 0.6, "size": 10, "solidity": 0.2}


def error_bars(estimates: Sequence[Estimate]) -> dict[str, object]:
    """Return plotly's asymmetric error bars of intervals; none if an interval is unknown."""
    upper = [estimate.high - estimate.value for estimate in estimates]
    lower = [estimate.value - estimate.low for estimate in estimates]
    return {"type": "data", "array": upper, "arrayminus": lower, "thickness": 1.5, "width": 4}


def add_colour_bar(plot: go.Figure, scale: object, span: tuple[float, float], title: str, **ticks: object) -> None:
    """Add a colour bar below the plot, on a trace of its own that draws nothing."""
    bar = {"orientation": "h", "y": 0, "yref": "container", "yanchor": "bottom", "thickness": 10, "len": 1, **ticks}
    lines = wrap(title, 40)  # what a telephone's width holds
    bar["title"] = {"text": "<br>".join(lines), "side": "bottom", "font": {"size": 12}}
    marker = {"color": list(span), "cmin": span[0], "cmax": span[1], "colorscale": scale, "showscale": True}
    nowhere = [None, None]
    plot.add_scatter(
        x=nowhere, y=nowhere, mode="markers", marker=marker | {"colorbar": bar}, showlegend=False, hoverinfo="skip"
    )
    room = 44 + 16 * len(lines)
    plot.update_layout(height=plot.layout.height + room, margin={"b": plot.layout.margin.b + room})


def set_grid_axes(plot: go.Figure, layers: int, heads: int) -> None:
    """Give a plot the axes of a layer × head grid: heads across, layer 0 at the bottom, whole ticks, equal steps in
    every model.
    """
    plot.update_xaxes(range=[-0.6, heads - 0.4], dtick=_tick(heads), tick0=0, title_text="head", zeroline=False)
    plot.update_yaxes(range=[-0.6, layers - 0.4], dtick=_tick(layers), tick0=0, title_text="layer", zeroline=False)
    plot.update_layout(meta=HEAD_GRID)


def grid_height(layers: int) -> int:
    """Return the pixels that a grid of so many layers needs."""
    return int(np.clip(26 * layers + 110, 240, 820))


def _tick(count: int) -> int:
    return 1 if count <= 16 else 2 if count <= 32 else 4
