"""Reward coupling: does the number of heads follow the reward?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from headscope.results import plots
from headscope.results.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM_LAG = 0
"""Checkpoints between reward and heads at which claim C3 is judged, fixed in advance: a logged reward is a mean over
the steps before its checkpoint, and comes first already."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """Rank correlation of two differenced series, lag by lag, over all seeds.

    lags: in checkpoints; positive if the heads come after the reward.
    correlation: Spearman's, pooled over seeds; low, high: 95 % (Bonett and Wright 2000); NaN below 4 points.
    p_value: one-sided (positive), against rewards with randomised phases. after_p: of the largest correlation over the
        lags from 0 on, against the same largest one of randomised rewards.
    points: pairs of differences behind each correlation. seeds: training runs.
    """

    lags: Int[np.ndarray, "lag"]
    correlation: Float[np.ndarray, "lag"]
    low: Float[np.ndarray, "lag"]
    high: Float[np.ndarray, "lag"]
    p_value: Float[np.ndarray, "lag"]
    points: Int[np.ndarray, "lag"]
    after_p: float
    seeds: int
    draws: int
    seed: int

    @property
    def best(self) -> int:
        """Return the index of the lag, from 0 on, with the largest correlation."""
        after = np.where((self.lags >= 0) & np.isfinite(self.correlation), self.correlation, -np.inf)
        return int(after.argmax())

    def at(self, lag: int) -> tuple[Estimate, float]:
        """Return the correlation at one lag with its interval and number of points, and its p-value.

        Raises ValueError if there is none at this lag.
        """
        index = self.lags.tolist().index(lag)
        low, high = float(self.low[index]), float(self.high[index])
        points = int(self.points[index])
        estimate = Estimate(float(self.correlation[index]), low, high, points, "Bonett-Wright 95%")
        return estimate, float(self.p_value[index])

    def plot(self) -> "Figure":
        """Return the correlation at every lag."""
        line = [self.at(lag)[0] for lag in self.lags.tolist()]
        return plots.curve("Reward coupling", self.lags.tolist(), {"": line}, ("lag, checkpoints", "correlation"))
