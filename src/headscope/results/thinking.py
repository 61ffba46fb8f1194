"""Think on and off: the two circuits of one hybrid model."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from headscope.results.comparison import CircuitSize
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Thinking(JsonResult):
    """Think-on against think-off of one model, each on pairs of its own prompt and openings.

    change: think-off is its base, so its new heads are those only think-on has, its lost ones only think-off; its null
        is think-off on fresh pairs.
    on_fraction, off_fraction: of the edges, in circuits of that ``faithfulness``, over problems.
    broader: active heads think-off − think-on in those circuits, over problems.
    leak: by task, tokens of think-off answers / tokens of think-on answers to the same problems.
    circuit: the size of the circuits of ``change``, think-off the base; None in results of earlier versions.
    """

    kind: ClassVar[str] = "thinking"
    file: ClassVar[str] = "thinking.json"

    change: Emergence
    faithfulness: float
    on_fraction: Estimate
    off_fraction: Estimate
    broader: Estimate
    leak: dict[str, Estimate] = field(default_factory=dict)
    circuit: CircuitSize | None = None

    def plot(self) -> "Figure":
        """Return the change of every head's importance, think-off the base."""
        return self.change.plot()
