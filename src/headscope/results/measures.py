"""Measures of one model's answers to one task."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from headscope.results import plots
from headscope.results.codec import Json
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class McNemar:
    """Exact McNemar test. gained, lost: problems only the second, only the first variant solved; n: problems in all.

    p_value: two-sided, for the null hypothesis that both directions are equally likely.
    """

    gained: int
    lost: int
    n: int
    p_value: float


@dataclass(frozen=True, eq=False)
class Measures(JsonResult):
    """Accuracy, verdicts and lengths of one model's answers to one task.

    problems, samples: how many, and answers to each.
    pass_at_k, success_at_k, majority_at_k: by k.
    rates: share of all answers with each verdict.
    mean_tokens, median_tokens: of the answers, stop token excluded.
    unreadable_golds: problems whose gold answer the checker cannot read.
    change: of pass@1 against the base, paired by problem; positive if the model answers more. None for the base. Of
        answers in which a marker was masked, against the same model's unmasked ones.
    flips: exact test of each problem's first answer against the same; None for the base.
    detectable: the smallest change that this comparison detects with power 0.8.
    tokens_change: of the mean length by masking a marker, paired by problem; None if none was masked.
    """

    kind: ClassVar[str] = "measures"
    file: ClassVar[str] = "measures.json"
    schema: ClassVar[int] = 2

    problems: int
    samples: int
    pass_at_k: dict[int, Estimate]
    success_at_k: dict[int, Estimate]
    rates: dict[str, float]
    mean_tokens: Estimate
    majority_at_k: dict[int, Estimate] | None = None
    median_tokens: float | None = None
    unreadable_golds: tuple[str, ...] = ()
    change: Estimate | None = None
    flips: McNemar | None = None
    detectable: float | None = None
    tokens_change: Estimate | None = None

    @property
    def size(self) -> str:
        """Return ``500 × 16``: problems by samples."""
        return f"{self.problems} × {self.samples}"

    @property
    def largest_k(self) -> int:
        """Return the largest k of ``pass_at_k``."""
        return max(self.pass_at_k)

    def as_dict(self) -> dict[str, Json]:
        """See ``JsonResult``; without ``tokens_change`` if there is none, as files were before markers were masked."""
        content = super().as_dict()
        if self.tokens_change is None:
            del content["tokens_change"]
        return content

    @classmethod
    def from_dict(cls, data: Json, origin: str = "") -> "Measures":
        """See ``JsonResult``; version 1 called the number of problems ``n_problems``."""
        if "n_problems" in data:
            data = data | {"problems": data["n_problems"]}
        return super().from_dict(data, origin)

    def plot(self) -> "Figure":
        """Return accuracy over k."""
        lines = {"pass@k": self.pass_at_k}
        if self.majority_at_k:
            lines["majority@k"] = self.majority_at_k
        estimates = {name: [by_k[k] for k in self.pass_at_k] for name, by_k in lines.items()}
        title = f"Accuracy, {self.size} answers"
        return plots.curve(title, list(self.pass_at_k), estimates, ("k", "share of problems"), logarithmic=True)
