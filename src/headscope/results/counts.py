"""The parts of a comparison: numbers by status, per layer, of edges, and one estimate per head."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from headscope.results.estimate import Estimate

COUNTED = ("kept", "new", "lost", "contingent")
"""The statuses that are counted, in the order of every status axis."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of heads (or edges) by status, with intervals over pairs; for an excess, differences of such numbers."""

    kept: Estimate
    new: Estimate
    lost: Estimate
    contingent: Estimate

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Counts":
        """From ``dataclasses.asdict``."""
        return cls(**{name: Estimate(**estimate) for name, estimate in data.items()})


@dataclass(frozen=True, eq=False)
class HeadEstimates:
    """One estimate per head.

    value, low, high: [layer, head], same unit; low and high are NaN where nothing was resampled.
    p_value: two-sided, of the hypothesis that the value is 0; None where none was tested.
    """

    value: Float[np.ndarray, "layer head"]
    low: Float[np.ndarray, "layer head"]
    high: Float[np.ndarray, "layer head"]
    p_value: Float[np.ndarray, "layer head"] | None = None

    @property
    def excludes_zero(self) -> "Bool[np.ndarray, 'layer head']":
        """Heads whose interval lies on one side of 0."""
        return (self.low > 0) | (self.high < 0)

    def as_dict(self) -> dict[str, Any]:
        """Nested lists."""
        grids = {"value": self.value.tolist(), "low": self.low.tolist(), "high": self.high.tolist()}
        return grids if self.p_value is None else grids | {"p_value": self.p_value.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "HeadEstimates":
        """The inverse of ``as_dict``."""
        return cls(**{name: np.array(data[name], dtype=np.float64) for name in _ESTIMATED if name in data})


_ESTIMATED = ("value", "low", "high", "p_value")


@dataclass(frozen=True, eq=False)
class LayerProfile:
    """Numbers of heads by status (``COUNTED``) in each layer.

    value, low, high: as observed, with intervals over pairs (NaN where nothing was resampled). null: of base against
    itself. excess, excess_low, excess_high: value − null.
    """

    value: Float[np.ndarray, "status layer"]
    low: Float[np.ndarray, "status layer"]
    high: Float[np.ndarray, "status layer"]
    null: Float[np.ndarray, "status layer"]
    excess: Float[np.ndarray, "status layer"]
    excess_low: Float[np.ndarray, "status layer"]
    excess_high: Float[np.ndarray, "status layer"]

    def as_dict(self) -> dict[str, Any]:
        """Nested lists."""
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LayerProfile":
        """The inverse of ``as_dict``."""
        return cls(**{name: np.array(data[name], dtype=np.float64) for name in cls.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class EdgeChange:
    """Edges kept, born (``counts.new``) and lost, by the method for heads, with the test-retest null beside them.

    born, lost: names, the edges of largest mean |score| first (in post, in base). The status of an edge that is in no
    resample's circuit of either model is absent.
    """

    counts: Counts
    null: Counts
    excess: Counts
    born: tuple[str, ...]
    lost: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "EdgeChange":
        """The inverse of ``as_dict``."""
        counts = {name: Counts.from_dict(data[name]) for name in ("counts", "null", "excess")}
        return cls(**counts, born=tuple(data["born"]), lost=tuple(data["lost"]))
