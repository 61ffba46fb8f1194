"""Small layer × head maps for the overview: a shape and a colour per state, drawn by the browser without a script."""

from collections.abc import Sequence

import numpy as np

from headscope.report.blocks import HeadMap
from headscope.report.palette import STATUS
from headscope.results.comparison import Comparison
from headscope.results.emergence import Status

# Each starts in the middle of a cell of size 1.
_SHAPES = {
    Status.ABSENT: "m-.07 0h.14v.14h-.14z",
    Status.KEPT: "m-.3 0a.3 .3 0 1 0 .6 0a.3 .3 0 1 0-.6 0z",
    Status.NEW: "m0-.42l.42 .42l-.42 .42l-.42-.42z",
    Status.LOST: "m-.28-.4l.28 .28 .28-.28 .12 .12-.28 .28 .28 .28-.12 .12-.28-.28-.28 .28-.12-.12 .28-.28-.28-.28z",
    Status.CONTINGENT: "m0-.32l.32 .56h-.64zm0 .2l-.15 .26h.3z",
}


def head_maps(comparisons: Sequence[Comparison]) -> tuple[HeadMap, ...]:
    """Return a map per comparison, of its last checkpoint."""
    return tuple(_head_map(comparison) for comparison in comparisons)


def map_legend(comparisons: Sequence[Comparison]) -> tuple[tuple[int, str, str], ...]:
    """Return number, glyph and name of every state that one of the maps shows."""
    codes = {int(code) for comparison in comparisons for code in np.unique(comparison.final.status)}
    return tuple((int(status), mark.glyph, mark.name) for status, mark in STATUS.items() if int(status) in codes)


def _head_map(comparison: Comparison) -> HeadMap:
    final = comparison.final
    layers, heads = final.status.shape
    shapes = []
    for status, shape in _SHAPES.items():
        cells = np.argwhere(final.status == status)
        path = "".join(f"M{head + 0.5} {layers - layer - 0.5}{shape}" for layer, head in cells)
        if path:
            shapes.append((int(status), path))
    counts = ", ".join(
        f"{len(final.heads(status))} {status.name.lower()}" for status in (Status.KEPT, Status.NEW, Status.LOST)
    )
    return HeadMap(f"{comparison.variant}, step {comparison.steps[-1]}: {counts}", layers, heads, tuple(shapes))
