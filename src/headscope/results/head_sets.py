"""Head sets: the heads an ablation removes, and the random sets it is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from headscope.heads import HeadSet
from headscope.results import plots
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THINK_OFF_ONLY = "think-off-only"
"""The group of heads that a model has with thinking off and lacks with thinking on."""
_NEW_ROLE = "new-"
"""Begins the names of groups of heads that took up a role in training, or took one over (``results.head_roles``)."""


def role_of_group(group: str) -> str | None:
    """Return the role that the heads of a group took up (induction for ``new-induction``); None for other groups."""
    return group.removeprefix(_NEW_ROLE).replace("-", " ") if group.startswith(_NEW_ROLE) else None


@dataclass(frozen=True, eq=False)
class ControlledHeads(JsonResult):
    """A group's heads, the sets they are compared with, and the model's grid (layers, heads).

    controls: random sets with as many heads in every layer; the last ``neighbouring`` of them have heads of the layers
        next to the set's own instead, of similar importance in the base model, because its layers have too few others.
    importance_controls: random sets of similar importance in the base model. Fewer may exist than requested; both are
        empty if the group is.
    caveat: a sentence on the circuit the group was found in if that is not faithful; empty if it is.
    """

    kind: ClassVar[str] = "headsets"
    file: ClassVar[str] = "heads.json"
    schema: ClassVar[int] = 3
    rows: ClassVar[Mapping[str, str]] = {"set": "set_names", "heads": "sets"}

    heads: HeadSet
    controls: tuple[HeadSet, ...]
    importance_controls: tuple[HeadSet, ...]
    shape: tuple[int, int]
    caveat: str = ""
    neighbouring: int = 0

    def remarks(self, controls: int) -> str:
        """Return remarks on a comparison with the first ``controls`` random sets; empty if there are none."""
        near = controls - (len(self.controls) - self.neighbouring)
        origin = (
            f"{near} of the {controls} random sets have heads of neighbouring layers, of like importance, because the "
            "heads' own layers hold too few others"
        )
        return "; ".join(filter(None, [origin if near > 0 else "", self.caveat]))

    def head_set(self, control: int | None) -> HeadSet | None:
        """Return the heads themselves, or a layer-matched control; None if there is no such set."""
        if control is None:
            return self.heads
        return self.controls[control] if control < len(self.controls) else None

    @property
    def sets(self) -> tuple[HeadSet, ...]:
        """Return all sets: the group itself, ``controls``, ``importance_controls``."""
        return (self.heads, *self.controls, *self.importance_controls)

    @property
    def set_names(self) -> tuple[str, ...]:
        """Return the names of all sets, as ``sets``: ``heads``, ``control 0`` …, ``importance control 0`` …"""
        importance = [f"importance {name}" for name in _numbered(self.importance_controls)]
        return ("heads", *_numbered(self.controls), *importance)

    def plot(self) -> "Figure":
        """Return the group's heads as 1 and every other head as minus the share of ``controls`` that have it."""
        grids = [control.grid(*self.shape) for control in self.controls]
        shares = np.mean(grids, axis=0) if grids else np.zeros(self.shape)
        values = np.where(self.heads.grid(*self.shape), 1.0, -shares)
        title = f"{len(self.heads)} heads and {len(self.controls)} random sets"
        return plots.head_grid(title, values, "the heads: 1; others: −share of sets")


def _numbered(sets: tuple[HeadSet, ...]) -> list[str]:
    return [f"control {number}" for number in range(len(sets))]
