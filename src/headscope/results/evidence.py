"""Evidence on a head set and a task, teacher-forced: many controls, every operator, and what else could explain it.

Losses are nats per token of responses the model itself wrote and that were correct; an effect is the loss with the
intervention minus the loss without, so positive means that it hurts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from headscope.heads import HeadSet
from headscope.results.estimate import Estimate
from headscope.storage import check_schema

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class OperatorEffect:
    """One operator on the head set.

    effect: nats per token. accuracy: change of the share of tokens the model would write itself.
    control_effects: of random sets of the same layer profile; importance_effects: of sets of like importance in the
        base model. p_value, importance_p_value: one-sided against each, the real set counted in; NaN without sets.
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
    importance_p_value: float
    supported: bool

    @property
    def rank(self) -> int:
        """Place of the real set among the real and the layer-matched sets, 1 the strongest; ties count against it."""
        return round(self.p_value * (1 + len(self.control_effects)))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN as null."""
        arrays = {name: getattr(self, name).tolist() for name in ("control_effects", "importance_effects")}
        plain: dict[str, Any] = _plain(asdict(self) | arrays)
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "OperatorEffect":
        """The inverse of ``as_dict``."""
        estimates = {name: _estimate(data[name]) for name in ("effect", "accuracy", "excess")}
        arrays = {name: np.array(data[name], dtype=np.float64) for name in ("control_effects", "importance_effects")}
        p_values = {name: _number(data[name]) for name in ("p_value", "importance_p_value")}
        return cls(**dict(data) | estimates | arrays | p_values)


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
    doses on that side, α = 1 included."""

    alphas: tuple[float, ...]
    effects: tuple[Estimate, ...]
    below: Trend | None
    above: Trend | None


@dataclass(frozen=True)
class Guard:
    """The same heads, zeroed on another task, where nothing should happen.

    effect: nats per token there. specific: on-task effect − off-task effect; above 0, the task needs the set more.
    perplexity_before, perplexity_after: of the off-task responses. recall: change of pass@1 there, generated; None
    where it was not.
    """

    task: str
    effect: Estimate
    specific: Estimate
    perplexity_before: float
    perplexity_after: float
    recall: Estimate | None


@dataclass(frozen=True)
class Repair:
    """Direct effect: the heads' writes leave the final stream alone. Total: later layers may answer. repaired: direct −
    total; above 0, later layers make up for the loss. All in nats per token."""

    direct: Estimate
    total: Estimate
    repaired: Estimate


@dataclass(frozen=True, eq=False)
class Evidence:
    """What teacher forcing says of ``heads`` on ``task``.

    texts: responses forced; dropped: problems without a correct one.
    operators: the effect of each. agreeing: how many are supported.
    stands: at least three of the four operators agree; False where that cannot be any more; None where undecided.
    reason: one sentence with the numbers it rests on.
    training: effect in the post-trained model − effect in the base model on the same texts (nats per token); above 0,
        the heads matter more after training. training_pass: the same for pass@1, generated, where below 0 means so.
    """

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

    @property
    def agreeing(self) -> int:
        """Operators under which the set is supported."""
        return sum(each.supported for each in self.operators)

    def as_dict(self) -> dict[str, Any]:
        """JSON values with ``schema_version``."""
        parts = {name: getattr(self, name) for name in ("training", "training_pass", "dose", "guard", "repair")}
        return {
            "schema_version": SCHEMA_VERSION,
            "task": self.task,
            "heads": self.heads.names(),
            "texts": self.texts,
            "dropped": self.dropped,
            "operators": [each.as_dict() for each in self.operators],
            "stands": self.stands,
            "reason": self.reason,
            **{name: None if part is None else _plain(asdict(part)) for name, part in parts.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Evidence":
        """The inverse of ``as_dict``. Raises InputError for another schema."""
        check_schema(data, "evidence", SCHEMA_VERSION)
        fields = {name: data[name] for name in ("task", "texts", "dropped", "stands", "reason")}
        dose, guard, repair = data["dose"], data["guard"], data["repair"]
        return cls(
            **fields,
            heads=HeadSet.of(data["heads"]),
            operators=tuple(map(OperatorEffect.from_dict, data["operators"])),
            training=_optional(data["training"]),
            training_pass=_optional(data["training_pass"]),
            dose=None if dose is None else _dose(dose),
            guard=None if guard is None else _guard(guard),
            repair=None if repair is None else Repair(**{name: _estimate(each) for name, each in repair.items()}),
        )


def _plain(value: Any) -> Any:
    """NaN as null, in whatever holds it: JSON has none."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _estimate(data: Mapping[str, Any]) -> Estimate:
    return Estimate(**dict(data) | {name: _number(data[name]) for name in ("value", "low", "high")})


def _optional(data: Mapping[str, Any] | None) -> Estimate | None:
    return None if data is None else _estimate(data)


def _trend(data: Mapping[str, Any] | None) -> Trend | None:
    return None if data is None else Trend(_estimate(data["slope"]), _number(data["p_value"]))


def _dose(data: Mapping[str, Any]) -> DoseResponse:
    effects = tuple(map(_estimate, data["effects"]))
    return DoseResponse(tuple(data["alphas"]), effects, _trend(data["below"]), _trend(data["above"]))


def _guard(data: Mapping[str, Any]) -> Guard:
    estimates = {name: _estimate(data[name]) for name in ("effect", "specific")}
    return Guard(**dict(data) | estimates | {"recall": _optional(data["recall"])})
