"""How alike the final circuits of several variants are, at circuits of equal size and of equal faithfulness."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float

from headscope.comparison.activity import head_activity
from headscope.comparison.effects import head_importance
from headscope.comparison.overlap import overlap, rank_correlation
from headscope.comparison.resampling import Resampling
from headscope.comparison.sizes import fraction_reaching
from headscope.comparison.thinking import FAITHFULNESS
from headscope.heads import HeadSet
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.overlap import Likeness


@dataclass(frozen=True, eq=False)
class Final:
    """One variant's last circuits. core: its core heads and the share of real edges, by what is equal."""

    variant: str
    core: dict[str, tuple[HeadSet, float]]
    importance: Float[np.ndarray, "layer head"]


def final(
    variant: str,
    scores: EdgeScores,
    curve: FaithfulnessCurve,
    how: Resampling = Resampling(),
    *,
    faithfulness: float = FAITHFULNESS,
) -> Final:
    """Core heads at ``how.fraction``, and at the size at which the curve reaches ``faithfulness``.

    Raises InputError where faithfulness is not defined, or the scores kept no per-pair edges.
    """
    sizes = {"fraction": how.fraction, "faithfulness": fraction_reaching(curve, faithfulness)}
    core = {
        equal: (HeadSet.from_grid(head_activity(scores, replace(how, fraction=size)).core), size)
        for equal, size in sizes.items()
    }
    return Final(variant, core, head_importance(scores).value)


def likeness(finals: list[Final]) -> tuple[Likeness, ...]:
    """Every pair of variants, at equal fraction and at equal faithfulness.

    The rank correlation is of importances over all edges, the same at either. Raises InputError where the models'
    heads differ.
    """
    return tuple(
        Likeness(
            one.variant,
            other.variant,
            equal,
            (size, other.core[equal][1]),
            overlap(heads, other.core[equal][0], *one.importance.shape),
            rank_correlation(one.importance, other.importance),
        )
        for one, other in combinations(finals, 2)
        for equal, (heads, size) in one.core.items()
    )
