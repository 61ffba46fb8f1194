"""Select edges by |score|.

Scores are [..., F, B] in the order of a ``Graph``, grouped or not; only its real edges can be selected, and the sign is
ignored. Of equal scores the first edge (by source, then by destination) is taken, so that a larger selection always
contains the smaller ones. Matrices along leading axes (resamples) are processed one by one: each fits a processor's
cache, and a stack of hundreds needs no memory beyond its masks.
"""

import heapq
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import InputError
from headscope.results.graph import Graph


def top_n(graph: Graph, scores: Float[np.ndarray, "*batch F B"], n: int) -> Bool[np.ndarray, "*batch F B"]:
    """Return the ``n`` real edges of largest |score|.

    Raises InputError if n is below 1 or above the number of real edges.
    """
    _check_count(graph, n)

    def largest(magnitude: Float[np.ndarray, " edge"]) -> Bool[np.ndarray, " edge"]:
        smallest = np.partition(magnitude, len(magnitude) - n)[len(magnitude) - n]
        selected: np.ndarray = magnitude > smallest
        # Ties at the n-th place: the first ones, not those that a partition happens to leave there.
        selected[np.flatnonzero(magnitude == smallest)[: n - int(selected.sum())]] = True
        return selected

    return _by_magnitude(graph, scores, largest)


def top_fraction(
    graph: Graph, scores: Float[np.ndarray, "*batch F B"], fraction: float
) -> Bool[np.ndarray, "*batch F B"]:
    """Return the given fraction of the real edges by |score|, rounded, at least one.

    Raises InputError if the fraction lies outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise InputError(f"found fraction={fraction}; give a fraction of the real edges above 0 and up to 1")
    return top_n(graph, scores, max(1, round(fraction * int(graph.real.sum()))))


def above_threshold(
    graph: Graph, scores: Float[np.ndarray, "*batch F B"], threshold: float
) -> Bool[np.ndarray, "*batch F B"]:
    """Return the real edges with |score| ≥ ``threshold``; 0 keeps all of them.

    Raises InputError if the threshold is below 0 or not a number.
    """
    if not threshold >= 0:
        raise InputError(f"found threshold={threshold}; give the least |score| of an edge, 0 or more")
    return _by_magnitude(graph, scores, lambda magnitude: magnitude >= threshold)


def top_mass(graph: Graph, scores: Float[np.ndarray, "*batch F B"], mass: float) -> Bool[np.ndarray, "*batch F B"]:
    """Return the fewest real edges that have at least the share ``mass`` of the total |score|.

    Raises InputError if the mass lies outside (0, 1].
    """
    if not 0 < mass <= 1:
        raise InputError(f"found mass={mass}; give a share of the total |score| above 0 and up to 1")

    def heaviest(magnitude: Float[np.ndarray, " edge"]) -> Bool[np.ndarray, " edge"]:
        order = np.argsort(-magnitude, kind="stable")
        cumulative = np.cumsum(magnitude[order], dtype=np.float64)
        selected = np.zeros(magnitude.shape, dtype=bool)
        # An edge is needed while those before it fall short.
        selected[order] = np.append(0.0, cumulative[:-1]) < mass * cumulative[-1]
        return selected

    return _by_magnitude(graph, scores, heaviest)


def greedy(graph: Graph, scores: Float[np.ndarray, "F B"], n: int) -> Bool[np.ndarray, "F B"]:
    """Return ``n`` edges by EAP-IG's greedy search from the logits up, each the strongest into a node already reached.

    Raises InputError if n is below 1 or above the number of real edges.
    """
    _check_count(graph, n)
    magnitude = np.abs(scores)
    selected = np.zeros(graph.real.shape, dtype=bool)
    reached: set[int] = set()
    entered: set[int] = set()  # query heads of a group share their k and v inputs, which must enter the heap once
    heap: list[tuple[float, int, int]] = []

    def reach(node: int) -> None:
        reached.add(node)
        for column in set(graph.column[graph.owner == node].tolist()) - entered:
            entered.add(column)
            for row in np.flatnonzero(graph.real[:, column]).tolist():
                # Negative, because the heap gives its smallest; equal scores leave it by row, then by column.
                heapq.heappush(heap, (-float(magnitude[row, column]), row, column))

    reach(len(graph.sources))
    for _ in range(n):
        _, row, column = heapq.heappop(heap)
        selected[row, column] = True
        if row not in reached:
            reach(row)
    return selected


def _check_count(graph: Graph, n: int) -> None:
    total = int(graph.real.sum())
    if not 1 <= n <= total:
        raise InputError(f"found n={n}; a graph of {graph.layers} layers x {graph.heads} heads allows 1-{total} edges")


def _by_magnitude(
    graph: Graph,
    scores: Float[np.ndarray, "*batch F B"],
    choose: Callable[[Float[np.ndarray, " edge"]], Bool[np.ndarray, " edge"]],
) -> Bool[np.ndarray, "*batch F B"]:
    """Return masks over [F, B] of the edges that ``choose`` selects by |score| among each matrix's real edges."""
    selected = np.zeros(scores.shape, dtype=bool)
    for index in np.ndindex(scores.shape[:-2]):
        selected[index][graph.real] = choose(np.abs(scores[index][graph.real]))
    return selected
