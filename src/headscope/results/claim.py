"""A claim's verdict: what was asked, each part's estimate against its bound, and the reading with its reason."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headscope.results.estimate import Estimate
from headscope.storage import check_schema

SCHEMA_VERSION = 1

HOLDS = "holds"
FAILS = "fails"
OPEN = "open"


@dataclass(frozen=True, slots=True)
class Part:
    """One estimate against a bound that was fixed before the run.

    subject: the recipe, task or operator it is about. statistic: what was estimated, in words.
    side: ``>`` or ``<``: on which side of ``bound`` the interval must lie. null: the same statistic where nothing
        happened, for reading beside it; None where the bound is the null.
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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Part":
        """From ``dataclasses.asdict``."""
        estimates = {name: data[name] and Estimate(**data[name]) for name in ("estimate", "null")}
        return cls(**{**data, **estimates})


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

    def as_dict(self) -> dict[str, Any]:
        """JSON values with ``schema_version``."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Claim":
        """The inverse of ``as_dict``. Raises InputError for another schema."""
        check_schema(data, "a claim", SCHEMA_VERSION)
        plain = {name: data[name] for name in ("name", "question", "reading", "reason")}
        return cls(**plain, parts=tuple(Part.from_dict(part) for part in data["parts"]))
