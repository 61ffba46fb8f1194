"""The crossed design: {base, post} × {base-style clean, reasoning-style clean}, and the effect of the model alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from headscope.heads import HeadSet
from headscope.pairs.problems import SampleSize
from headscope.results import plots
from headscope.results.counts import HeadEstimates
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EFFECTS = {
    "model": "post − base, the mean over both prompts",
    "prompt": "reasoning-style − base-style clean, the mean over both models",
    "interaction": "what training changed more (positive) on reasoning-style than on base-style clean",
}
"""Effects on a head's importance, in the order of every effect axis."""

ORIGINS = {
    "emergent": "new between base on base-style and post on reasoning-style clean: model and prompt change at once",
    "prompt": "of these, core in base too once it is given the reasoning-style prompt",
    "model": "not even contingent in base on that prompt, core in post on either",
    "both": "not even contingent in base on that prompt, and not core in post on the base-style one",
    "undecided": "contingent in base on the reasoning-style prompt",
}
"""What the paper calls emergent, and what it takes to see such a head; the last four part the first."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Heads of one origin. count: their number, with an interval over problems."""

    count: Estimate
    heads: HeadSet


@dataclass(frozen=True, eq=False)
class Crossed(JsonResult):
    """Two models on the same texts, once with base's openings as the clean text, once with post's.

    importance: share of all net score [model, prompt, layer, head]; base before post, base-style first.
    effects: by ``EFFECTS``, on importance. q_value: Benjamini and Hochberg's, over all effects and heads.
    origins: by ``ORIGINS``.
    pairs, problems: their numbers, the same in all four cells. Problems are resampled; None in results of earlier
        versions, which counted every pair as its own problem.
    fraction, resamples, seed: of the circuits and their bootstrap.
    settings: those of the scores of the four cells.
    """

    kind: ClassVar[str] = "crossed"
    file: ClassVar[str] = "crossed.json"
    rows: ClassVar[str] = "layer head"

    importance: Float[np.ndarray, "model prompt layer head"]
    effects: Mapping[str, HeadEstimates]
    q_value: Float[np.ndarray, "effect layer head"]
    origins: Mapping[str, Origin]
    pairs: int
    fraction: float
    resamples: int
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    problems: int | None = None

    @property
    def size(self) -> SampleSize:
        """Sample size of every cell."""
        return SampleSize.of(self.problems, self.pairs)

    def changed_heads(self, effect: str, q: float = 0.05) -> HeadSet:
        """Return the heads with this effect; at most a share ``q`` of them is expected to be false."""
        return HeadSet.from_grid(self.q_value[list(EFFECTS).index(effect)] <= q)

    def plot(self) -> "Figure":
        """Return what training changed in every head's importance."""
        title = "Change of importance by training, mean of both prompts"
        return plots.head_grid(title, self.effects["model"].value, "post − base")
