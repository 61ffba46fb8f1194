"""The random sets next to a head set: matched in layers, and from neighbouring layers if those hold too few others.

1. Draw sets with as many heads in every layer, without heads that the set's group also holds.
2. If the layers have fewer than are asked for, add sets from a window of three layers around each head, its own
   among them, in which every head is replaced by one of like importance.
3. If p ≤ 0.05 is still out of reach, add sets of the first kind that hold the group's other heads.

A head alone in its layer of eight has seven controls by the first step, so that p ≥ 1/8, and 23 by the second.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from headscope.comparison.importance_matched import importance_matched_sets
from headscope.comparison.layer_matched import matched_random_sets
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.permutation import fewest_draws

Importance = Float[np.ndarray, "layer head"]


def control_sets(
    heads: HeadSet, rest: HeadSet, importance: Importance, count: int, seed: int
) -> tuple[tuple[HeadSet, ...], int]:
    """Return ``count`` distinct random sets, or as many as there are, and how many of the last are of neighbours.

    Args:
        heads: the real set; without heads there are no random sets.
        rest: other heads of its group, which stay out if enough sets remain.
        importance: of every head, at least 0.
        count: sets to draw.
        seed: of the draws.
    """
    nothing: HeadSet = HeadSet(())
    matched = _layer_matched(heads, rest, importance, count, seed)
    if len(matched) == count or not heads:
        return tuple(matched), 0
    # Some of these are of the layers' own heads alone: as many more are drawn as are there already.
    near = _add([], sample_like_sets(heads, rest, importance, count + len(matched), seed, window=1), matched)
    near = near[: count - len(matched)]
    if len(matched) + len(near) < fewest_draws():
        matched = _add(matched, _layer_matched(heads, nothing, importance, count, seed), near)
        matched = matched[: count - len(near)]
    return (*matched, *near), len(near)


def sample_like_sets(
    heads: HeadSet, rest: HeadSet, importance: Importance, count: int, seed: int, *, window: int | None = None
) -> list[HeadSet]:
    """Return random sets of like importance (``importance_matched_sets``); none if too few other heads are left."""
    try:
        return list(importance_matched_sets(heads, importance, count, seed, exclude=rest, window=window))
    except InputError:
        return []


def _layer_matched(heads: HeadSet, rest: HeadSet, importance: Importance, count: int, seed: int) -> list[HeadSet]:
    layers, width = importance.shape
    try:
        return list(matched_random_sets(heads, layers, width, count, seed, exclude=rest)) if heads else []
    except InputError:  # no other set: without controls the verdict is undecided, and says so
        return []


def _add(sets: list[HeadSet], more: Iterable[HeadSet], others: list[HeadSet]) -> list[HeadSet]:
    """Return ``sets`` and those of ``more`` that are in neither list."""
    known = {*sets, *others}
    return [*sets, *(drawn for drawn in more if drawn not in known)]
