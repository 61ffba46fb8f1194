"""The rule for the circuit in which heads are counted (method section 4), used by page, export and comparison.

1. Rank the real edges by the mean over pairs of |score|; of equal ones the first in the graph comes first.
2. Leave out edges with |score| below τ, and those of score 0, which have no effect.
3. Take the first ones, up to the number or share.  4. Prune loose ends.

The comparison does the same to every resample by a threshold (``comparison.activity``), which is faster; only equal
scores at the threshold can make a difference.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.results.graph import Graph
from headscope.results.pruning import prune


@dataclass(frozen=True, slots=True)
class CircuitRule:
    """The size of the circuits in which a variant's heads are counted.

    fraction: of the real edges, before steps 2 and 4. edges: their number instead; None if there is a fraction.
    tau: the least |score| of an edge.
    """

    fraction: float | None
    edges: int | None = None
    tau: float = 0.0

    def count(self, graph: Graph) -> int | None:
        """Return the number of edges before pruning; None if neither fraction nor number is known."""
        total = int(graph.real.sum())
        if self.fraction is not None:
            return max(1, round(self.fraction * total))
        return None if self.edges is None else min(self.edges, total)


def least_score(tau: float, dtype: "np.dtype[np.floating]") -> float:
    """Return the least |score| of an edge in a circuit: τ, and more than 0."""
    return max(tau, float(np.finfo(dtype).tiny))


def edge_ranks(graph: Graph, magnitude: Float[np.ndarray, "F B"], tau: float = 0.0) -> Int[np.ndarray, " real"]:
    """Return each real edge's rank, 0 for the largest |score|; edges in no circuit have the number of edges."""
    scores = np.abs(magnitude[graph.real])
    order = np.argsort(-scores, kind="stable")
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    ranks[scores < least_score(tau, scores.dtype)] = len(ranks)
    return ranks


def circuit_of_ranks(graph: Graph, ranks: Int[np.ndarray, " real"], count: int) -> Bool[np.ndarray, "F B"]:
    """Return the pruned circuit of the edges whose rank is below ``count``, at most the number of real edges."""
    mask = np.zeros(graph.real.shape, dtype=bool)
    mask[graph.real] = ranks < count
    return prune(graph, mask)


def select_circuit(
    graph: Graph, magnitude: Float[np.ndarray, "F B"], count: int, tau: float = 0.0
) -> Bool[np.ndarray, "F B"]:
    """Return the pruned circuit of the ``count`` edges of largest |score|, without those below ``tau``."""
    return circuit_of_ranks(graph, edge_ranks(graph, magnitude, tau), count)
