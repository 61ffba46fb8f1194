"""Failures without a head set: how the share of each kind of failure changes, among matched random sets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from headscope import display
from headscope.heads import HeadSet
from headscope.results import plots
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Direction = Literal["", "raised", "lowered"]


@dataclass(frozen=True, eq=False)
class KindChange:
    """One kind of failure, or one trait of answers, with and without the heads; shares of all answers.

    name: in words, such as ``retrieval failures`` or ``answers with a loop``.
    is_trait: whether right answers can have it too; of the kinds that are no traits, a wrong answer has exactly one.
    whole, removed: its share without and with the intervention, intervals over problems.
    change: removed − whole, paired by problem. control_effects: the same difference for each matched random set.
    excess: change − mean control effect, paired by problem.
    rank: place of the set among itself and the random ones in the direction of its own change, 1 the strongest; ties
        count against it. p_value: rank over the number of sets, as in a verdict.
    adjusted_p: p-value of the change against the random sets, adjusted over all kinds (``comparison.failures``).
    q_value: of the change over problems, adjusted over kinds (Benjamini and Hochberg).
    direction: the effect of removing the heads by the rule of ``comparison.failures``; empty if none.
    """

    name: str
    is_trait: bool
    whole: Estimate
    removed: Estimate
    change: Estimate
    control_effects: Float[np.ndarray, "control"]
    excess: Estimate
    rank: int
    p_value: float
    adjusted_p: float
    q_value: float
    direction: Direction


@dataclass(frozen=True, eq=False)
class FailureChanges(JsonResult):
    """Change of each kind of failure under one intervention on a head set.

    task, operator, heads: as in the verdict on the same answers.
    kinds: every kind that occurs with or without any of the sets, the largest change first.
    reason: the reading in one sentence. samples: answers per problem. controls: matched random sets.
    notes: sentences on what could not be read.
    """

    kind: ClassVar[str] = "failures"
    file: ClassVar[str] = "failures.json"
    rows: ClassVar[Mapping[str, str]] = {"": "kinds"}

    task: str
    operator: str
    heads: HeadSet
    kinds: tuple[KindChange, ...]
    reason: str
    problems: int
    samples: int
    controls: int
    notes: tuple[str, ...] = field(default=())

    @property
    def changed(self) -> tuple[KindChange, ...]:
        """Return the kinds that the intervention raises or lowers."""
        return tuple(change for change in self.kinds if change.direction)

    def __repr__(self) -> str:
        return display.line(self, f"{self.heads} by {self.operator} on {self.task}", self.reason)

    def plot(self) -> "Figure":
        """Return the change of every kind of failure, next to those of random sets."""
        changes = {kind.name: kind.change for kind in self.kinds}
        controls = {kind.name: kind.control_effects for kind in self.kinds}
        return plots.forest(f"Failures without {self.heads} on {self.task}", changes, "change of the share", controls)
