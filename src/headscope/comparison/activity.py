"""Which heads and edges are active in one model, and how sure the pairs are of it.

1. Draw bootstrap resamples of the pairs; each gives mean |score| per edge.
2. Each resample keeps its top edges; the smallest |score| kept is its threshold.
3. A head's *margin* is log(entry score / threshold): in the pruned circuit when ≥ 0 (``entry``). An edge's is that of
   the smallest of its own score and the widths of its two ends.
4. The share of resamples with margin ≥ 0 is the inclusion frequency: core from 0.9 on, contingent from 0.1.

Entry scores belong to no circuit size, so one pass over the resamples serves every size (``Activity.at``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.comparison.entry import EdgeBlocks, Widths, widths
from headscope.comparison.resampling import Resampling
from headscope.errors import InputError
from headscope.measures.intervals import resamples
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph

_CHUNK_BYTES = 16 * 2**20
"""Resampled edge scores held at once: near the cache, yet large enough to keep NumPy's calls few."""

_SMALLEST = 1e-6
"""Entry scores count down to this share of the threshold; below it (and at 0) a head is simply far away."""

_NEAR = 0.7
"""A resample's threshold is rarely below this share of that of the pooled scores."""

_TIE = 1e-6
"""A margin this little below 0 is 0: a mean summed in another order may differ in its last bits."""


@dataclass(frozen=True, eq=False)
class Activity:
    """Activity of one model's heads and edges on one set of pairs.

    magnitudes: |score| per pair and real edge, in the order of ``EdgeBlocks.index``.
    weights: what each resample gives each pair. widths, thresholds: of each resample.
    edge_counts: in how many resamples each edge is in the pruned circuit.
    whole: the widths of the scores pooled over all pairs (``means``), one row, and whole_threshold their threshold.
    """

    how: Resampling
    magnitudes: Float[np.ndarray, "pair edge"]
    weights: Float[np.ndarray, "resample pair"]
    widths: Widths
    thresholds: Float[np.ndarray, "resample"]
    edge_counts: Int[np.ndarray, "edge"]
    means: Float[np.ndarray, "1 edge"]
    whole: Widths
    whole_threshold: Float[np.ndarray, "1"]

    @property
    def pairs(self) -> int:
        """How many pairs were resampled."""
        return len(self.magnitudes)

    @property
    def pooled(self) -> "Float[np.ndarray, 'layer head']":
        """Log margin in the circuit of the scores pooled over all pairs; ≥ 0 inside."""
        grid: np.ndarray = _log_margins(self.whole.heads, self.whole_threshold)[0]
        return grid

    @property
    def margins(self) -> "Float[np.ndarray, 'resample layer head']":
        """Log margin of every head in every resample."""
        return _log_margins(self.widths.heads, self.thresholds)

    @property
    def frequency(self) -> "Float[np.ndarray, 'layer head']":
        """Share of resamples in which a head is in the pruned circuit."""
        frequency: np.ndarray = (self.margins >= 0).mean(axis=0)
        return frequency

    @property
    def core(self) -> "Bool[np.ndarray, 'layer head']":
        """Active heads."""
        return self.frequency >= self.how.core

    @property
    def contingent(self) -> "Bool[np.ndarray, 'layer head']":
        """Heads the pairs are of two minds about."""
        grid: np.ndarray = (self.frequency >= self.how.contingent) & ~self.core
        return grid

    def edge_margins(self, edges: "Int[np.ndarray, 'chosen']") -> "Float[np.ndarray, 'resample chosen']":
        """Log margin of some edges in every resample."""
        entry = np.minimum(self.weights @ self.magnitudes[:, edges], self.widths.ends(edges))
        return _log_margins(entry, self.thresholds) + np.float32(_TIE)

    def edges_pooled(self, edges: "Int[np.ndarray, 'chosen']") -> "Float[np.ndarray, 'chosen']":
        """Log margin of some edges in the circuit of the pooled scores."""
        entry = np.minimum(self.means[:, edges], self.whole.ends(edges))
        margins: np.ndarray = _log_margins(entry, self.whole_threshold)[0] + np.float32(_TIE)
        return margins

    def resampled_frequency(self) -> "Float[np.ndarray, 'resample layer head']":
        """The inclusion frequencies each resample would itself have found, had it been the data."""
        return resampled_frequency(self.margins)

    def at(self, how: Resampling) -> "Activity":
        """The same pairs and resamples with another circuit size; nothing else of ``how`` may differ."""
        if how.size(self.magnitudes.shape[1]) == self.how.size(self.magnitudes.shape[1]) and how.tau == self.how.tau:
            return self
        return _measured(self.magnitudes, self.weights, how, (self.means, self.whole), self.widths)


def head_activity(scores: EdgeScores, how: Resampling = Resampling()) -> Activity:
    """Activity of the heads of one model.

    Raises InputError where ``scores`` kept no per-pair edges or holds a value that is not finite.
    """
    weights = resamples(len(scores.pair_heads), count=how.resamples, seed=how.seed).astype(np.float32)
    return activity(scores.graph, magnitudes(scores), weights, how)


def activity(
    graph: Graph,
    magnitudes: "Float[np.ndarray, 'pair edge']",
    weights: "Float[np.ndarray, 'resample pair']",
    how: Resampling,
) -> Activity:
    """Activity under any weights of the pairs, each row adding up to 1."""
    means = magnitudes.mean(axis=0, keepdims=True)
    return _measured(magnitudes, weights, how, (means, widths(EdgeBlocks(graph), means)), None)


def magnitudes(scores: EdgeScores) -> "Float[np.ndarray, 'pair edge']":
    """|score| of the real edges in the order of ``EdgeBlocks.index``; pair by pair, so that no second copy of all edges
    is held. Raises InputError as ``head_activity``.
    """
    if scores.pair_edges is None:
        raise InputError(
            "the scores keep no per-pair edges, which the bootstrap resamples; attribute with keep_pairs=True"
        )
    blocks = EdgeBlocks(scores.graph)
    kept = np.empty((len(scores.pair_edges), len(blocks.index)), dtype=np.float32)
    for row, edges in zip(kept, scores.pair_edges, strict=True):
        np.take(edges.ravel(), blocks.index, out=row, mode="clip")
    np.abs(kept, out=kept)
    if not np.isfinite(kept).all():
        raise InputError("the scores hold values that are not finite; a circuit needs a number for every edge")
    return kept


def pooled_activity(scores: EdgeScores, how: Resampling = Resampling()) -> "Float[np.ndarray, 'layer head']":
    """Log margin [layer, head] in the circuit of the pooled mean |score|; needs no per-pair edges."""
    blocks = EdgeBlocks(scores.graph)
    pooled = scores.edges_abs.reshape(1, -1)[:, blocks.index]
    margins: np.ndarray = _log_margins(widths(blocks, pooled).heads, _thresholds(pooled, how))[0]
    return margins


def resampled_frequency(
    margins: "Float[np.ndarray, 'resample *grid']",
    centres: "Float[np.ndarray, 'row *grid'] | None" = None,
    spread: float = 1.0,
) -> "Float[np.ndarray, 'row *grid']":
    """The inclusion frequencies each resample would itself have found, had it been the data.

    A bootstrap within the bootstrap at no cost: the margin's spread around a resample's own margin is taken to be its
    spread around the median, so the frequency is the share of margins at or above (median − margin of the resample).

    centres: margins of other data than the resamples, whose own spread is ``spread`` times theirs.
    """
    count = len(margins)
    columns = margins.reshape(count, -1).astype(np.float64).T
    wanted = columns if centres is None else centres.reshape(len(centres), -1).astype(np.float64).T / spread
    needed = np.median(columns, axis=1, keepdims=True) - wanted
    # All columns are searched at once: each is moved to a range of its own.
    reach = max(np.abs(columns).max(initial=0.0), np.abs(needed).max(initial=0.0))
    shift = 2.0 * (reach + 1) * np.arange(len(columns))[:, None]
    below = np.searchsorted((np.sort(columns, axis=1) + shift).ravel(), (needed + shift).ravel(), side="left")
    below = below.reshape(needed.shape) - count * np.arange(len(columns))[:, None]
    frequency: np.ndarray = (1.0 - below.T / count).reshape(needed.shape[1], *margins.shape[1:])
    return frequency


def _measured(
    magnitudes: "Float[np.ndarray, 'pair edge']",
    weights: "Float[np.ndarray, 'resample pair']",
    how: Resampling,
    pooled: "tuple[Float[np.ndarray, '1 edge'], Widths]",
    known: Widths | None,
) -> Activity:
    """Resample by resample (in chunks) the threshold, the edges kept, and the widths unless they are known."""
    whole = pooled[1]
    smallest = _thresholds(pooled[0], how)
    counts = np.zeros(magnitudes.shape[1], dtype=np.int64)
    thresholds, found = [], []
    for rows in _chunks(magnitudes.shape[1], len(weights)):
        means = weights[rows] @ magnitudes
        paths = widths(whole.blocks, means) if known is None else known.rows(rows)
        thresholds.append(_thresholds(means, how, guess=float(smallest[0])))
        found.append(paths)
        counts += _edge_counts(means, paths, thresholds[-1])
    every = Widths(
        whole.blocks,
        np.concatenate([paths.forward for paths in found]),
        np.concatenate([paths.backward for paths in found]),
    )
    return Activity(how, magnitudes, weights, every, np.concatenate(thresholds), counts, *pooled, smallest)


def _chunks(edges: int, count: int) -> Iterator[slice]:
    rows = max(1, _CHUNK_BYTES // (4 * edges))
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def _thresholds(
    means: "Float[np.ndarray, 'row edge']", how: Resampling, guess: float = 0.0
) -> "Float[np.ndarray, 'row']":
    """The smallest |score| in the circuit, per row; ``guess`` is where it may lie (that of the pooled scores)."""
    size = how.size(means.shape[1])
    smallest = np.array([_nth_largest(row, size, _NEAR * guess) for row in means])
    # Where fewer edges than asked are non-zero, only those count: an edge of score 0 carries nothing.
    least: np.ndarray = np.maximum(smallest, max(how.tau, float(np.finfo(means.dtype).tiny))).astype(means.dtype)
    return least


def _nth_largest(row: "Float[np.ndarray, 'edge']", n: int, floor: float) -> np.floating[Any]:
    """Partitioning the few values above ``floor`` is ten times faster than all; where they are too few, all are."""
    above = row[row >= floor]
    values = above if len(above) >= n else row
    nth: np.floating[Any] = np.partition(values, len(values) - n)[len(values) - n]
    return nth


def _log_margins(
    entry: "Float[np.ndarray, 'row *grid']", thresholds: "Float[np.ndarray, 'row']"
) -> "Float[np.ndarray, 'row *grid']":
    """Log of entry score over threshold, cut off far below 0."""
    shaped = thresholds.reshape(-1, *[1] * (entry.ndim - 1))
    margins: np.ndarray = np.log(np.maximum(entry / shaped, _SMALLEST))
    return margins


def _edge_counts(
    means: "Float[np.ndarray, 'row edge']", paths: Widths, thresholds: "Float[np.ndarray, 'row']"
) -> "Int[np.ndarray, 'edge']":
    """In how many rows each edge is in the pruned circuit: kept, and both its ends on a path of kept edges."""
    counts = np.zeros(means.shape[1], dtype=np.int64)
    sources, destinations = paths.blocks.sources, paths.blocks.destinations
    for scores, forward, onward, needed in zip(means, paths.forward, paths.onward, thresholds, strict=True):
        edges = np.flatnonzero(scores >= needed)
        alive = (forward[sources[edges]] >= needed) & (onward[destinations[edges]] >= needed)
        counts[edges[alive]] += 1
    return counts
