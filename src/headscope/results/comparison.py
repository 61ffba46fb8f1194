"""A comparison: one variant's checkpoints against the base, and what they add up to."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from headscope.results.counts import Counts
from headscope.results.coupling import Coupling
from headscope.results.dynamics import Dynamics, RewardCount
from headscope.results.emergence import Emergence
from headscope.results.persistence import Persistence
from headscope.results.result import JsonResult


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
    """

    kind: ClassVar[str] = "comparison"
    file: ClassVar[str] = "comparison.json"

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

    @property
    def series(self) -> tuple[tuple[int, Emergence], ...]:
        """(step, emergence) of every checkpoint."""
        return tuple(zip(self.steps, self.emergence, strict=True))

    @property
    def final(self) -> Emergence:
        """The last checkpoint's emergence."""
        return self.emergence[-1]
