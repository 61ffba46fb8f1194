"""Verdict: does ablating these heads change the answers, and more than ablating other heads would?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from headscope.heads import HeadSet
from headscope.results import shown
from headscope.results.estimate import Estimate
from headscope.storage import check_schema

SCHEMA_VERSION = 1

SUPPORTED = "supported"
NOT_SUPPORTED = "not supported"
UNDECIDED = "undecided"


@dataclass(frozen=True, eq=False)
class AblationVerdict:
    """One head set, one operator, one task.

    reading: ``supported``, ``not supported`` or ``undecided``; reason: one sentence with the numbers it rests
        on.
    baseline, ablated: pass@1 without and with the intervention, intervals over problems.
    effect: ablated − baseline, paired by problem; negative when the intervention lowers pass@1.
    control_effects: the same difference for each matched random set.
    excess: effect − mean control effect, paired by problem.
    p_value: one-sided, (1 + controls at least as strong as the real set) / (1 + controls).
    direction: ``lower`` or ``higher``: the change of pass@1 that was asked about.
    margin: the smallest change of pass@1 called an effect.
    samples: answers per problem.
    """

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
    direction: str
    margin: float
    samples: int
    seed: int

    @property
    def problems(self) -> int:
        """Problems behind the effect."""
        return self.effect.n

    @property
    def controls(self) -> int:
        """Matched random sets."""
        return len(self.control_effects)

    @property
    def control_mean(self) -> float:
        """Mean effect of the random sets; NaN without any."""
        return float(self.control_effects.mean()) if self.controls else float("nan")

    @property
    def control_sd(self) -> float:
        """Standard deviation of the effect between random sets; NaN below two."""
        return float(self.control_effects.std(ddof=1)) if self.controls > 1 else float("nan")

    @property
    def rank(self) -> int:
        """Place of the real set among the real and all random ones, 1 the strongest (ties count against
        it)."""
        return round(self.p_value * (1 + self.controls))

    def __repr__(self) -> str:
        return shown.line(self, f"{self.heads} by {self.operator} on {self.task}", self.reading, self.reason)

    def as_dict(self) -> dict[str, Any]:
        """JSON values with ``schema_version``."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        estimates = {name: asdict(getattr(self, name)) for name in _ESTIMATES}
        sets = {"heads": self.heads.names(), "control_effects": self.control_effects.tolist()}
        return {"schema_version": SCHEMA_VERSION, **plain, **estimates, **sets}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "AblationVerdict":
        """The inverse of ``as_dict``. Raises InputError for another schema."""
        check_schema(data, "a verdict", SCHEMA_VERSION)
        fields: dict[str, Any] = {name: data[name] for name in _PLAIN}
        fields |= {name: Estimate(**data[name]) for name in _ESTIMATES}
        effects = np.array(data["control_effects"], dtype=np.float64)
        return cls(**fields, heads=HeadSet.of(data["heads"]), control_effects=effects)


_ESTIMATES = ("baseline", "ablated", "effect", "excess")
_PLAIN = ("task", "operator", "reading", "reason", "p_value", "direction", "margin", "samples", "seed")
