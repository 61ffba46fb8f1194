"""The strongest edges of every head, by port, in base and variant next to one another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from headscope.report.heads.numbers import packed_numbers
from headscope.report.run_results import RunResults
from headscope.results.codec import Json
from headscope.results.graph import PORTS, Graph

OUT = "out"
DIRECTIONS = (*PORTS, OUT)
"""In the order in which a head's edges are listed."""


@dataclass(frozen=True, eq=False)
class EdgePair:
    """Mean signed scores of all edges in base and variant, on one set of pairs; positive if corrupting the edge raises
    the loss."""

    graph: Graph
    base: Float[np.ndarray, "F B"]
    post: Float[np.ndarray, "F B"]

    @classmethod
    def from_results(cls, results: RunResults, variant: str) -> "EdgePair | None":
        """Return the scores of the base and of a variant's last checkpoint; None if one of them was not scored."""
        base, post = results.mean_scores(variant, "base"), results.mean_scores(variant, variant)
        if base is None or post is None:
            return None
        return cls(base[1].graph, base[1].edges, post[1].edges)

    def packed(self, places: Sequence[int], count: int) -> list[Json]:
        """Return for each head the ``count`` edges of largest |score| in either model, per direction.

        Per head a list per direction (``DIRECTIONS``) of numbers, three for each edge: the other node, by its place
        among the graph's sources (its destinations for ``out``), and its scores in base and variant.
        """
        return [
            [self._edges(*divmod(place, self.graph.heads), direction, count) for direction in DIRECTIONS]
            for place in places
        ]

    def _edges(self, layer: int, head: int, direction: str, count: int) -> list[Json]:
        graph = self.graph
        if direction == OUT:
            row = graph.head_source(layer, head)
            return _strongest(self.base[row], self.post[row], graph.real[row], count)
        # In a grouped graph the k and v inputs are those of the head's group.
        reader = head * graph.readers(direction) // graph.heads
        column = graph.port(layer, direction, reader)
        return _strongest(self.base[:, column], self.post[:, column], graph.real[:, column], count)


def _strongest(
    base: Float[np.ndarray, " node"], post: Float[np.ndarray, " node"], real: "np.ndarray", count: int
) -> list[Json]:
    size = np.where(real, np.maximum(np.abs(base), np.abs(post)), 0)
    order: Int[np.ndarray, " edge"] = np.argsort(-size, kind="stable")[:count]
    order = order[size[order] > 0]
    scores = zip(packed_numbers(base[order]), packed_numbers(post[order]), strict=True)
    return [number for node, pair in zip(order.tolist(), scores, strict=True) for number in (node, *pair)]
