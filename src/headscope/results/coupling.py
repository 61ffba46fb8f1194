"""Reward coupling: does the number of heads follow the reward?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from headscope.storage import check_schema

SCHEMA_VERSION = 1
_ARRAYS = ("lags", "correlation", "low", "high", "p_value", "points")


@dataclass(frozen=True, eq=False)
class Coupling:
    """Rank correlation of two differenced series, lag by lag, over all seeds.

    lags: in checkpoints; positive where the heads come after the reward.
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

    def as_dict(self) -> dict[str, Any]:
        """JSON values with ``schema_version``."""
        plain = {name: getattr(self, name) for name in ("after_p", "seeds", "draws", "seed")}
        return {"schema_version": SCHEMA_VERSION, **{name: getattr(self, name).tolist() for name in _ARRAYS}, **plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Coupling":
        """The inverse of ``as_dict``. Raises InputError for another schema."""
        check_schema(data, "a coupling result", SCHEMA_VERSION)
        fields: dict[str, Any] = {name: data[name] for name in ("after_p", "seeds", "draws", "seed")}
        fields |= {name: np.array(data[name], dtype=np.float64) for name in _ARRAYS}
        fields |= {name: np.array(data[name], dtype=np.int64) for name in ("lags", "points")}
        return cls(**fields)
