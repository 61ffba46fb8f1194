"""Evidence on a head set and a task from teacher forcing: random sets, all operators, and other explanations.

Losses are nats per token of responses the model itself wrote and that were correct; an effect is the loss with the
intervention minus the loss without, so positive means that it hurts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headscope.heads import HeadSet
from headscope.operator_names import ABLATION_OPERATORS
from headscope.results import plots
from headscope.results.codec import Json
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class OperatorEffect:
    """One operator on the head set.

    effect: nats per token. accuracy: change of the share of tokens that the model would write itself.
    control_effects: of random sets of the same layer profile; importance_effects: of sets of like importance in the
        base model. p_value, importance_p_value: one-sided against each, the real set counted in; NaN without sets.
    rank, importance_rank: place of the real set among itself and each kind, 1 the strongest; ties count against it.
    controls_available, importance_available: number of existing sets. Fewer were run if the rank was settled.
    excess: effect − mean control effect, paired by text.
    supported: it hurts (interval above 0), and more than the layer-matched sets do (p ≤ 0.05, excess above 0).
    """

    operator: str
    effect: Estimate
    accuracy: Estimate
    control_effects: Float[np.ndarray, "control"]
    importance_effects: Float[np.ndarray, "matched"]
    excess: Estimate
    p_value: float
    rank: int
    importance_p_value: float
    importance_rank: int
    controls_available: int
    importance_available: int
    supported: bool


@dataclass(frozen=True)
class Trend:
    """One arm of the dose-response. slope: nats per token for each unit that α moves away from 1, mean over texts.

    p_value: Page's L test that the loss rises with the distance from α = 1.
    """

    slope: Estimate
    p_value: float


@dataclass(frozen=True)
class DoseResponse:
    """The heads' writes times α. effects: per α, nats per token. below: α ≤ 1; above: α ≥ 1; None with fewer than three
    doses on that side, α = 1 included, or fewer than two texts."""

    alphas: tuple[float, ...]
    effects: tuple[Estimate, ...]
    below: Trend | None
    above: Trend | None


@dataclass(frozen=True)
class Guard:
    """The same heads zeroed on another task, on which no effect is expected.

    effect: nats per token there. specific: on-task effect − off-task effect; above 0, the task needs the set more.
    perplexity_before, perplexity_after: of the off-task responses. recall: change of pass@1 there, generated; None
    if it was not.
    """

    task: str
    effect: Estimate
    specific: Estimate
    perplexity_before: float
    perplexity_after: float
    recall: Estimate | None


@dataclass(frozen=True)
class Repair:
    """Self-repair, in nats per token.

    direct: effect of removing the heads' writes from the final stream only.
    total: effect including the response of later layers.
    repaired: direct − total; above 0, later layers compensate for the loss.
    """

    direct: Estimate
    total: Estimate
    repaired: Estimate


@dataclass(frozen=True, eq=False)
class Evidence(JsonResult):
    """Result of teacher forcing ``heads`` on ``task``.

    texts: responses forced; dropped: the other problems, without a correct one or more than were asked.
    operators: the effect of each. agreeing: how many are supported.
    stands: whether at least three of the four operators that remove heads agree; None if undecided.
    reason: one sentence with the numbers.
    training: effect in the post-trained model − effect in the base model on the same texts (nats per token); above 0,
        the heads matter more after training. training_pass: the same for pass@1, from generated answers; below 0 means
        the same.
    graft: change of the base's loss on the same texts with the heads' weights grafted into it (nats per token); below
        0, they bring some of what training taught; None unless the heads were also reverted.
    """

    kind: ClassVar[str] = "evidence"
    file: ClassVar[str] = "evidence.json"
    schema: ClassVar[int] = 3
    rows: ClassVar[Mapping[str, str]] = {"": "operators"}

    task: str
    heads: HeadSet
    texts: int
    dropped: int
    operators: tuple[OperatorEffect, ...]
    stands: bool | None
    reason: str
    training: Estimate | None = None
    training_pass: Estimate | None = None
    dose: DoseResponse | None = None
    guard: Guard | None = None
    repair: Repair | None = None
    graft: Estimate | None = None

    @property
    def voting(self) -> tuple[OperatorEffect, ...]:
        """Return the operators that remove heads; ``revert`` has no vote on whether they matter."""
        return tuple(effect for effect in self.operators if effect.operator in ABLATION_OPERATORS)

    @property
    def reverted(self) -> OperatorEffect | None:
        """Return the effect of reverting the heads; None if it was not measured."""
        return next((effect for effect in self.operators if effect.operator == "revert"), None)

    @property
    def agreeing(self) -> int:
        """Return the operators with a vote under which the set is supported."""
        return sum(operator.supported for operator in self.voting)

    @classmethod
    def from_dict(cls, data: Json, origin: str = "") -> "Evidence":
        """See ``JsonResult``. Ranks of version 1 are computed from its p-values, rank / (1 + sets); up to version
        2 all existing sets were run."""
        if data.get("schema_version") == 1:
            data = data | {"operators": [operator | _old_ranks(operator) for operator in data["operators"]]}
        if data.get("schema_version") in (1, 2):
            data = data | {"operators": [operator | _all_sets(operator) for operator in data["operators"]]}
        return super().from_dict(data, origin)

    def plot(self) -> "Figure":
        """Return the effect of every operator, next to those of random sets."""
        effects = {operator.operator: operator.effect for operator in self.operators}
        controls = {operator.operator: operator.control_effects for operator in self.operators}
        return plots.forest(f"{self.heads} on {self.task}, {self.texts} texts", effects, "nats per token", controls)


def _old_ranks(operator: Json) -> dict[str, int]:
    names = (("", "control_effects"), ("importance_", "importance_effects"))
    return {
        f"{prefix}rank": round((operator[f"{prefix}p_value"] or 1.0) * (1 + len(operator[effects])))
        for prefix, effects in names
    }


def _all_sets(operator: Json) -> dict[str, int]:
    return {
        "controls_available": len(operator["control_effects"]),
        "importance_available": len(operator["importance_effects"]),
    }
