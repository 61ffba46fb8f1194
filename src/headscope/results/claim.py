"""A claim's verdict: its question, each part's estimate against its bound, and the reading with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult

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
    """All claims judged on one study, C1 first."""

    kind: ClassVar[str] = "claims"
    file: ClassVar[str] = "claims.json"
    shared: ClassVar[bool] = True
    rows: ClassVar[Mapping[str, str]] = {"": "claims"}

    claims: tuple[Claim, ...]
