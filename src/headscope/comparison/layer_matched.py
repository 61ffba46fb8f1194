"""Random head sets with a real one's number of heads per layer: the null of an intervention."""

from collections.abc import Iterator
from itertools import chain, combinations, islice, product
from math import comb, prod

import numpy as np

from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet

_LISTED = 1_000
"""Up to this many possible sets are listed and chosen from; beyond it they are drawn until enough differ."""


def layer_matched_sets(
    heads: HeadSet, layers: int, n_heads: int, count: int, seed: int, *, exclude: HeadSet = HeadSet(())
) -> tuple[HeadSet, ...]:
    """Return ``count`` distinct random sets with as many heads in every layer as ``heads``, none in ``exclude``.

    Each layer's heads are drawn from those outside ``heads`` and ``exclude``. If these are too few, also from those in
    ``heads``, but no set equals ``heads``; a layer that ``heads`` fills is the same in every set, which is then no
    control for it. If fewer than ``count`` distinct sets exist, all of them are returned; repeats would inflate the
    null; there may be none.

    Raises InputError for an empty set, a head outside the model, or a count below 1.
    """
    heads.grid(layers, n_heads)
    exclude.grid(layers, n_heads)
    if count < 1:
        raise InputError(f"count is {count}; at least 1 random set is needed")
    if not heads.heads:
        raise InputError("the head set is empty; there is nothing to match random sets to")
    profile = heads.layer_profile()
    pools = {layer: _pool(layer, size, heads, n_heads, exclude) for layer, size in profile.items()}
    sets = _draw_sets(pools, profile, heads, count, np.random.default_rng(seed))
    return tuple(sets)


def _pool(layer: int, size: int, heads: HeadSet, n_heads: int, exclude: HeadSet) -> list[HeadId]:
    """Return the heads from which one layer is drawn."""
    candidates = [HeadId(layer, head) for head in range(n_heads)]
    outside = [head for head in candidates if head not in heads and head not in exclude]
    if len(outside) >= size:
        return outside
    return [head for head in candidates if head in heads or head not in exclude]


def _draw_sets(
    pools: dict[int, list[HeadId]], profile: dict[int, int], heads: HeadSet, count: int, rng: np.random.Generator
) -> list[HeadSet]:
    possible = prod(comb(len(pools[layer]), size) for layer, size in profile.items())
    if possible > max(_LISTED, 2 * count):  # so that at most half are drawn, and repeats stay rare
        return list(islice(_distinct_sets(pools, profile, heads, rng), count))
    choices = product(*(combinations(pools[layer], size) for layer, size in profile.items()))
    sets = [HeadSet.of(chain.from_iterable(layers)) for layers in choices]
    sets = [head_set for head_set in sets if head_set != heads]  # possible if a layer is drawn from its own heads too
    return [sets[index] for index in rng.permutation(len(sets))[:count]]


def _distinct_sets(
    pools: dict[int, list[HeadId]], profile: dict[int, int], heads: HeadSet, rng: np.random.Generator
) -> Iterator[HeadSet]:
    """Yield random sets without end, all different and none equal to ``heads``."""
    yielded = {heads}
    while True:
        chosen: list[HeadId] = []
        for layer, size in profile.items():
            indices = rng.choice(len(pools[layer]), size, replace=False)
            chosen += [pools[layer][index] for index in indices]
        heads_drawn = HeadSet.of(chosen)
        if heads_drawn not in yielded:
            yielded.add(heads_drawn)
            yield heads_drawn
