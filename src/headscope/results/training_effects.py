"""Training effects: the change of every head's exact effect by training, measured by patching."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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

LEAST_SHARE = 0.01
"""Of the loss that the whole corrupt text adds: a smaller change is not called one, however sure it is."""
ALL = "all"
"""Names the mean over all heads among those over head sets."""


@dataclass(frozen=True, eq=False)
class HeadContrast:
    """A difference of exact effects between two models, nats.

    heads: of every head; positive if replacing the head costs the first model more.
    q_value: Benjamini and Hochberg's over all heads.
    sets: the mean over the heads of a set, by its name (``new``, ``kept``, ``lost``, and ``all``); a set without heads
        is left out.
    problems: number of problems of every estimate.
    """

    heads: HeadEstimates
    q_value: Float[np.ndarray, "layer head"]
    sets: Mapping[str, Estimate]
    problems: int

    def changed(self, least: float, q: float = 0.05) -> HeadSet:
        """Return the heads that differ by ``least`` nats or more; a share of at most ``q`` is expected to be false."""
        return HeadSet.from_grid((self.q_value <= q) & (np.abs(self.heads.value) >= least))


@dataclass(frozen=True, eq=False)
class TrainingEffects(JsonResult):
    """Exact effects of every head in base and final checkpoint on the same pairs, and their difference.

    A head's *exact effect* is the mean over pairs of the rise of the loss, nats per evaluated position, if its output
    on the clean text is replaced by that on the corrupt text and everything after it is recomputed
    (``circuits.exact_heads``). With metric ``kl`` the loss is the divergence from the clean run, so an effect is 0 or
    more: how much of the behaviour on these pairs depends on the head. With ``nll`` it has a sign; below 0, the
    corrupt output helps. Effects of several heads do not add up.

    The *training effect* is the effect after training less that before, positive if the model came to rely more on the
    head. It depends on the whole model and not only on the head's weights: the effect of a head with unchanged weights
    changes if training changed its input or its readers. Equal models have training effects of exactly 0.

    The pairs are of other problems than those on which heads were counted: heads chosen on the same pairs would seem
    changed because of noise in these pairs.

    variant, step: of the final checkpoint. recipe: shared by runs that differ only in the seed. null: the signal that
        a null twin lacks, "" for any other.
    metric: of the loss. base, post: exact effects in the two models.
    corruption: mean rise of the loss if the whole text is the corrupt one, in base and post.
    training: post − base.
    above_twin: post − a null twin's checkpoint on the same pairs, by the twin's name; as the base is the same, it is
        the training effect less that of the twin. A twin trained at rate 0 is the base and is left out.
    counted: the head sets of the comparison (``new``, ``kept``, ``lost``).
    pairs, problems: sample size of every number; problems are the independent units.
    ranks: Spearman's correlation over heads of the base's exact effects with its attribution scores, same pairs.
    """

    kind: ClassVar[str] = "training_effects"
    file: ClassVar[str] = "training_effects.json"
    rows: ClassVar[str] = "layer head"

    variant: str
    step: int
    recipe: str
    null: str
    metric: str
    base: HeadEstimates
    post: HeadEstimates
    corruption: tuple[float, float]
    training: HeadContrast
    above_twin: Mapping[str, HeadContrast]
    counted: Mapping[str, HeadSet]
    pairs: int
    problems: int
    ranks: Estimate

    @property
    def size(self) -> SampleSize:
        """Sample size of every number."""
        return SampleSize(self.problems, self.pairs)

    @property
    def least(self) -> float:
        """Return the smallest change that counts as changed, in nats."""
        return LEAST_SHARE * max(self.corruption)

    def plot(self) -> "Figure":
        """Return the training effect of every head."""
        title = f"Training effect, {self.variant} at step {self.step}, {self.size}"
        return plots.head_grid(title, self.training.heads.value, "nats, post − base")


@dataclass(frozen=True, eq=False)
class PooledEffects(JsonResult):
    """Training effects of one recipe, the mean over its seeds: half-widths √(w² + s²) of the error over problems, which
    the seeds share, and that between seeds.

    recipe: its name. variants: its runs. training, above_twin, least: as in ``TrainingEffects``.
    """

    kind: ClassVar[str] = "pooled_effects"
    file: ClassVar[str] = "pooled_effects.json"
    rows: ClassVar[str] = "layer head"

    recipe: str
    variants: tuple[str, ...]
    training: HeadContrast
    above_twin: Mapping[str, HeadContrast]
    least: float

    def plot(self) -> "Figure":
        """Return the pooled training effect of every head."""
        title = f"Training effect, {self.recipe}, mean of {len(self.variants)} runs"
        return plots.head_grid(title, self.training.heads.value, "nats, post − base")
