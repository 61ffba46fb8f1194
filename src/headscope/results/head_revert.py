"""Head revert: the change of the loss when a single head gets the base's weights back."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headscope.heads import HeadSet
from headscope.operator_names import SharedKv
from headscope.results import plots
from headscope.results.counts import HeadEstimates
from headscope.results.result import JsonResult
from headscope.results.role_losses import LEAST_CHANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class HeadRevert(JsonResult):
    """Change of the teacher-forced loss on the model's own correct answers when one head has the base's weights.

    task: whose correct answers were forced, one per problem. heads_are: in words, which of the model's heads were
        reverted; the others are NaN in every grid.
    revert_kv: ``all``: keys and values shared by a group of several heads stay as trained; ``any``: they are reverted
        too, which changes the group's other heads.
    whole: loss of the whole model, nats per token, mean over texts.
    change: loss with the head reverted − loss of the whole model, nats per token; above 0, the model's own
        answers are less likely without the head's training, as after most changes of its weights.
    change_q: Benjamini and Hochberg's over the heads; NaN with fewer than 10 texts.
    answers: texts forced. problems: asked.
    """

    kind: ClassVar[str] = "head_revert"
    file: ClassVar[str] = "head_revert.json"
    rows: ClassVar[str] = "layer head"

    task: str
    heads_are: str
    revert_kv: SharedKv
    whole: float
    change: HeadEstimates
    change_q: Float[np.ndarray, "layer head"]
    answers: int
    problems: int

    def changed(self, q: float = 0.05, least: float = LEAST_CHANGE) -> HeadSet:
        """Return the heads whose reverting changes the loss by ``least`` nats per token or more, either way."""
        return HeadSet.from_grid((self.change_q <= q) & (np.abs(self.change.value) >= least))

    def plot(self) -> "Figure":
        """Return the change of the loss with each head reverted."""
        title = f"Loss with each head reverted on {self.task}, {self.answers} answers"
        return plots.head_grid(title, self.change.value, "nats per token")
