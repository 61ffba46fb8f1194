"""Overlap of the final circuits of several variants, at equal size and at equal faithfulness."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float

from headscope.comparison.activity import head_activity
from headscope.comparison.equal_faithfulness import FAITHFULNESS, fraction_reaching
from headscope.comparison.importance import head_importance
from headscope.comparison.overlap import overlap, rank_correlation
from headscope.comparison.resampling import Resampling
from headscope.heads import HeadSet
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.overlap import CircuitOverlap


@dataclass(frozen=True, eq=False)
class FinalCircuits:
    """The final circuits of one variant.

    core: core heads and share of real edges, by what is equal between variants (``fraction`` or ``faithfulness``).
    importance: importance of all heads, over all edges.
    """

    variant: str
    core: dict[str, tuple[HeadSet, float]]
    importance: Float[np.ndarray, "layer head"]


def final_circuits(
    variant: str,
    scores: EdgeScores,
    curve: FaithfulnessCurve,
    resampling: Resampling = Resampling(),
    *,
    faithfulness: float = FAITHFULNESS,
) -> FinalCircuits:
    """Return the core heads at ``resampling.fraction``, and at the size at which the curve reaches ``faithfulness``.

    Raises InputError if faithfulness is not defined, or the scores kept no per-pair edges.
    """
    sizes = {"fraction": resampling.fraction, "faithfulness": fraction_reaching(curve, faithfulness)}
    activity = head_activity(scores, resampling)
    core = {}
    for equal, fraction in sizes.items():
        sized = activity.at(replace(resampling, fraction=fraction))
        core[equal] = (HeadSet.from_grid(sized.core), fraction)
    return FinalCircuits(variant, core, head_importance(scores).value)


def circuit_overlaps(finals: Sequence[FinalCircuits]) -> tuple[CircuitOverlap, ...]:
    """Return the overlap of every pair of variants, at equal fraction and at equal faithfulness.

    The rank correlation is of importances over all edges, and the same at both. Raises InputError if the models' heads
    differ.
    """
    overlaps = []
    for first, second in combinations(finals, 2):
        # Of all heads, whatever the circuit: the same at equal size and at equal faithfulness.
        ranks = rank_correlation(first.importance, second.importance)
        for equal, (first_heads, first_fraction) in first.core.items():
            second_heads, second_fraction = second.core[equal]
            shared = overlap(first_heads, second_heads, *first.importance.shape)
            fractions = (first_fraction, second_fraction)
            overlaps.append(CircuitOverlap(first.variant, second.variant, equal, fractions, shared, ranks))
    return tuple(overlaps)
