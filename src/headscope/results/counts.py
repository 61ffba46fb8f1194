"""The parts of a comparison: numbers by status, per layer, of edges, and one estimate per head."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from headscope import display
from headscope.heads import top_heads
from headscope.results.estimate import Estimate

COUNTED = ("kept", "new", "lost", "contingent")
"""The statuses that are counted, in the order of every status axis."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of heads (or edges) by status, with intervals over problems; in an excess, differences of numbers."""

    kept: Estimate
    new: Estimate
    lost: Estimate
    contingent: Estimate


@dataclass(frozen=True, eq=False)
class HeadEstimates:
    """One estimate per head.

    value, low, high: [layer, head], same unit; low and high are NaN if nothing was resampled.
    p_value: two-sided, for the null hypothesis that the value is 0; None if it was not tested.
    """

    value: Float[np.ndarray, "layer head"]
    low: Float[np.ndarray, "layer head"]
    high: Float[np.ndarray, "layer head"]
    p_value: Float[np.ndarray, "layer head"] | None = None

    def __repr__(self) -> str:
        layers, heads = self.value.shape
        largest = [f"{head} {self.value[head]:.3g}" for head in top_heads(self.value, 3)]
        surely = f"{int(self.excludes_zero.sum())} with intervals on one side of 0"
        return display.line(self, f"{layers} × {heads} heads", f"largest {', '.join(largest)}", surely)

    @property
    def excludes_zero(self) -> "Bool[np.ndarray, 'layer head']":
        """Return for each head whether its interval lies on one side of 0."""
        return (self.low > 0) | (self.high < 0)


@dataclass(frozen=True, eq=False)
class LayerProfile:
    """Numbers of heads by status (``COUNTED``) in each layer.

    value, low, high: as observed, with intervals over problems (NaN if nothing was resampled). null: of base against
    itself. excess, excess_low, excess_high: value − null.
    """

    value: Float[np.ndarray, "status layer"]
    low: Float[np.ndarray, "status layer"]
    high: Float[np.ndarray, "status layer"]
    null: Float[np.ndarray, "status layer"]
    excess: Float[np.ndarray, "status layer"]
    excess_low: Float[np.ndarray, "status layer"]
    excess_high: Float[np.ndarray, "status layer"]


@dataclass(frozen=True, eq=False)
class EdgeChange:
    """Edges kept, born (``counts.new``) and lost, by the same method as heads, with their test-retest null.

    born, lost: names, the edges of largest mean |score| first (in post, in base). The status of an edge that is in no
    resample's circuit of either model is absent.
    """

    counts: Counts
    null: Counts
    excess: Counts
    born: tuple[str, ...]
    lost: tuple[str, ...]
