"""Edges born and lost between two models, by the same method as heads."""

import numpy as np
from jaxtyping import Bool, Int

from headscope.comparison.activity import Activity, in_circuit, resampled_frequency
from headscope.comparison.inclusion import EmergenceMethod
from headscope.comparison.resampling import Resampling
from headscope.comparison.split_half_null import SplitHalves
from headscope.comparison.status_counts import Frequencies, StatusCounts
from headscope.results.counts import EdgeChange
from headscope.results.emergence import Status, status_grid

Edges = Int[np.ndarray, "chosen"]


def edge_null(halves: SplitHalves, base: Activity, resampling: Resampling, method: EmergenceMethod) -> StatusCounts:
    """Return the edge counts of the base against itself on the two sides of every cut."""
    edges = _edges_in_play(base, halves.activity)
    return StatusCounts.split_half(halves.edge_frequencies(base, edges, method), halves.size, resampling)


def edge_change(
    base: Activity, post: Activity, null: StatusCounts, resampling: Resampling, method: EmergenceMethod
) -> EdgeChange:
    """Return the edges kept, born and lost in ``post``, with the excess over ``null``."""
    edges = _edges_in_play(base, post)
    before = _edge_frequencies(base, edges, method)
    after = _edge_frequencies(post, edges, method)
    counts = StatusCounts.compare(before, after, resampling)
    core, contingent = resampling.core, resampling.contingent
    status = status_grid(before.observed[0], after.observed[0], core=core, contingent=contingent)
    return EdgeChange(
        counts=counts.counts(resampling.seed),
        null=null.cut_range(),
        excess=counts.excess(null, resampling.seed),
        born=_names(post, edges[status == Status.NEW]),
        lost=_names(base, edges[status == Status.LOST]),
    )


def _edges_in_play(first: Activity, second: Activity) -> "Edges":
    """Return the edges in the circuit of any resample, or of the pooled scores, of either model.

    All others are absent in both and left out to keep the arrays small.
    """
    return np.flatnonzero(_is_in_play(first) | _is_in_play(second))


def _is_in_play(activity: Activity) -> "Bool[np.ndarray, 'edge']":
    counts = activity.edge_counts
    return np.asarray((counts > 0) | (activity.pooled_edge_margins(np.arange(len(counts))) >= 0))


def _edge_frequencies(activity: Activity, edges: "Edges", method: EmergenceMethod) -> Frequencies:
    """Return the inclusion frequencies of some edges, in one group."""
    margins = activity.edge_margins(edges)[:, None]
    if method == "paper":
        return Frequencies(in_circuit(activity.pooled_edge_margins(edges))[None], in_circuit(margins), activity.size)
    return Frequencies(in_circuit(margins).mean(axis=0), resampled_frequency(margins), activity.size)


def _names(activity: Activity, edges: "Edges") -> tuple[str, ...]:
    """Return the names of some edges, strongest first."""
    order = np.argsort(-activity.pooled_scores[0, edges], kind="stable")
    return tuple(activity.pooled_paths.blocks.names(edges[order]))
