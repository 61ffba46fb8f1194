"""Random head sets of like importance: the null that asks whether heads matter beyond what their scores foretell."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from headscope.comparison.matched import MatchedSets
from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet

_NEAREST = 3
"""Each head's first neighbours; as many more are taken as the wanted number of sets needs."""

_TRIES = 50


def importance_matched_sets(
    heads: HeadSet,
    importance: "Float[np.ndarray, 'layer head']",
    count: int,
    seed: int,
    *,
    exclude: HeadSet = HeadSet(()),
) -> MatchedSets:
    """``count`` distinct random sets in which a head of nearly the same ``importance`` stands for each of ``heads``.

    importance: of every head, at least 0; nearness is that of logarithms, because importances span orders of magnitude.
    A head's stand-in is drawn from its nearest others, outside ``heads`` and ``exclude``, in any layer: three, or
    more until ``count`` sets are found. Fewer sets are returned where fewer exist.

    Raises InputError for an empty set, a head outside the grid, a count below 1, or where too few other heads are left.
    """
    heads.grid(*importance.shape)
    exclude.grid(*importance.shape)
    if count < 1 or not heads:
        raise InputError(f"found {len(heads)} heads and a count of {count}; at least one of each is needed")
    size = np.log(np.maximum(importance, 1e-12))
    others = [HeadId(*map(int, place)) for place in np.ndindex(importance.shape)]
    others = [head for head in others if head not in heads and head not in exclude]
    if len(others) < len(heads):
        raise InputError(f"only {len(others)} other heads are left to stand in for {len(heads)}; exclude fewer heads")
    nearest = {head: _by_distance(others, abs(size - size[head])) for head in heads}
    draw = np.random.default_rng(seed)
    found: dict[HeadSet, None] = {}
    for pool in range(min(_NEAREST, len(others)), len(others) + 1):
        for drawn in _draws(nearest, pool, _TRIES * count, draw):
            found.setdefault(drawn)
            if len(found) == count:
                return MatchedSets(tuple(found), count, (), (), seed)
    return MatchedSets(tuple(found), count, (), (), seed)


def _by_distance(heads: list[HeadId], distance: "Float[np.ndarray, 'layer head']") -> list[HeadId]:
    return sorted(heads, key=lambda head: float(distance[head]))


def _draws(nearest: dict[HeadId, list[HeadId]], pool: int, tries: int, draw: np.random.Generator) -> Iterator[HeadSet]:
    """Sets in which every head has its own stand-in among its ``pool`` nearest; stops early where draws repeat."""
    seen: set[HeadSet] = set()
    for attempt in range(1, tries + 1):
        taken: list[HeadId] = []
        for head in draw.permutation(len(nearest)):
            free = [other for other in list(nearest.values())[head][:pool] if other not in taken]
            if not free:
                break
            taken.append(free[int(draw.integers(len(free)))])
        if len(taken) == len(nearest):
            seen.add(HeadSet.of(taken))
            yield HeadSet.of(taken)
        if attempt >= 20 and attempt > 10 * len(seen):
            return
