"""Head sets: the heads an ablation removes, and the random sets it is compared with."""

from dataclasses import dataclass
from typing import ClassVar

from headscope.heads import HeadSet
from headscope.results.result import JsonResult


@dataclass(frozen=True, eq=False)
class ControlledHeads(JsonResult):
    """A group's heads, the sets they are compared with, and the model's grid (layers, heads).

    controls: random sets with as many heads in every layer. importance_controls: random sets of like importance in the
        base model. Fewer may exist than were asked for; both are empty if the group is.
    caveat: a sentence on the circuit the group was found in if that is not faithful; empty if it is.
    """

    kind: ClassVar[str] = "headsets"
    file: ClassVar[str] = "heads.json"
    schema: ClassVar[int] = 2

    heads: HeadSet
    controls: tuple[HeadSet, ...]
    importance_controls: tuple[HeadSet, ...]
    shape: tuple[int, int]
    caveat: str = ""

    def head_set(self, control: int | None) -> HeadSet | None:
        """Return the heads themselves, or a layer-matched control; None if there is no such set."""
        if control is None:
            return self.heads
        return self.controls[control] if control < len(self.controls) else None
