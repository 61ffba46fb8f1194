"""The share of attention that goes to chosen tokens, and what it would be if the tokens were not asked for.

A row reads its targets for one of four reasons: because they are asked for, because of where they are, because of what
they are, or because it reads much of everything. Three controls take the last three away (method section 8):

- *moved*: the same rows, their targets at the distances of other rows' targets;
- *elsewhere*: the same distances, in rows without a target there. A positional head gives these as much;
- *unasked*: the same targets from the rows next to these, which do not ask for them. A head that reads a kind of token
  all the time gives them as much.

Moved and elsewhere are means over all possible places, and no draw.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

Cells = Bool[np.ndarray, "query key"]
Weights = Float[np.ndarray, "query key"]


CONTROLS = ("moved", "elsewhere", "unasked")
"""In the order of ``Targets.weights``."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Tokens that a text's rows are asked about.

    cells: whether a token is a target of a row; no target comes after its row's own token.
    first, stop: the rows that write the answer, from the first one to the one before ``stop``; others are not compared.
    unasked: tokens that rows without a target read if they play the role all the time; None for the targets of the rows
        next to them.
    """

    cells: Cells
    first: int
    stop: int
    unasked: Cells | None = None

    @property
    def rows(self) -> int:
        """Return the number of rows with a target."""
        return int(self.cells.any(axis=1).sum())

    def weights(self) -> "Float[np.ndarray, 'matrix query key']":
        """Return seven matrices; the sum of attention weighted by each of them is

        1. the share of a row with a target that goes to its targets, mean over these rows;
        2. the same of the targets that can be compared with *moved* ones, and 3. what the moved ones get;
        4. and 5. likewise for *elsewhere*; 6. and 7. for *unasked*.

        Both matrices of a control that the text does not have are NaN.
        """
        share = self.cells / max(1, self.rows)
        return np.stack([share, *self._moved(), *self._elsewhere(), *self._unasked()]).astype(np.float32)

    def _moved(self) -> tuple[Weights, Weights]:
        row, key = _grid(len(self.cells))
        distance = np.abs(row - key)
        counts = np.bincount(distance[self.cells], minlength=len(self.cells))
        can_move = (key < row) & ~self.cells & self.cells.any(axis=1, keepdims=True)
        weights = np.where(can_move, counts[distance], 0.0)
        totals = weights.sum(axis=1, keepdims=True)
        has_others = totals > 0
        moved = np.divide(weights, totals, out=np.zeros_like(weights), where=has_others)
        moved *= self.cells.sum(axis=1, keepdims=True)
        return _means(self.cells & has_others, moved, int(has_others.sum()))

    def _elsewhere(self) -> tuple[Weights, Weights]:
        row, key = _grid(len(self.cells))
        distance = np.abs(row - key)
        others = (key <= row) & self._writes() & ~self.cells
        available = np.bincount(distance[others], minlength=len(self.cells))
        compared = self.cells & (available[distance] > 0)
        asked = np.bincount(distance[compared], minlength=len(self.cells))
        weights = np.divide(asked, available, out=np.zeros(len(self.cells)), where=available > 0)
        return _means(compared, np.where(others, weights[distance], 0.0), int(compared.any(axis=1).sum()))

    def _unasked(self) -> tuple[Weights, Weights]:
        unasked = (self._next_rows() if self.unasked is None else self.unasked & ~self.cells) & self._writes()
        rows = self.rows if unasked.any() else 0
        if self.unasked is not None:  # rows of their own, each with as many tokens as it has
            return _means(self.cells, unasked * (self.rows / max(1, int(unasked.any(axis=1).sum()))), rows)
        # A row may be next to two that ask: it is taken to have as many tokens as a row that asks, on average.
        return _means(self.cells, unasked * (self.cells.sum() / max(1, int(unasked.sum()))), rows)

    def _writes(self) -> "Bool[np.ndarray, 'query 1']":
        row, _ = _grid(len(self.cells))
        return np.asarray((row >= self.first) & (row < self.stop))

    def _next_rows(self) -> Cells:
        """Return the targets of the row before and of the row after as if they were each row's own."""
        beside = np.zeros_like(self.cells)
        beside[:-1] |= self.cells[1:]
        beside[1:] |= self.cells[:-1]
        return np.asarray(np.tril(beside, -1) & ~self.cells)


def _means(compared: Cells, control: Weights, rows: int) -> tuple[Weights, Weights]:
    """Return both as means over rows; NaN without a row."""
    if not rows:
        return np.full(compared.shape, np.nan), np.full(compared.shape, np.nan)
    return compared / rows, control / rows


def _grid(tokens: int) -> "tuple[Int[np.ndarray, 'query 1'], Int[np.ndarray, '1 key']]":
    """Return the numbers of rows and keys, to be broadcast."""
    places = np.arange(tokens)
    return places[:, None], places[None]


def attention_sums(
    rows: "Float[np.ndarray, 'head query key']", weights: "Float[np.ndarray, 'matrix query key']"
) -> "Float[np.ndarray, 'matrix head']":
    """Return the sum of every head's attention weighted by each matrix; NaN for a matrix of NaN."""
    sums = rows.reshape(len(rows), -1) @ weights.reshape(len(weights), -1).T
    return np.asarray(sums.T, dtype=np.float64)


def most_attended_sums(
    rows: "Float[np.ndarray, 'head query key']", weights: "Float[np.ndarray, 'matrix query key']"
) -> "Float[np.ndarray, 'matrix head']":
    """Return the same if each row gave all of its attention to the token that it reads most."""
    most = rows.argmax(axis=-1)
    return np.asarray(weights[:, np.arange(rows.shape[1]), most].sum(axis=-1), dtype=np.float64)
