"""Reward coupling: does the number of heads follow the reward?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from headscope.results import plots
from headscope.results.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        """Index of the lag, from 0 on, with the largest correlation."""
        after = np.where((self.lags >= 0) & np.isfinite(self.correlation), self.correlation, -np.inf)
        return int(after.argmax())

    def plot(self) -> "Figure":
        """Return the correlation at every lag."""
        points = zip(self.correlation, self.low, self.high, self.points, strict=True)
        line = [Estimate(float(r), float(low), float(high), int(n), "Spearman") for r, low, high, n in points]
        return plots.curve("Reward coupling", self.lags.tolist(), {"": line}, ("lag, checkpoints", "correlation"))
