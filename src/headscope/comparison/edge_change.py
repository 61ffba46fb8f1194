"""Edges born and lost between two models, by the method for heads."""

import numpy as np
from jaxtyping import Int

from headscope.comparison.activity import Activity
from headscope.comparison.measured import Method, candidates, edge_frequencies, retest_edge_sides
from headscope.comparison.resampling import Resampling
from headscope.comparison.retest import Retest
from headscope.comparison.tally import Frequencies, Tally
from headscope.results.counts import EdgeChange
from headscope.results.emergence import Status, status_grid

Edges = Int[np.ndarray, "chosen"]


def edge_null(found: Retest, base: Activity, how: Resampling, method: Method) -> Tally:
    """Edges of base against itself on the two sides of every cut."""
    edges = candidates(base, found.halves)
    return Tally.null(retest_edge_sides(found, base, edges, method), found.pairs, how)


def edge_change(base: Activity, post: Activity, null: Tally, how: Resampling, method: Method) -> EdgeChange:
    """Edges kept, born and lost in ``post``, with the excess over ``null``."""
    edges, before, after = _both(base, post, method)
    tally = Tally.between(before, after, how)
    status = status_grid(before.observed[0], after.observed[0], core=how.core, contingent=how.contingent)
    return EdgeChange(
        counts=tally.counts(how.seed),
        null=null.range(),
        excess=tally.excess(null, how.seed),
        born=_names(post, edges[status == Status.NEW]),
        lost=_names(base, edges[status == Status.LOST]),
    )


def _both(base: Activity, post: Activity, method: Method) -> tuple["Edges", Frequencies, Frequencies]:
    edges = candidates(base, post)
    return edges, edge_frequencies(base, edges, method), edge_frequencies(post, edges, method)


def _names(found: Activity, edges: "Edges") -> tuple[str, ...]:
    """Strongest first."""
    order = np.argsort(-found.magnitudes[:, edges].mean(axis=0), kind="stable")
    return tuple(found.whole.blocks.names(edges[order]))
