"""Keep the edge scores of one batch of pairs: sums over the pairs, and what the result holds of each."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from headscope.results.graph import Graph


@dataclass(frozen=True, eq=False)
class BatchScores:
    """Sums of one batch's scores over its pairs, and the values of each pair.

    indices: places of the pairs in their set.
    signed: float64 Σ over pairs of the score.
    absolute: float64 Σ over pairs of |score|.
    heads, net: per pair Σ of |score| and Σ of the score over the edges out of each head.
    edges: the scores, or None if they are not kept.
    losses: of the clean and the corrupt run.
    nodes: number of nodes run per pair.
    paths: estimated error, norm, missed loss and whether the error is within the tolerance, per pair; no rows if the
        rule is fixed.
    """

    indices: tuple[int, ...]
    signed: Float[np.ndarray, "F B"]
    absolute: Float[np.ndarray, "F B"]
    heads: Float[np.ndarray, "pair layer head"]
    net: Float[np.ndarray, "pair layer head"]
    edges: Float[np.ndarray, "pair F B"] | None
    losses: Float[np.ndarray, "pair 2"]
    nodes: Int[np.ndarray, " pair"]
    paths: Float[np.ndarray, "path 4"]

    @classmethod
    def of(
        cls,
        graph: Graph,
        indices: tuple[int, ...],
        scores: Float[np.ndarray, "pair F B"],
        losses: Float[np.ndarray, "pair 2"],
        nodes: Int[np.ndarray, " pair"],
        paths: Float[np.ndarray, "path 4"],
        *,
        keep_pairs: bool,
    ) -> "BatchScores":
        """Return sums and per-pair values of the ``scores`` of some pairs, which are those of ``graph``."""
        absolute = np.abs(scores)
        return cls(
            indices=indices,
            signed=scores.sum(axis=0, dtype=np.float64),
            absolute=absolute.sum(axis=0, dtype=np.float64),
            heads=graph.head_grid(absolute.sum(axis=2)),
            net=graph.head_grid(scores.sum(axis=2)),
            edges=scores if keep_pairs else None,
            losses=losses,
            nodes=nodes,
            paths=paths,
        )

    def without(self, left_out: set[int], graph: Graph) -> "BatchScores":
        """Return the batch without some pairs; it must have per-pair edges."""
        assert self.edges is not None
        rows = [row for row, index in enumerate(self.indices) if index not in left_out]
        indices = tuple(self.indices[row] for row in rows)
        return BatchScores.of(
            graph, indices, self.edges[rows], self.losses[rows], self.nodes[rows], self.paths[rows], keep_pairs=True
        )

    def nodes_by_pair(self) -> list[tuple[int, int]]:
        """Return the index of each pair with its number of nodes."""
        return list(zip(self.indices, self.nodes.tolist(), strict=True))

    def add_nodes(self, earlier_nodes: dict[int, int]) -> "BatchScores":
        """Return the batch with the numbers of nodes of earlier integrations added, by pair."""
        return replace(self, nodes=self.nodes + [earlier_nodes.get(index, 0) for index in self.indices])


def relative_errors(paths: Float[np.ndarray, "path 4"]) -> Float[np.ndarray, " path"]:
    """Return each pair's estimated error relative to its integral; 0, not NaN, if all its scores are 0."""
    errors: Float[np.ndarray, " path"] = paths[:, 0] / np.maximum(paths[:, 1], 1e-30)
    return errors
