"""Settings of the comparison: the size of a circuit and the bootstrap over problems."""

from dataclasses import dataclass, replace

from headscope.errors import InputError
from headscope.results.emergence import CONTINGENT, CORE

PAPER_EDGES = 5000
PAPER_TAU = 0.1
"""The paper's circuit (A.5): the 5000 edges of largest |score|, of which those of 0.1 or more are kept."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """The size of circuits, and the bootstrap by which heads are called active.

    fraction: share of the real edges in a circuit, 0 < fraction ≤ 1; at least one edge is kept.
    resamples: number of bootstrap resamples of the problems, each with all its pairs.
    seed: results on the same pairs with the same seed are resampled alike (a paired bootstrap).
    core: a head included in at least this share of the resamples is core.
    contingent: a head included in less than this share is absent.
    edges: number of edges in a circuit, used instead of ``fraction``; a smaller graph gives all its edges.
    tau: only edges with |score| ≥ tau are kept. It has the metric's unit, so the same value means different things at
        different checkpoints (method section 2).

    Raises InputError for a value outside its range.
    """

    fraction: float = 0.01
    resamples: int = 200
    seed: int = 0
    core: float = CORE
    contingent: float = CONTINGENT
    edges: int | None = None
    tau: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise InputError(
                f"fraction is {self.fraction}; a circuit's share of the real edges lies above 0 and up to 1"
            )
        if self.resamples < 1:
            raise InputError(f"resamples is {self.resamples}; at least 1 bootstrap resample is needed")
        if not 0 <= self.contingent <= self.core <= 1:
            raise InputError(
                f"the thresholds are contingent {self.contingent} and core {self.core}; "
                "0 ≤ contingent ≤ core ≤ 1 is needed"
            )
        if self.edges is not None and self.edges < 1:
            raise InputError(f"edges is {self.edges}; a circuit needs at least 1 edge")
        if not self.tau >= 0:
            raise InputError(f"tau is {self.tau}; the least |score| of an edge is 0 or more")

    def circuit_edges(self, total: int) -> int:
        """Return the number of edges of a circuit in a graph of ``total`` real edges, before ``tau``."""
        return max(1, round(self.fraction * total)) if self.edges is None else min(self.edges, total)

    def independent(self) -> "Resampling":
        """Return the same settings with another seed, for other pairs.

        With the same weights the noise of different pairs would cancel.
        """
        return replace(self, seed=self.seed + 1)
