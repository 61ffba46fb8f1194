"""A claim's verdict: its question, each part's estimate against its bound, and the reading with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from headscope.results import plots
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOLDS = "holds"
FAILS = "fails"
OPEN = "open"


@dataclass(frozen=True, slots=True)
class Part:
    """One estimate, compared with a bound that was fixed before the run.

    subject: a recipe, a task or an operator. statistic: what was estimated, in words.
    side: ``>`` or ``<``: on which side of ``bound`` the interval must lie. null: the same statistic if
        nothing happened, to be read next to it; None if the bound is the null.
    state: ``holds``, ``fails`` or ``open``; reason: one sentence with the numbers.
    """

    subject: str
    statistic: str
    estimate: Estimate | None
    side: str
    bound: float
    null: Estimate | None
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim about one study.

    name: C1 … C10. reading: ``supported`` (every part holds), ``not supported`` (a part fails) or ``undecided``.
    reason: of the part that decided, or what is missing.
    """

    name: str
    question: str
    reading: str
    reason: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Claims(JsonResult):
    """Claims judged on one study, C1 first."""

    kind: ClassVar[str] = "claims"
    file: ClassVar[str] = "claims.json"
    shared: ClassVar[bool] = True
    rows: ClassVar[Mapping[str, str]] = {"": "claims"}

    claims: tuple[Claim, ...]

    def plot(self) -> "Figure":
        """Return how many parts of every claim hold, fail and are open; their estimates have different units."""
        counts = {}
        for claim in self.claims:
            states = [part.state for part in claim.parts]
            counts[f"{claim.name}: {claim.reading}"] = {state: states.count(state) for state in (HOLDS, FAILS, OPEN)}
        return plots.stacked_bars(f"{len(self.claims)} claims", counts, "parts")
