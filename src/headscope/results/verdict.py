"""Verdict: whether ablating heads changes the answers, and more than ablating random heads."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headscope import display
from headscope.heads import HeadSet
from headscope.results import plots
from headscope.results.codec import Json
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUPPORTED = "supported"
NOT_SUPPORTED = "not supported"
UNDECIDED = "undecided"


@dataclass(frozen=True, eq=False)
class AblationVerdict(JsonResult):
    """One head set, one operator, one task.

    reading: ``supported``, ``not supported`` or ``undecided``; reason: one sentence with the numbers.
    baseline, ablated: pass@1 without and with the intervention, intervals over problems.
    effect: ablated − baseline, paired by problem; negative when the intervention lowers pass@1.
    control_effects: the same difference for each matched random set.
    excess: effect − mean control effect, paired by problem.
    p_value: one-sided, (1 + controls at least as strong as the real set) / (1 + controls).
    rank: place of the real set among the real and all random ones, 1 the strongest; ties count against it.
    direction: the change of pass@1 that was tested for: ``lower``; files of older versions may hold ``higher``.
    margin: the smallest change of pass@1 called an effect.
    samples: answers per problem.
    ablated_at_k: pass@k with the intervention, for k = 1, 2, 4 … up to the answers per problem; None in runs of
        older versions.
    """

    kind: ClassVar[str] = "verdict"
    file: ClassVar[str] = "verdict.json"
    schema: ClassVar[int] = 2
    derived: ClassVar[tuple[str, ...]] = ("problems", "controls", "control_mean", "control_sd")

    task: str
    operator: str
    heads: HeadSet
    reading: str
    reason: str
    baseline: Estimate
    ablated: Estimate
    effect: Estimate
    control_effects: Float[np.ndarray, "control"]
    excess: Estimate
    p_value: float
    rank: int
    direction: str
    margin: float
    samples: int
    seed: int
    ablated_at_k: dict[int, Estimate] | None = None

    @property
    def problems(self) -> int:
        """Return the number of problems of the effect."""
        return self.effect.n

    @property
    def controls(self) -> int:
        """Return the number of matched random sets."""
        return len(self.control_effects)

    @property
    def control_mean(self) -> float:
        """Return the mean effect of the random sets; NaN without any."""
        return float(self.control_effects.mean()) if self.controls else float("nan")

    @property
    def control_sd(self) -> float:
        """Return the standard deviation of the effect between random sets; NaN below two."""
        return float(self.control_effects.std(ddof=1)) if self.controls > 1 else float("nan")

    def __repr__(self) -> str:
        return display.line(self, f"{self.heads} by {self.operator} on {self.task}", self.reading, self.reason)

    @classmethod
    def from_dict(cls, data: Json, origin: str = "") -> "AblationVerdict":
        """See ``JsonResult``; version 1 had no rank, which is computed from its p-value, rank / (1 + random sets)."""
        if data.get("schema_version") == 1:
            data = data | {"rank": round(data["p_value"] * (1 + len(data["control_effects"])))}
        return super().from_dict(data, origin)

    def plot(self) -> "Figure":
        """Return the effect next to those of random sets."""
        title = f"{self.heads} by {self.operator} on {self.task}: {self.reading}"
        return plots.against_controls(title, self.effect, self.control_effects, "change of pass@1")
