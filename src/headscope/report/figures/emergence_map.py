"""The emergence map: what became of every head, layer by head."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import grid_height, new_plot, set_grid_axes
from headscope.report.palette import STATUS
from headscope.report.tables.head_grids import emergence_map_data
from headscope.results.comparison import Comparison
from headscope.results.emergence import Emergence, Status
from headscope.results.numbers import format_count


def emergence_map(comparisons: Sequence[Comparison]) -> Figure:
    """Draw one layer × head panel per variant, at its last checkpoint."""
    final = comparisons[0].final
    return Figure(
        name="emergence-map",
        question="Where do heads emerge, stay and disappear?",
        reading="One mark per head, layer 0 at the bottom: ● core in base and variant (kept), ◆ core only in the "
        "variant (new), ✕ core only in the base (lost), △ the pairs cannot say (contingent), a dot if the head is in "
        "neither circuit.",
        basis=f"Last checkpoint of each variant; {final.size}, circuits of {final.fraction:.1%} of edges, core "
        f"in at least {final.core_from:.0%} of {final.resamples} resamples. In brackets: the same count for the base "
        "against itself.",
        panels=tuple(Panel(_title(comparison), _plot(comparison.final)) for comparison in comparisons),
        table=emergence_map_data(comparisons),
    )


def _title(comparison: Comparison) -> str:
    emergence = comparison.final
    counts = []
    for status in (Status.KEPT, Status.NEW, Status.LOST):
        name = status.name.lower()
        null = format_count(getattr(emergence.null, name).value)
        counts.append(f"{len(emergence.heads(status))} {name} ({null})")
    return f"{comparison.variant}, step {comparison.steps[-1]} · " + ", ".join(counts)


def _plot(emergence: Emergence) -> go.Figure:
    layers, heads = emergence.status.shape
    plot = new_plot(height=grid_height(layers))
    size = float(np.clip(260 / max(layers, heads), 6, 15))
    for status in (Status.ABSENT, Status.CONTINGENT, Status.KEPT, Status.NEW, Status.LOST):
        mark = STATUS[status]
        rows, columns = np.nonzero(emergence.status == status)
        base, post = emergence.base_frequency[rows, columns], emergence.post_frequency[rows, columns]
        plot.add_scatter(
            x=columns.tolist(),
            y=rows.tolist(),
            customdata=np.stack([base, post], axis=1).tolist(),
            mode="markers",
            name=mark.name,
            marker={"symbol": mark.symbol, "color": mark.colour, "size": max(3.0, size * mark.size)},
            hovertemplate=f"L%{{y}}H%{{x}} {mark.name}<br>in %{{customdata[0]:.0%}} of base resamples, "
            "%{customdata[1]:.0%} of the variant's<extra></extra>",
        )
    set_grid_axes(plot, layers, heads)
    plot.update_layout(legend={"itemsizing": "trace"})
    return plot
