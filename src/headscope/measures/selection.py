"""Selecting edges by |score| and pruning to a fixed point; leading axes (resamples) are done one after another.

Scores are [..., F, B] in the order of a ``Graph``, grouped or not; only its real edges can be selected, and their
sign plays no part. Where scores are equal the edge that comes first (by source, then by destination) is preferred, so
that a larger size always holds the smaller ones. Each matrix of a stack is worked on alone: it fits a processor's
cache, and a stack of hundreds needs no memory beyond its masks.
"""

import heapq
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import InputError
from headscope.results.graph import Graph


def top_n(graph: Graph, scores: Float[np.ndarray, "*batch F B"], n: int) -> Bool[np.ndarray, "*batch F B"]:
    """The ``n`` real edges of largest |score|.

    Raises InputError where n is below 1 or above the number of real edges.
    """
    _check_count(graph, n)

    def largest(magnitude: Float[np.ndarray, " edge"]) -> Bool[np.ndarray, " edge"]:
        least = np.partition(magnitude, len(magnitude) - n)[len(magnitude) - n]
        kept: np.ndarray = magnitude > least
        kept[np.flatnonzero(magnitude == least)[: n - int(kept.sum())]] = True
        return kept

    return _by_magnitude(graph, scores, largest)


def top_fraction(
    graph: Graph, scores: Float[np.ndarray, "*batch F B"], fraction: float
) -> Bool[np.ndarray, "*batch F B"]:
    """The given fraction of the real edges by |score|, rounded, at least one.

    Raises InputError where the fraction lies outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise InputError(f"found fraction={fraction}; give a fraction of the real edges above 0 and up to 1")
    return top_n(graph, scores, max(1, round(fraction * int(graph.real.sum()))))


def above(graph: Graph, scores: Float[np.ndarray, "*batch F B"], threshold: float) -> Bool[np.ndarray, "*batch F B"]:
    """Real edges with |score| ≥ ``threshold``; 0 keeps all of them.

    Raises InputError where the threshold is below 0 or not a number.
    """
    if not threshold >= 0:
        raise InputError(f"found threshold={threshold}; give the least |score| of an edge, 0 or more")
    return _by_magnitude(graph, scores, lambda magnitude: magnitude >= threshold)


def top_mass(graph: Graph, scores: Float[np.ndarray, "*batch F B"], mass: float) -> Bool[np.ndarray, "*batch F B"]:
    """The fewest real edges that hold at least ``mass`` of the total |score|.

    Raises InputError where the mass lies outside (0, 1].
    """
    if not 0 < mass <= 1:
        raise InputError(f"found mass={mass}; give a share of the total |score| above 0 and up to 1")

    def heaviest(magnitude: Float[np.ndarray, " edge"]) -> Bool[np.ndarray, " edge"]:
        order = np.argsort(-magnitude, kind="stable")
        held = np.cumsum(magnitude[order], dtype=np.float64)
        kept = np.zeros(magnitude.shape, dtype=bool)
        kept[order] = np.append(0.0, held[:-1]) < mass * held[-1]  # an edge stays while those before it fall short
        return kept

    return _by_magnitude(graph, scores, heaviest)


def greedy(graph: Graph, scores: Float[np.ndarray, "F B"], n: int) -> Bool[np.ndarray, "F B"]:
    """EAP-IG's greedy search from the logits up: ``n`` times the strongest edge into a node reached.

    Raises InputError where n is below 1 or above the number of real edges.
    """
    _check_count(graph, n)
    magnitude = np.abs(scores)
    kept = np.zeros(graph.real.shape, dtype=bool)
    reached: set[int] = set()
    entered: set[int] = set()  # query heads of a group share their k and v inputs
    heap: list[tuple[float, int, int]] = []

    def reach(node: int) -> None:
        reached.add(node)
        for column in set(graph.column[graph.owner == node].tolist()) - entered:
            entered.add(column)
            for row in np.flatnonzero(graph.real[:, column]).tolist():
                heapq.heappush(heap, (-float(magnitude[row, column]), row, column))

    reach(len(graph.sources))
    for _ in range(n):
        _, row, column = heapq.heappop(heap)
        kept[row, column] = True
        if row not in reached:
            reach(row)
    return kept


def prune(graph: Graph, edges: Bool[np.ndarray, "*batch F B"]) -> Bool[np.ndarray, "*batch F B"]:
    """Remove edges of nodes without an incoming or an outgoing edge until none is left to remove.

    The input needs no incoming edge and the logits no outgoing one. A head counts as reached through any of
    q, k and v; the k or v input of a group counts for every query head of the group, and stays while any of them does.
    """
    kept = edges.copy()
    for mask in kept.reshape(-1, *edges.shape[-2:]):
        while _drop_loose_ends(graph, mask):
            pass
    return kept


def _drop_loose_ends(graph: Graph, mask: Bool[np.ndarray, "F B"]) -> bool:
    """Take the edges of loose nodes out of ``mask``, in place; whether there were any."""
    writing, read = np.any(mask, axis=1), np.any(mask, axis=0)
    incoming = np.zeros(len(writing) + 1, dtype=bool)
    incoming[graph.owner[read[graph.column]]] = incoming[0] = True
    alive = np.append(writing & incoming[:-1], True)  # the logits own a destination and are no source
    wanted = np.zeros_like(read)
    wanted[graph.column[alive[graph.owner]]] = True
    loose_rows, loose_columns = writing & ~alive[:-1], read & ~wanted
    mask[loose_rows] = False
    mask[:, loose_columns] = False
    return bool(loose_rows.any() or loose_columns.any())


def _check_count(graph: Graph, n: int) -> None:
    total = int(graph.real.sum())
    if not 1 <= n <= total:
        raise InputError(f"found n={n}; a graph of {graph.layers} layers x {graph.heads} heads allows 1-{total} edges")


def _by_magnitude(
    graph: Graph,
    scores: Float[np.ndarray, "*batch F B"],
    choose: Callable[[Float[np.ndarray, " edge"]], Bool[np.ndarray, " edge"]],
) -> Bool[np.ndarray, "*batch F B"]:
    """``choose`` on the |score| of each matrix's real edges, in row-major order, as masks over [F, B]."""
    kept = np.zeros(scores.shape, dtype=bool)
    for index in np.ndindex(scores.shape[:-2]):
        kept[index][graph.real] = choose(np.abs(scores[index][graph.real]))
    return kept
