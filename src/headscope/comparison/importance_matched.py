"""Random head sets of similar importance: the null for an effect beyond what the heads' scores predict."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet

_NEAREST = 3
"""Each head's first neighbours; more are tried while there are too few sets."""

_TRIES = 50
"""Draws per set asked for, at each number of neighbours."""


def importance_matched_sets(
    heads: HeadSet,
    importance: "Float[np.ndarray, 'layer head']",
    count: int,
    seed: int,
    *,
    exclude: HeadSet = HeadSet(()),
    window: int | None = None,
) -> tuple[HeadSet, ...]:
    """Return ``count`` distinct random sets in which a head of nearly the same importance replaces each of ``heads``.

    Distances are of logarithms, because importances span orders of magnitude. A head's replacement is drawn from its
    nearest heads outside ``heads`` and ``exclude``, in any layer or in its window: from the nearest three, or from more
    if that gives fewer than ``count`` sets. Fewer sets are returned if fewer exist, none if too few heads are left.

    Args:
        heads: the real set.
        importance: importance of every head, 0 or more.
        count: number of sets.
        seed: seed of the draws.
        exclude: heads that no set may hold.
        window: number of layers on either side of each head's own (at the model's ends more on the other side); None
            takes all layers.

    Raises:
        InputError: for an empty set, a head outside the grid, or a count below 1.
    """
    heads.grid(*importance.shape)
    exclude.grid(*importance.shape)
    if count < 1 or not heads:
        raise InputError(f"found {len(heads)} heads and a count of {count}; at least one of each is needed")
    log_importance = np.log(np.maximum(importance, 1e-12))  # a head without importance has a logarithm too
    candidates = []
    for place in np.ndindex(importance.shape):
        head = HeadId(*map(int, place))
        if head not in heads and head not in exclude:
            candidates.append(head)
    if len(candidates) < len(heads):
        return ()
    neighbours = []
    for head in heads:
        layers = _window_of(head.layer, len(importance), window)
        nearby = [candidate for candidate in candidates if candidate.layer in layers]
        neighbours.append(_by_distance(nearby, abs(log_importance - log_importance[head])))
    rng = np.random.default_rng(seed)
    sets: dict[HeadSet, None] = {}  # an ordered set
    most = max(map(len, neighbours))
    for pool in range(min(_NEAREST, most), most + 1):
        for head_set in _draw_sets(neighbours, pool, _TRIES * count, rng):
            sets.setdefault(head_set)
            if len(sets) == count:
                return tuple(sets)
    return tuple(sets)


def _window_of(layer: int, layers: int, window: int | None) -> range:
    """Return the layers around one; at the ends of the model as many as in its middle."""
    if window is None or 2 * window + 1 >= layers:
        return range(layers)
    first = min(max(layer - window, 0), layers - 1 - 2 * window)
    return range(first, first + 2 * window + 1)


def _by_distance(heads: list[HeadId], distance: "Float[np.ndarray, 'layer head']") -> list[HeadId]:
    # A stable sort: heads equally far stay in the order of layers, so that a seed fixes the sets.
    return sorted(heads, key=lambda head: float(distance[head]))


def _draw_sets(neighbours: list[list[HeadId]], pool: int, tries: int, rng: np.random.Generator) -> Iterator[HeadSet]:
    """Yield sets in which every head is replaced by a different one of its ``pool`` nearest.

    Stops once most draws repeat earlier ones: after ten tries for every set found, at least twenty.
    """
    distinct: set[HeadSet] = set()
    for attempt in range(1, tries + 1):
        replacements: list[HeadId] = []
        for index in rng.permutation(len(neighbours)):  # in random order, so that no head always chooses first
            free = [head for head in neighbours[index][:pool] if head not in replacements]
            if not free:
                break
            replacements.append(free[int(rng.integers(len(free)))])
        if len(replacements) == len(neighbours):
            drawn = HeadSet.of(replacements)
            distinct.add(drawn)
            yield drawn
        if attempt >= 20 and attempt > 10 * len(distinct):
            return
