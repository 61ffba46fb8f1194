"""Persistence: how long heads that emerged stay."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headscope.results.estimate import Estimate
from headscope.storage import check_schema

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Persistence:
    """Of the emergent heads of one run, after hysteresis; intervals over heads.

    persistence: chance that a head emergent at a checkpoint is so at the next.
    turnover: heads that change between two checkpoints / heads emergent at either.
    remaining: share of the heads ever established that are there at the last checkpoint.
    half_life: training steps after which half the spells have ended (Kaplan–Meier, spells that last to the end are
        censored); infinite where more than half outlast the run.
    heads: ever established. checkpoints: of the run.
    """

    persistence: Estimate
    turnover: Estimate
    remaining: Estimate
    half_life: Estimate
    heads: int
    checkpoints: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values with ``schema_version``."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Persistence":
        """The inverse of ``as_dict``. Raises InputError for another schema."""
        check_schema(data, "a persistence result", SCHEMA_VERSION)
        names = ("persistence", "turnover", "remaining", "half_life")
        return cls(
            **{name: Estimate(**data[name]) for name in names}, heads=data["heads"], checkpoints=data["checkpoints"]
        )
