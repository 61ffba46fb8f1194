"""One model as the comparison sees it, and the inclusion frequencies a method reads from it.

``bootstrap``: the share of resamples whose pruned circuit holds a head. ``paper``: 1 where the circuit of the pooled
scores does, else 0; each resample then gives a 0 or 1 of its own.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int

from headscope.comparison.activity import Activity, head_activity, pooled_activity, resampled_frequency
from headscope.comparison.resampling import Resampling
from headscope.comparison.retest import Retest
from headscope.comparison.tally import Frequencies, Sides
from headscope.errors import InputError, suggestion
from headscope.results.edges import EdgeScores

Method = Literal["bootstrap", "paper"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, eq=False)
class Measured:
    """scores: without their per-pair edges, which ``activity`` holds; it is None where none were kept."""

    scores: EdgeScores
    activity: Activity | None

    def at(self, how: Resampling) -> "Measured":
        """With circuits of another size."""
        return self if self.activity is None else replace(self, activity=self.activity.at(how))

    def heads(self, how: Resampling, method: Method) -> Frequencies:
        """Of every head, by layer."""
        if self.activity is None:
            inside = (pooled_activity(self.scores, how) >= 0).astype(np.float64)
            return Frequencies(inside, np.empty((0, *inside.shape)), len(self.scores.pair_heads))
        found = self.activity
        if method == "paper":
            draws = (found.margins >= 0).astype(np.float64)
            return Frequencies((found.pooled >= 0).astype(np.float64), draws, found.pairs)
        return Frequencies(found.frequency, found.resampled_frequency(), found.pairs)


def measured(scores: EdgeScores, how: Resampling, method: Method) -> Measured:
    """A model's activity; ``paper`` makes do with pooled scores where no per-pair edges were kept, the bootstrap
    raises InputError. So does a method that is neither.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} does not exist{suggestion(method, METHODS)}")
    if method == "paper" and scores.pair_edges is None:
        return Measured(scores, None)
    return Measured(replace(scores, pair_edges=None), head_activity(scores, how))


def retest_sides(found: Retest, base: Activity, method: Method) -> Sides:
    """Frequencies of every head on both sides of each cut."""
    margins = found.halves.margins
    sides = (margins >= 0).astype(np.float64) if method == "paper" else found.frequencies(base.margins, margins)
    return sides[0::2], sides[1::2]


def retest_edge_sides(found: Retest, base: Activity, edges: "Int[np.ndarray, 'chosen']", method: Method) -> Sides:
    """Of some edges, in one group."""
    margins = found.halves.edge_margins(edges)[:, None]
    if method == "paper":
        sides = (margins >= 0).astype(np.float64)
    else:
        sides = found.frequencies(base.edge_margins(edges)[:, None], margins)
    return sides[0::2], sides[1::2]


def candidates(one: Activity, other: Activity) -> "Int[np.ndarray, 'chosen']":
    """Edges in the circuit of any resample, or of the pooled scores, of either model: all others are absent in both."""
    every = np.arange(len(one.edge_counts))
    inside = [(found.edge_counts > 0) | (found.edges_pooled(every) >= 0) for found in (one, other)]
    return np.flatnonzero(inside[0] | inside[1])


def edge_frequencies(found: Activity, edges: "Int[np.ndarray, 'chosen']", method: Method) -> Frequencies:
    """Of some edges, in one group."""
    margins = found.edge_margins(edges)[:, None]
    if method == "paper":
        observed = (found.edges_pooled(edges) >= 0).astype(np.float64)
        return Frequencies(observed[None], (margins >= 0).astype(np.float64), found.pairs)
    return Frequencies((margins >= 0).mean(axis=0), resampled_frequency(margins), found.pairs)
