"""Overlap of two head sets with its chance level."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from headscope.results.estimate import Estimate
from headscope.storage import check_schema

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Overlap:
    """Jaccard of two head sets, beside that of random sets of the same sizes (in each layer, where ``by_layer``).

    jaccard: shared / in either; NaN for two empty sets. chance: its mean over random sets. chance_low, chance_high:
    95 % of them. p_value: share of random sets that overlap at least as much.
    shared, first, second: numbers of heads in both, in the first and in the second set.
    """

    jaccard: float
    chance: float
    chance_low: float
    chance_high: float
    p_value: float
    shared: int
    first: int
    second: int
    by_layer: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Likeness:
    """Core heads of two variants' final circuits, and all their heads' ranks.

    equal: what the two circuits have alike, ``fraction`` of real edges or ``faithfulness``. fractions: of real edges,
    of the first and of the second. ranks: Spearman's correlation of importances over all heads.
    """

    first: str
    second: str
    equal: str
    fractions: tuple[float, float]
    overlap: Overlap
    ranks: Estimate


@dataclass(frozen=True, eq=False)
class EffectMap:
    """The effects E of every variant, and how alike their final circuits are.

    effects: by variant, E = (I_post − I_base) / (I_post + I_base) at each checkpoint, in [−1, 1]; positive where the
    variant relies on the head more. faithfulness: of the circuits of equal faithfulness.
    """

    effects: dict[str, Float[np.ndarray, "checkpoint layer head"]]
    likeness: tuple[Likeness, ...]
    faithfulness: float

    def as_dict(self) -> dict[str, Any]:
        """JSON values with ``schema_version``; beside the effects their mean over checkpoints."""
        grids = {
            name: {"checkpoints": each.tolist(), "mean": each.mean(axis=0).tolist()}
            for name, each in self.effects.items()
        }
        alike = [asdict(each) for each in self.likeness]
        about = {"schema_version": SCHEMA_VERSION, "faithfulness": self.faithfulness}
        return about | {"effects": grids, "likeness": alike}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "EffectMap":
        """The inverse of ``as_dict``. Raises InputError for another schema."""
        check_schema(data, "an effect map", SCHEMA_VERSION)
        grids = {name: np.array(each["checkpoints"], dtype=np.float64) for name, each in data["effects"].items()}
        return cls(grids, tuple(map(_likeness, data["likeness"])), data["faithfulness"])


def _likeness(data: Mapping[str, Any]) -> Likeness:
    first, second = data["fractions"]
    nested = {"overlap": Overlap(**data["overlap"]), "ranks": Estimate(**data["ranks"])}
    return Likeness(**{**data, **nested, "fractions": (first, second)})
