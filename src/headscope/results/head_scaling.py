"""Head scaling: the change of the loss when a single head's write is removed, weakened or strengthened."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headscope.heads import HeadSet
from headscope.results import plots
from headscope.results.counts import HeadEstimates
from headscope.results.result import JsonResult
from headscope.results.role_losses import LEAST_CHANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class HeadScaling(JsonResult):
    """Change of the teacher-forced loss on the model's own correct answers when what one head writes is scaled.

    task: whose correct answers were forced, one per problem. heads_are: in words, which of the model's heads were
        scaled; the others are NaN in every grid.
    factors: below and above 1, between which the slope is taken.
    whole: loss of the whole model, nats per token, mean over texts.
    ablation: loss without the head − loss with it, nats per token; above 0 the answers need the head.
    slope: of the loss over the factor, at 1, nats per token and unit of the factor; below 0 a stronger head makes the
        answers likelier, above 0 a weaker one would.
    ablation_q, slope_q: Benjamini and Hochberg's over the heads of either; NaN with fewer than 10 texts.
    answers: texts forced. problems: asked.
    """

    kind: ClassVar[str] = "head_scaling"
    file: ClassVar[str] = "head_scaling.json"
    rows: ClassVar[str] = "layer head"

    task: str
    heads_are: str
    factors: tuple[float, float]
    whole: float
    ablation: HeadEstimates
    slope: HeadEstimates
    ablation_q: Float[np.ndarray, "layer head"]
    slope_q: Float[np.ndarray, "layer head"]
    answers: int
    problems: int

    def needed(self, q: float = 0.05, least: float = LEAST_CHANGE) -> HeadSet:
        """Return the heads whose removal changes the loss by ``least`` nats per token or more, either way."""
        return HeadSet.from_grid((self.ablation_q <= q) & (np.abs(self.ablation.value) >= least))

    def steep(self, q: float = 0.05, least: float = LEAST_CHANGE) -> HeadSet:
        """Return the heads whose scaling changes the loss by ``least`` nats per token and unit or more, either way."""
        return HeadSet.from_grid((self.slope_q <= q) & (np.abs(self.slope.value) >= least))

    def plot(self) -> "Figure":
        """Return the change of the loss without each head."""
        title = f"Loss without each head on {self.task}, {self.answers} answers"
        return plots.head_grid(title, self.ablation.value, "nats per token")
