"""Keep the edge scores of one batch of pairs: sums over the pairs, and what the result holds of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.circuits.adaptive_quadrature import AdaptiveQuadrature
from headscope.results.graph import Graph


@dataclass(frozen=True, eq=False)
class PathErrors:
    """Errors of each pair's path, integrated at adaptive nodes; no paths if the rule is fixed.

    error: estimated error of the scores. norm: of the scores; both are Frobenius norms.
    missed_loss: sum of the scores of the input's edges less L(corrupt) − L(clean), signed.
    settled: whether the error is within the tolerance.
    """

    error: Float[np.ndarray, " path"]
    norm: Float[np.ndarray, " path"]
    missed_loss: Float[np.ndarray, " path"]
    settled: Bool[np.ndarray, " path"]

    @classmethod
    def of(cls, paths: Sequence[AdaptiveQuadrature]) -> "PathErrors":
        """Return the errors of these paths."""
        return cls(
            error=np.array([path.error for path in paths], dtype=np.float64),
            norm=np.array([path.norm for path in paths], dtype=np.float64),
            missed_loss=np.array([path.missed for path in paths], dtype=np.float64),
            settled=np.array([path.settled for path in paths], dtype=bool),
        )

    @classmethod
    def join(cls, parts: "Sequence[PathErrors]") -> "PathErrors":
        """Return the errors of all parts' paths, one part after another."""
        return cls(
            error=np.concatenate([part.error for part in parts]),
            norm=np.concatenate([part.norm for part in parts]),
            missed_loss=np.concatenate([part.missed_loss for part in parts]),
            settled=np.concatenate([part.settled for part in parts]),
        )

    @property
    def relative(self) -> Float[np.ndarray, " path"]:
        """Return each path's estimated error relative to its scores; 0, not NaN, if all of them are 0."""
        errors: Float[np.ndarray, " path"] = self.error / np.maximum(self.norm, 1e-30)
        return errors

    def take(self, places: "Sequence[int] | Int[np.ndarray, ' _']") -> "PathErrors":
        """Return the errors of the paths at ``places``, in that order."""
        rows = np.asarray(places, dtype=np.int64)
        return PathErrors(self.error[rows], self.norm[rows], self.missed_loss[rows], self.settled[rows])


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
    path_errors: of each pair; none if the rule is fixed.
    """

    indices: tuple[int, ...]
    signed: Float[np.ndarray, "F B"]
    absolute: Float[np.ndarray, "F B"]
    heads: Float[np.ndarray, "pair layer head"]
    net: Float[np.ndarray, "pair layer head"]
    edges: Float[np.ndarray, "pair F B"] | None
    losses: Float[np.ndarray, "pair 2"]
    nodes: Int[np.ndarray, " pair"]
    path_errors: PathErrors

    @classmethod
    def of(
        cls,
        graph: Graph,
        indices: tuple[int, ...],
        scores: Float[np.ndarray, "pair F B"],
        losses: Float[np.ndarray, "pair 2"],
        nodes: Int[np.ndarray, " pair"],
        path_errors: PathErrors,
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
            path_errors=path_errors,
        )

    def without(self, left_out: set[int], graph: Graph) -> "BatchScores":
        """Return the batch without some pairs; it must have per-pair edges."""
        assert self.edges is not None
        rows = [row for row, index in enumerate(self.indices) if index not in left_out]
        indices = tuple(self.indices[row] for row in rows)
        return BatchScores.of(
            graph,
            indices,
            self.edges[rows],
            self.losses[rows],
            self.nodes[rows],
            self.path_errors.take(rows),
            keep_pairs=True,
        )

    def nodes_by_pair(self) -> list[tuple[int, int]]:
        """Return the index of each pair with its number of nodes."""
        return list(zip(self.indices, self.nodes.tolist(), strict=True))

    def add_nodes(self, earlier_nodes: dict[int, int]) -> "BatchScores":
        """Return the batch with the numbers of nodes of earlier integrations added, by pair."""
        return replace(self, nodes=self.nodes + [earlier_nodes.get(index, 0) for index in self.indices])
