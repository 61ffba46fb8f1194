"""Random sets for a head set: matched in layers, or from neighbouring layers if its own have too few other heads.

1. Draw sets with as many heads in every layer, without heads that the set's group also holds.
2. If there are too few such sets, add sets in which every head is replaced by one of similar importance from a window
   of three layers around it.
3. If p ≤ 0.05 is still impossible, add sets of the first kind with the group's other heads.

A head alone in its layer of eight has seven controls by the first step, so that p ≥ 1/8, and 23 by the second.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from headscope.comparison.importance_matched import importance_matched_sets
from headscope.comparison.layer_matched import layer_matched_sets
from headscope.heads import HeadSet
from headscope.measures.permutation import fewest_draws

Importance = Float[np.ndarray, "layer head"]

WINDOW = 1
"""Layers on either side of a head's own from which it may be replaced; at the model's ends more on the other side."""


def control_sets(
    heads: HeadSet, rest: HeadSet, importance: Importance, count: int, seed: int
) -> tuple[tuple[HeadSet, ...], int]:
    """Return ``count`` distinct random sets, or as many as exist, and how many of the last are of neighbours.

    Args:
        heads: the real set; if it is empty, there are no random sets.
        rest: other heads of its group, which are left out if enough sets remain.
        importance: importance of every head, 0 or more.
        count: number of sets.
        seed: seed of the draws.
    """
    nothing: HeadSet = HeadSet(())
    matched = _sample_layer_matched(heads, rest, importance, count, seed)
    if len(matched) == count or not heads:
        return tuple(matched), 0
    # Some of these may equal sets of the first step, so that many more are drawn.
    near = _add(
        [], sample_importance_matched(heads, rest, importance, count + len(matched), seed, window=WINDOW), matched
    )
    near = near[: count - len(matched)]
    if len(matched) + len(near) < fewest_draws():
        matched = _add(matched, _sample_layer_matched(heads, nothing, importance, count, seed), near)
        matched = matched[: count - len(near)]
    return (*matched, *near), len(near)


def sample_importance_matched(
    heads: HeadSet, rest: HeadSet, importance: Importance, count: int, seed: int, *, window: int | None = None
) -> list[HeadSet]:
    """Return random sets of similar importance (``importance_matched_sets``), none of no heads."""
    return list(importance_matched_sets(heads, importance, count, seed, exclude=rest, window=window)) if heads else []


def _sample_layer_matched(
    heads: HeadSet, rest: HeadSet, importance: Importance, count: int, seed: int
) -> list[HeadSet]:
    layers, width = importance.shape
    return list(layer_matched_sets(heads, layers, width, count, seed, exclude=rest)) if heads else []


def _add(sets: list[HeadSet], more: Iterable[HeadSet], excluded: list[HeadSet]) -> list[HeadSet]:
    """Return ``sets`` and those of ``more`` that are in neither ``sets`` nor ``excluded``."""
    existing = {*sets, *excluded}
    return [*sets, *(candidate for candidate in more if candidate not in existing)]
