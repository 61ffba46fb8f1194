"""Active heads and edges of one model, and how certain they are over problems.

1. Draw bootstrap resamples of the problems with all their pairs; each gives mean |score| per edge.
2. Each resample keeps its top edges; its threshold lies halfway, in logarithms, between the smallest |score| among them
   and the largest outside. At the smallest itself, heads at the circuit's edge would have a margin of exactly 0 in
   every resample however far the rest is, and steps that shift margins would take them for uncertain.
3. A head's *margin* is log(entry score / threshold): in the pruned circuit when ≥ 0 (``bottleneck_paths``). An edge's
   margin takes the smallest of its own score and the widths of its two ends.
4. The share of resamples with margin ≥ 0 is the inclusion frequency: core from 0.9 on, contingent from 0.1.

Entry scores do not depend on the circuit size, so one pass over the resamples serves all sizes (``Activity.at``).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.comparison.bottleneck_paths import BottleneckPaths, EdgeBlocks, bottleneck_paths
from headscope.comparison.resampling import Resampling
from headscope.errors import InputError
from headscope.measures.intervals import resamples
from headscope.pairs import ProblemGroups, SampleSize
from headscope.results.circuit_rule import least_score
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph

_CHUNK_BYTES = 16 * 2**20
"""Resampled edge scores held at once: near the cache, yet large enough to keep NumPy's calls few."""

_FARTHEST = 1e6
"""Entry scores further from the threshold than by this factor, and those of 0, are simply far away."""

_NEAR = 0.7
"""A resample's threshold is rarely below this share of that of the pooled scores."""

_TIE = 1e-6
"""A margin this little below 0 is 0: a mean summed in another order may differ in its last bits."""


@dataclass(frozen=True, eq=False)
class Activity:
    """Activity of one model's heads and edges on one set of pairs.

    groups: the pairs grouped by problem.
    magnitudes: |score| per problem (the mean over its pairs) and real edge, in the order of ``EdgeBlocks.index``.
    weights: the weight of each problem in each resample.
    paths, thresholds: widest paths, and the |score| from which edges are in the circuit, of each resample.
    edge_counts: the number of resamples in which each edge is in the pruned circuit.
    pooled_scores: |score|, the mean over all pairs, one row.
    pooled_paths, pooled_threshold: of the pooled scores.
    """

    resampling: Resampling
    groups: ProblemGroups
    magnitudes: Float[np.ndarray, "problem edge"]
    weights: Float[np.ndarray, "resample problem"]
    paths: BottleneckPaths
    thresholds: Float[np.ndarray, "resample"]
    edge_counts: Int[np.ndarray, "edge"]
    pooled_scores: Float[np.ndarray, "1 edge"]
    pooled_paths: BottleneckPaths
    pooled_threshold: Float[np.ndarray, "1"]

    @property
    def size(self) -> SampleSize:
        """Return the numbers of resampled problems and their pairs."""
        return self.groups.size

    @property
    def pooled_margins(self) -> "Float[np.ndarray, 'layer head']":
        """Return the log margins in the circuit of the scores pooled over all pairs; ≥ 0 inside."""
        return np.asarray(_log_margins(self.pooled_paths.entry_scores, self.pooled_threshold)[0])

    @cached_property
    def margins(self) -> "Float[np.ndarray, 'resample layer head']":
        """Return the log margin of every head in every resample."""
        return _log_margins(self.paths.entry_scores, self.thresholds)

    @property
    def frequency(self) -> "Float[np.ndarray, 'layer head']":
        """Return the share of resamples in which a head is in the pruned circuit."""
        return np.asarray((self.margins >= 0).mean(axis=0))

    @property
    def core(self) -> "Bool[np.ndarray, 'layer head']":
        """Return the active heads."""
        return self.frequency >= self.resampling.core

    @property
    def contingent(self) -> "Bool[np.ndarray, 'layer head']":
        """Return the contingent heads, which some resamples include and others do not."""
        return np.asarray((self.frequency >= self.resampling.contingent) & ~self.core)

    def edge_margins(self, edges: "Int[np.ndarray, 'chosen']") -> "Float[np.ndarray, 'resample chosen']":
        """Return the log margins of some edges in every resample."""
        # Means of some columns may be summed in another order than those of all, from which the thresholds are: a tie.
        entry_scores = np.minimum(self.weights @ self.magnitudes[:, edges], self.paths.end_widths(edges))
        return _log_margins(entry_scores, self.thresholds) + np.float32(_TIE)

    def pooled_edge_margins(self, edges: "Int[np.ndarray, 'chosen']") -> "Float[np.ndarray, 'chosen']":
        """Return the log margins of some edges in the circuit of the pooled scores."""
        entry_scores = np.minimum(self.pooled_scores[:, edges], self.pooled_paths.end_widths(edges))
        return np.asarray(_log_margins(entry_scores, self.pooled_threshold)[0] + np.float32(_TIE))

    def resampled_frequency(self) -> "Float[np.ndarray, 'resample layer head']":
        """Return the inclusion frequencies that would result if each resample were the data."""
        return resampled_frequency(self.margins)

    def at(self, resampling: Resampling) -> "Activity":
        """Return the activity with another circuit size; the rest of ``resampling`` must be the same."""
        total = self.magnitudes.shape[1]
        same_size = resampling.circuit_edges(total) == self.resampling.circuit_edges(total)
        if same_size and resampling.tau == self.resampling.tau:
            return self
        pooled = (self.pooled_scores, self.pooled_paths)
        return _resample_circuits(self.groups, self.magnitudes, self.weights, resampling, pooled, self.paths)


def head_activity(scores: EdgeScores, resampling: Resampling = Resampling()) -> Activity:
    """Return the activity of the heads of one model.

    Raises InputError if ``scores`` kept no per-pair edges or holds a value that is not finite.
    """
    magnitudes, groups = edge_magnitudes(scores), scores.problem_groups
    weights = resamples(groups, count=resampling.resamples, seed=resampling.seed)
    # float32 like the magnitudes: the products would else be float64, twice as large.
    weights = weights.astype(np.float32)
    return weighted_activity(scores.graph, groups, groups.means(magnitudes), weights, resampling)


def weighted_activity(
    graph: Graph,
    groups: ProblemGroups,
    magnitudes: "Float[np.ndarray, 'problem edge']",
    weights: "Float[np.ndarray, 'resample problem']",
    resampling: Resampling,
) -> Activity:
    """Return the activity under any weights of the problems, each row adding up to 1."""
    means = groups.average(magnitudes)[None]
    pooled = (means, bottleneck_paths(EdgeBlocks(graph), means))
    return _resample_circuits(groups, magnitudes, weights, resampling, pooled, None)


def edge_magnitudes(scores: EdgeScores) -> "Float[np.ndarray, 'pair edge']":
    """Return |score| of the real edges in the order of ``EdgeBlocks.index``.

    Raises InputError as ``head_activity`` does.
    """
    if scores.pair_edges is None:
        raise InputError(
            "the scores keep no per-pair edges, which the bootstrap resamples; attribute with keep_pairs=True"
        )
    blocks = EdgeBlocks(scores.graph)
    magnitudes = np.empty((len(scores.pair_edges), len(blocks.index)), dtype=np.float32)
    # Pair by pair and in place, so that no second copy of all edges is held; mode "raise" would buffer each row.
    for row, edges in zip(magnitudes, scores.pair_edges, strict=True):
        np.take(edges.ravel(), blocks.index, out=row, mode="clip")
    np.abs(magnitudes, out=magnitudes)
    if not np.isfinite(magnitudes).all():
        raise InputError("the scores hold values that are not finite; a circuit needs a number for every edge")
    return magnitudes


def pooled_margins(scores: EdgeScores, resampling: Resampling = Resampling()) -> "Float[np.ndarray, 'layer head']":
    """Return the log margins in the circuit of the mean |score| over pairs, which needs no per-pair edges."""
    blocks = EdgeBlocks(scores.graph)
    pooled = scores.edges_abs.reshape(1, -1)[:, blocks.index]
    entry_scores = bottleneck_paths(blocks, pooled).entry_scores
    return np.asarray(_log_margins(entry_scores, _thresholds(pooled, resampling))[0])


def in_circuit(margins: "Float[np.ndarray, '*grid']") -> "Float[np.ndarray, '*grid']":
    """Return the frequencies of a single circuit: 1.0 for every margin inside the pruned circuit and 0.0 outside."""
    return np.asarray(margins >= 0, dtype=np.float64)


def resampled_frequency(
    margins: "Float[np.ndarray, 'resample *grid']",
    centres: "Float[np.ndarray, 'row *grid'] | None" = None,
    spread: float = 1.0,
) -> "Float[np.ndarray, 'row *grid']":
    """Return the inclusion frequencies that would result if each resample were the data.

    It replaces a bootstrap within the bootstrap: the margin's spread around a resample's own margin is assumed to be
    its spread around the median, so the frequency is the share of margins at or above (median − margin of the
    resample).

    Args:
        margins: log margins in every resample.
        centres: margins of other data; None takes the resamples' own.
        spread: standard deviation of the other data's margins, relative to the resamples'.
    """
    count = len(margins)
    columns = margins.reshape(count, -1).astype(np.float64).T
    targets = columns if centres is None else centres.reshape(len(centres), -1).astype(np.float64).T / spread
    needed = np.median(columns, axis=1, keepdims=True) - targets
    # All columns are searched at once: each is moved to a range of its own.
    reach = max(np.abs(columns).max(initial=0.0), np.abs(needed).max(initial=0.0))
    shift = 2.0 * (reach + 1) * np.arange(len(columns))[:, None]
    # side="left" counts the margins strictly below, so that one equal to what is needed is inside.
    below = np.searchsorted((np.sort(columns, axis=1) + shift).ravel(), (needed + shift).ravel(), side="left")
    below = below.reshape(needed.shape) - count * np.arange(len(columns))[:, None]
    # One division, as in ``frequency``: 1 − below / count would put 20 of 200 below the bound of 0.1.
    return np.asarray(((count - below.T) / count).reshape(needed.shape[1], *margins.shape[1:]))


def _resample_circuits(
    groups: ProblemGroups,
    magnitudes: "Float[np.ndarray, 'problem edge']",
    weights: "Float[np.ndarray, 'resample problem']",
    resampling: Resampling,
    pooled: "tuple[Float[np.ndarray, '1 edge'], BottleneckPaths]",
    paths: BottleneckPaths | None,
) -> Activity:
    """Return the activity from every resample's threshold, edges and ``paths``, which are computed if None."""
    blocks = pooled[1].blocks
    pooled_threshold = _thresholds(pooled[0], resampling)
    edge_counts = np.zeros(magnitudes.shape[1], dtype=np.int64)
    # In chunks near the cache: all at once, 200 resamples of the 183,555 edges of Qwen2.5-1.5B are 147 MB.
    thresholds, chunks = [], []
    for rows in _row_chunks(magnitudes.shape[1], len(weights)):
        means = weights[rows] @ magnitudes
        chunk = bottleneck_paths(blocks, means) if paths is None else paths.rows(rows)
        thresholds.append(_thresholds(means, resampling, guess=float(pooled_threshold[0])))
        chunks.append(chunk)
        edge_counts += _count_edges(means, chunk, thresholds[-1])
    forward = np.concatenate([chunk.forward for chunk in chunks])
    backward = np.concatenate([chunk.backward for chunk in chunks])
    return Activity(
        resampling=resampling,
        groups=groups,
        magnitudes=magnitudes,
        weights=weights,
        paths=BottleneckPaths(blocks, forward, backward),
        thresholds=np.concatenate(thresholds),
        edge_counts=edge_counts,
        pooled_scores=pooled[0],
        pooled_paths=pooled[1],
        pooled_threshold=pooled_threshold,
    )


def _row_chunks(edges: int, count: int) -> Iterator[slice]:
    rows = max(1, _CHUNK_BYTES // (4 * edges))  # 4 bytes: float32
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def _thresholds(
    means: "Float[np.ndarray, 'row edge']", resampling: Resampling, guess: float = 0.0
) -> "Float[np.ndarray, 'row']":
    """Return the |score| from which edges are in the circuit, per row, which lies near ``guess``, that of the pooled
    scores."""
    edges = resampling.circuit_edges(means.shape[1])
    thresholds = np.array([_threshold(row, edges, _NEAR * guess) for row in means], dtype=means.dtype)
    return np.asarray(np.maximum(thresholds, np.asarray(least_score(resampling.tau, means.dtype), dtype=means.dtype)))


def _threshold(row: "Float[np.ndarray, 'edge']", n: int, floor: float) -> float:
    """Return the geometric mean of the n-th largest score and the next, or the n-th if nothing lies between them."""
    # Partitioning the few values above ``floor`` is ten times faster than all; if they are too few, all are.
    above = row[row >= floor]
    values = above if len(above) > n else row
    if len(values) > n:
        outside, last = np.partition(values, (len(values) - n - 1, len(values) - n))[[-n - 1, -n]]
    else:
        outside, last = row.dtype.type(0), row.min()
    between = row.dtype.type(math.sqrt(float(last) * max(float(outside), float(last) / _FARTHEST**2)))
    return float(between if outside < between <= last else last)


def _log_margins(
    entry_scores: "Float[np.ndarray, 'row *grid']", thresholds: "Float[np.ndarray, 'row']"
) -> "Float[np.ndarray, 'row *grid']":
    """Return log(entry score / threshold), clipped far from 0."""
    # Around infinite margins, as of an entry score of 0, nothing could be shifted. In float32 the ratio overflows if a
    # circuit may hold more edges than there are scores above 0.
    aligned = thresholds.reshape(-1, *[1] * (entry_scores.ndim - 1)).astype(np.float64)
    ratios = np.clip(entry_scores / aligned, 1 / _FARTHEST, _FARTHEST)
    return np.asarray(np.log(ratios), dtype=entry_scores.dtype)


def _count_edges(
    means: "Float[np.ndarray, 'row edge']", paths: BottleneckPaths, thresholds: "Float[np.ndarray, 'row']"
) -> "Int[np.ndarray, 'edge']":
    """Return in how many rows each edge is in the pruned circuit: it and a path through both its ends reach the
    threshold.
    """
    counts = np.zeros(means.shape[1], dtype=np.int64)
    sources, destinations = paths.blocks.sources, paths.blocks.destinations
    for scores, forward, onward, threshold in zip(means, paths.forward, paths.onward, thresholds, strict=True):
        edges = np.flatnonzero(scores >= threshold)
        alive = (forward[sources[edges]] >= threshold) & (onward[destinations[edges]] >= threshold)
        counts[edges[alive]] += 1
    return counts
