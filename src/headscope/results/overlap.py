"""Overlap of two head sets with its chance level."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headscope.results import plots
from headscope.results.codec import Json
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Overlap:
    """Jaccard of two head sets, next to that of random sets of the same sizes (in each layer, if ``by_layer``).

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


@dataclass(frozen=True, slots=True)
class CircuitOverlap:
    """Overlap of the core heads of two variants' final circuits, and rank correlation of all their heads.

    equal: the measure in which the two circuits are equal, ``fraction`` of real edges or ``faithfulness``.
    fractions: of real edges, of the first and of the second.
    ranks: Spearman's correlation of importances over all heads.
    """

    first: str
    second: str
    equal: str
    fractions: tuple[float, float]
    overlap: Overlap
    ranks: Estimate


@dataclass(frozen=True, eq=False)
class RelativeChanges(JsonResult):
    """Change of each head's importance in every variant, and overlap of their final circuits.

    On disk its kind and field are called effects, the paper's name for the relative change; effects of patching are in
    ``results.training_effects``.

    effects: by variant, the relative change of importance E = (I_post − I_base) / (I_post + I_base) at each checkpoint,
    in [−1, 1]; positive if the variant relies on the head more. faithfulness: of the circuits of equal faithfulness.
    """

    kind: ClassVar[str] = "effects"
    file: ClassVar[str] = "effects.json"
    schema: ClassVar[int] = 2
    rows: ClassVar[Mapping[str, str]] = {"": "likeness"}

    effects: dict[str, Float[np.ndarray, "checkpoint layer head"]]
    likeness: tuple[CircuitOverlap, ...]
    faithfulness: float

    @classmethod
    def from_dict(cls, data: Json, origin: str = "") -> "RelativeChanges":
        """See ``JsonResult``; version 1 also kept each variant's mean over checkpoints."""
        if data.get("schema_version") == 1:
            data = data | {"effects": {name: grids["checkpoints"] for name, grids in data["effects"].items()}}
        return super().from_dict(data, origin)

    def plot(self, variant: str | None = None) -> "Figure":
        """Return the relative change of every head of a variant, by default the first, at its last checkpoint."""
        name = next(iter(self.effects)) if variant is None else variant
        grid = self.effects[name][-1]
        return plots.head_grid(f"Relative change of importance, {name}", grid, "(post − base) / (post + base)")
