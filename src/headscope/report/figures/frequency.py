"""Activation frequency: at what share of the checkpoints each head was active, base heads red, emergent ones blue."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from headscope.errors import count_noun
from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import add_colour_bar, grid_height, new_plot, set_grid_axes
from headscope.report.palette import INK
from headscope.report.tables.head_grids import frequency_data
from headscope.results.comparison import Comparison
from headscope.results.dynamics import Dynamics

_SCALE = [[0, "#B2451F"], [0.5, "#fbe6d9"], [0.5, "#dbe9f4"], [1, "#0B5A94"]]
"""Base heads count down from the middle, emergent ones up: one bar for both."""

_TICKS = {"tickvals": [-1, -0.5, 0, 0.5, 1], "ticktext": ["100%", "50%", "0%", "50%", "100%"]}


def frequency(comparisons: Sequence[Comparison]) -> Figure:
    """Draw one layer × head panel per variant."""
    steps = ", ".join(f"{comparison.variant} {len(comparison.steps)}" for comparison in comparisons)
    return Figure(
        name="frequency",
        question="Which heads stay active through training, and which come and go?",
        reading="Red cells with a ring are heads of the base circuit, blue ones emergent heads; the deeper the colour, "
        "the larger the share of checkpoints at which the head is active. A dark outline: emergent at the last "
        "checkpoint. Empty: never active.",
        basis=f"Share of checkpoints (number of checkpoints: {steps}); active means core, in at least 90 % of "
        "bootstrap resamples.",
        panels=tuple(_panel(comparison) for comparison in comparisons),
        table=frequency_data(comparisons),
    )


def _panel(comparison: Comparison) -> Panel:
    dynamics = comparison.dynamics
    layers, heads = dynamics.base.shape
    plot = new_plot(height=grid_height(layers))
    _add_heatmap(plot, dynamics)
    add_colour_bar(plot, _SCALE, (-1.0, 1.0), "base heads (left) · emergent heads (right)", **_TICKS)
    ring = {"symbol": "circle-open", "color": INK, "size": 7, "line": {"width": 1.2}}
    outline = {"symbol": "square-open", "color": INK, "size": 16, "line": {"width": 2.5}}
    _add_marks(plot, "base head", dynamics.base, ring)
    _add_marks(plot, "emergent at the end", dynamics.emergent[-1], outline)
    set_grid_axes(plot, layers, heads)
    plot.update_xaxes(showgrid=False)
    plot.update_yaxes(showgrid=False)
    return Panel(f"{comparison.variant} · {count_noun(len(comparison.steps), 'checkpoint')}", plot)


def _add_marks(plot: go.Figure, name: str, grid: np.ndarray, marker: dict[str, object]) -> None:
    rows, columns = np.nonzero(grid)
    plot.add_scatter(x=columns.tolist(), y=rows.tolist(), mode="markers", name=name, marker=marker, hoverinfo="skip")


def _add_heatmap(plot: go.Figure, dynamics: Dynamics) -> None:
    signed = np.where(dynamics.base, -dynamics.base_frequency, dynamics.emergent_frequency)
    was_active = dynamics.base | (dynamics.emergent_frequency > 0)
    # A cell without a value stays empty; 0 would have the colour of the middle.
    cells = signed.astype(object)
    cells[~was_active] = None
    hover = "L%{y}H%{x}: active at %{customdata:.0%} of checkpoints<extra></extra>"
    look = {"colorscale": _SCALE, "zmin": -1, "zmax": 1, "showscale": False, "xgap": 1, "ygap": 1}
    plot.add_heatmap(z=cells.tolist(), customdata=np.abs(signed).tolist(), hovertemplate=hover, **look)
