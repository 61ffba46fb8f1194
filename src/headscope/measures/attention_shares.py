"""The share of attention that goes to chosen tokens, beside what it would be if the tokens did not matter.

A head reads chosen tokens for one of three reasons: because of what they are, because of where they are, or because it
reads much of everything. Two controls take the last two away (method section 8):

- *moved*: the same rows, their targets moved to the distances of other rows' targets;
- *elsewhere*: the same distances, in rows that do not ask for a token there. Of a purely positional head it is the
  same as the share itself.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

Cells = Bool[np.ndarray, "query key"]
Weights = Float[np.ndarray, "query key"]


@dataclass(frozen=True, eq=False)
class Targets:
    """Which tokens a text's rows are asked about.

    cells: whether a token is a target of a row; no target comes after its row's own token.
    first: the first row of the text that is compared; earlier rows are of the prompt alone.
    moved_to: distances to which targets are moved, with their counts; None for those of the other targets.
    """

    cells: Cells
    first: int = 0
    moved_to: tuple[tuple[int, int], ...] | None = None

    @property
    def rows(self) -> int:
        """Return the number of rows with a target."""
        return int(self.cells.any(axis=1).sum())

    def share_weights(self) -> Weights:
        """Return the weights whose sum over attention is the mean share of a row with a target."""
        return self.cells / max(1, self.rows)

    def moved_weights(self) -> Weights | None:
        """Return the weights whose sum over attention is the share less that of moved targets.

        Rows in which no target can be moved are left out; None if that is all.
        """
        tokens = len(self.cells)
        counts = np.zeros(tokens)
        if self.moved_to is None:
            distances, numbers = self._distances()
            counts[distances] = numbers
        else:
            for distance, number in self.moved_to:
                counts[distance : distance + 1] = number
        row, key = _grid(len(self.cells))
        can_move = (key <= row) & ~self.cells & self.cells.any(axis=1, keepdims=True)
        weights = np.where(can_move, counts[np.abs(row - key)], 0.0)
        totals = weights.sum(axis=1, keepdims=True)
        kept = totals > 0
        if not kept.any():
            return None
        moved = np.divide(weights, totals, out=np.zeros_like(weights), where=kept) * self.cells.sum(1, keepdims=True)
        return np.asarray((self.cells * kept - moved) / kept.sum())

    def elsewhere_weights(self) -> Weights | None:
        """Return the weights whose sum over attention is the share less that at the same distances in other rows.

        Targets at distances that no other row has are left out; None if these are all.
        """
        row, key = _grid(len(self.cells))
        distance = row - key
        others = (distance >= 0) & (row >= self.first) & ~self.cells
        available = np.bincount(distance[others], minlength=len(self.cells))
        compared = self.cells & (available[np.abs(distance)] > 0)
        rows = int(compared.any(axis=1).sum())
        if not rows:
            return None
        asked = np.bincount(distance[compared], minlength=len(self.cells))
        weights = np.divide(asked, available, out=np.zeros(len(self.cells)), where=available > 0)
        return np.asarray((compared - np.where(others, weights[np.abs(distance)], 0.0)) / rows)

    def _distances(self) -> "tuple[Int[np.ndarray, ' distance'], Int[np.ndarray, ' distance']]":
        row, key = np.nonzero(self.cells)
        distances, numbers = np.unique(row - key, return_counts=True)
        return distances, numbers


def _grid(tokens: int) -> "tuple[Int[np.ndarray, 'query 1'], Int[np.ndarray, '1 key']]":
    """Return the numbers of rows and keys, to be broadcast."""
    places = np.arange(tokens)
    return places[:, None], places[None]


def attention_share(
    rows: "Float[np.ndarray, 'head query key']", weights: Weights | None
) -> "Float[np.ndarray, ' head']":
    """Return the weighted sum of every head's attention; NaN without weights."""
    if weights is None:
        return np.full(len(rows), np.nan)
    return np.asarray(np.einsum("hqk,qk->h", rows, weights, dtype=np.float64))


def most_attended(rows: "Float[np.ndarray, 'head query key']") -> "Float[np.ndarray, 'head query key']":
    """Return rows that hold 1 at the token that each one reads most, 0 elsewhere."""
    top = np.zeros(rows.shape, dtype=np.float32)
    np.put_along_axis(top, rows.argmax(axis=-1)[..., None], 1.0, axis=-1)
    return top
