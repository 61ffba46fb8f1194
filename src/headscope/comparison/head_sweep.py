"""A sweep over single heads: which of a model's heads are edited, one at a time, on one task's texts."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from headscope.heads import HeadSet


@dataclass(frozen=True)
class HeadSweep:
    """Heads of one model that are edited one at a time, all on the same texts.

    heads: in the order of the edits.
    heads_are: which of the model's heads these are, in words.
    shape: (layers, heads) of the model.
    task: name of the task that the texts answer.
    problems: number of its problems, answered correctly or not.
    """

    heads: HeadSet
    heads_are: str
    shape: tuple[int, int]
    task: str
    problems: int

    def edits(self, *factors: float) -> Float[np.ndarray, "edit layer head"]:
        """Return factors of the heads' writes: first all 1, then for each of ``factors`` every head in turn at it."""
        edits = np.ones((1 + len(factors) * len(self.heads), *self.shape), dtype=np.float32)
        edit = 1
        for factor in factors:
            for head in self.heads:
                edits[edit, head.layer, head.head] = factor
                edit += 1
        return edits
