"""Head grids: one row per head, the data of the layer × head figures."""

from collections.abc import Sequence

import numpy as np

from headscope.heads import HeadId
from headscope.report.palette import STATUS
from headscope.results.comparison import Comparison
from headscope.results.emergence import Status
from headscope.results.overlap import RelativeChanges
from headscope.results.table import Row, Table


def emergence_map_data(comparisons: Sequence[Comparison]) -> Table:
    """Return status, frequencies and change of importance of every head in play, at the last checkpoint."""
    rows: list[Row] = []
    for comparison in comparisons:
        emergence = comparison.final
        change = emergence.importance_change
        for layer, head in np.argwhere(emergence.status != Status.ABSENT).tolist():
            row: Row = {
                "variant": comparison.variant,
                "head": str(HeadId(layer, head)),
                "status": STATUS[Status(int(emergence.status[layer, head]))].name,
                "base frequency": float(emergence.base_frequency[layer, head]),
                "variant frequency": float(emergence.post_frequency[layer, head]),
                "change of importance": float(change.value[layer, head]),
                "low": float(change.low[layer, head]),
                "high": float(change.high[layer, head]),
            }
            rows.append(row)
    caption = "One row per head in play; importance is a head's share of all net score."
    return Table("emergence-map", tuple(rows), caption)


def frequency_data(comparisons: Sequence[Comparison]) -> Table:
    """Return at what share of the checkpoints each head was active."""
    rows: list[Row] = []
    for comparison in comparisons:
        dynamics = comparison.dynamics
        for layer, head in np.argwhere(dynamics.base | (dynamics.emergent_frequency > 0)).tolist():
            is_base = bool(dynamics.base[layer, head])
            shares = dynamics.base_frequency if is_base else dynamics.emergent_frequency
            row: Row = {
                "variant": comparison.variant,
                "head": str(HeadId(layer, head)),
                "kind": "base" if is_base else "emergent",
                "share of checkpoints": float(shares[layer, head]),
                "emergent at the end": "yes" if dynamics.emergent[-1, layer, head] else "",
            }
            rows.append(row)
    return Table("frequency", tuple(rows), "One row per head that was active at any checkpoint.")


def relative_changes_data(changes: RelativeChanges) -> Table:
    """Return each head's relative change, as the mean over checkpoints and at the last one."""
    rows: list[Row] = []
    for variant, grids in changes.effects.items():
        mean = grids.mean(axis=0)
        for layer, head in np.ndindex(mean.shape):
            row: Row = {
                "variant": variant,
                "head": str(HeadId(layer, head)),
                "mean E": float(mean[layer, head]),
                "last E": float(grids[-1, layer, head]),
            }
            rows.append(row)
    return Table("relative-changes", tuple(rows), "One row per head.")
