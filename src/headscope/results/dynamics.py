"""Dynamics of active heads over the checkpoints of one training run."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.heads import HeadSet


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one emergent head, after hysteresis.

    kind: ``birth`` (first time active), ``death`` or ``return`` (active again after a death).
    step: of the first of the consecutive checkpoints that establish it.
    """

    step: int
    head: str
    kind: str


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Active heads over checkpoints.

    steps: training steps of the checkpoints, increasing.
    emergent: true [checkpoint, layer, head] where the head is new there (core there, not even contingent in
        base).
    retained: true [checkpoint, layer, head] where a core head of base is core there too.
    base: core heads of base.
    first: index of the first checkpoint at which a head is emergent; −1 if it never is.
    hold: number of checkpoints in a row that establish an event.
    events: births, deaths and returns of emergent heads, by step and head.
    """

    steps: Int[np.ndarray, "checkpoint"]
    emergent: Bool[np.ndarray, "checkpoint layer head"]
    retained: Bool[np.ndarray, "checkpoint layer head"]
    base: Bool[np.ndarray, "layer head"]
    first: Int[np.ndarray, "layer head"]
    hold: int
    events: tuple[Event, ...]

    @property
    def cohorts(self) -> "Int[np.ndarray, 'cohort checkpoint']":
        """Return the heads emergent at each checkpoint, counted by the checkpoint at which they were first emergent."""
        cohort = np.arange(len(self.steps))[:, None, None] == self.first
        counts: np.ndarray = np.einsum("slh,clh->sc", cohort.astype(np.int64), self.emergent.astype(np.int64))
        return counts

    @property
    def kept_counts(self) -> "Int[np.ndarray, 'checkpoint']":
        """Return the number of the base's core heads that are core at each checkpoint."""
        counts: np.ndarray = self.retained.sum(axis=(1, 2))
        return counts

    @property
    def base_frequency(self) -> "Float[np.ndarray, 'layer head']":
        """Return the share of checkpoints at which each core head of base is core; 0 elsewhere."""
        frequency: np.ndarray = self.retained.mean(axis=0)
        return frequency

    @property
    def emergent_frequency(self) -> "Float[np.ndarray, 'layer head']":
        """Return the share of checkpoints at which each head is emergent."""
        frequency: np.ndarray = self.emergent.mean(axis=0)
        return frequency

    @property
    def final(self) -> HeadSet:
        """Return the emergent heads of the last checkpoint."""
        return HeadSet.from_grid(self.emergent[-1])


@dataclass(frozen=True, slots=True)
class RewardCount:
    """Reward and head counts at one checkpoint, side by side; this is no test of a relation.

    reward, reward_sd: mean and standard deviation of the rewards logged since the previous checkpoint; NaN without any.
    logged: number of these rewards.
    """

    step: int
    reward: float
    reward_sd: float
    logged: int
    kept: int
    new: int
    lost: int
