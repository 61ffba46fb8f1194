"""Overlap of two head sets with its chance level."""

from dataclasses import asdict, dataclass
from typing import Any


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
