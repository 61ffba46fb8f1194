"""A comparison: one variant's checkpoints against the base."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headscope.results import plots
from headscope.results.counts import Counts
from headscope.results.coupling import Coupling
from headscope.results.dynamics import Dynamics, RewardCount
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.numbers import format_number
from headscope.results.persistence import Persistence
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class CircuitSize:
    """The size of the circuits in which heads are counted, and their faithfulness.

    fraction: of the real edges.
    base, post: faithfulness of the two models' circuits of this size.
    wanted: the faithfulness that both should reach.
    given: whether the study names the size; otherwise it is the smallest measured one at which both are faithful, or
        the largest allowed one if none is.
    """

    fraction: float
    base: Estimate
    post: Estimate
    wanted: float
    given: bool

    @property
    def faithful(self) -> bool:
        """Return whether both circuits reach ``wanted``."""
        return self.base.value >= self.wanted and self.post.value >= self.wanted

    @property
    def caveat(self) -> str:
        """Return a sentence on unfaithful circuits; empty if both are faithful."""
        return self.describe_fault("in the base", "after training")

    def describe_fault(self, base_name: str, post_name: str) -> str:
        """Return the sentence of ``caveat`` with other names of the two models."""
        if self.faithful:
            return ""
        base, post = format_number(self.base.value), format_number(self.post.value)
        reached = f"{base} {base_name}, {post} {post_name}; {self.wanted:g} is wanted"
        if self.given:
            return f"the circuit of {self.fraction:.1%} of the edges is not faithful ({reached})"
        return f"no circuit of up to {self.fraction:.1%} of the edges is faithful ({reached})"


@dataclass(frozen=True, slots=True)
class Integration:
    """Accuracy of the path integral of one model's scores.

    residual: |sum of the input's edge scores − change of the metric| / |change of the metric|.
    nodes: mean number per pair; None for methods without an integral.
    settled: False if the adaptive rule reached its limit first.
    """

    residual: float
    nodes: float | None
    settled: bool = True

    @classmethod
    def of(cls, scores: EdgeScores) -> "Integration":
        """Return the accuracy of ``scores``."""
        settings = scores.settings
        nodes = settings.get("nodes_mean", settings.get("nodes"))
        return cls(
            scores.residual, None if nodes is None else float(nodes), bool(settings.get("adaptive_converged", True))
        )


@dataclass(frozen=True, slots=True)
class SizeCounts:
    """The last checkpoint's counts at one circuit size, a ``fraction`` of the real edges, with null and excess."""

    fraction: float
    counts: Counts
    null: Counts
    excess: Counts


@dataclass(frozen=True, eq=False)
class Comparison(JsonResult):
    """One variant against the base at each checkpoint.

    steps: training steps, ascending; 0 for a finished model.
    emergence: at each step, by bootstrap. paper: the same by the paper's set difference.
    dynamics: births, deaths and returns of heads over the steps.
    change_q: Benjamini and Hochberg's q of each head's change of importance, over all heads and steps.
    persistence: how long emergent heads stay.
    reward: reward and counts at each step; empty if no reward was logged.
    ladder: the last checkpoint at other circuit sizes.
    coupling: whether counts follow the reward; None without rewards.
    circuit: the size of the circuits; None if their faithfulness was not measured.
    integration: of the base's scores and of each checkpoint's; empty in results of earlier versions.
    """

    kind: ClassVar[str] = "comparison"
    file: ClassVar[str] = "comparison.json"
    rows: ClassVar[Mapping[str, str]] = {"step": "steps", "": "emergence"}

    variant: str
    steps: tuple[int, ...]
    emergence: tuple[Emergence, ...]
    paper: tuple[Emergence, ...]
    dynamics: Dynamics
    change_q: Float[np.ndarray, "checkpoint layer head"] | None = None
    persistence: Persistence | None = None
    reward: tuple[RewardCount, ...] = ()
    ladder: tuple[SizeCounts, ...] = ()
    coupling: Coupling | None = None
    circuit: CircuitSize | None = None
    integration: tuple[Integration, ...] = ()

    @property
    def series(self) -> tuple[tuple[int, Emergence], ...]:
        """Return (step, emergence) of every checkpoint."""
        return tuple(zip(self.steps, self.emergence, strict=True))

    @property
    def final(self) -> Emergence:
        """Return the emergence at the last checkpoint."""
        return self.emergence[-1]

    def plot(self) -> "Figure":
        """Return kept, new and lost heads over the checkpoints, next to the null of the new ones."""
        lines = {name: [getattr(at.counts, name) for at in self.emergence] for name in ("kept", "new", "lost")}
        lines["new in the null"] = [at.null.new for at in self.emergence]
        return plots.curve(f"Heads of {self.variant}", self.steps, lines, ("step", "heads"))
