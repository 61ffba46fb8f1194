"""What a run directory holds, read from disk for the report: whole units only, in the study's order."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from headscope.results.claim import Claim
from headscope.results.counts import Counts
from headscope.results.coupling import Coupling
from headscope.results.crossed import Crossed
from headscope.results.dynamics import Dynamics
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.evidence import Evidence
from headscope.results.overlap import EffectMap
from headscope.results.persistence import Persistence
from headscope.results.thinking import Thinking
from headscope.results.verdict import AblationVerdict
from headscope.runs.coverage import Coverage, coverage
from headscope.runs.directory import Record, RunDirectory
from headscope.storage import check_schema, read_object

COMPARISON_SCHEMA = MEASURES_SCHEMA = FAITHFULNESS_SCHEMA = CLAIMS_SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Comparison:
    """One variant against the base at each checkpoint, by bootstrap (``emergence``) and by the paper's.

    ladder: share of real edges to the last checkpoint's counts, null and excess. coupling: None without rewards.
    """

    variant: str
    steps: tuple[int, ...]
    emergence: tuple[Emergence, ...]
    paper: tuple[Emergence, ...]
    dynamics: Dynamics
    reward: tuple[dict[str, Any], ...] = ()
    persistence: Persistence | None = None
    coupling: Coupling | None = None
    ladder: dict[float, dict[str, Counts]] = field(default_factory=dict)

    @property
    def final(self) -> Emergence:
        """The last checkpoint's."""
        return self.emergence[-1]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Accuracy of one model on one task.

    pass_at_k, success_at_k: by k. rates: share of answers by verdict. change: pass@1 against the base, paired
        by problem; None for the base. folder: where its samples lie.
    """

    variant: str
    step: int
    task: str
    pass_at_k: dict[int, Estimate]
    success_at_k: dict[int, Estimate]
    rates: dict[str, float]
    mean_tokens: Estimate
    change: Estimate | None
    problems: int
    samples: int
    folder: Path

    @property
    def size(self) -> str:
        """``500 × 16``: problems by samples."""
        return f"{self.problems} × {self.samples}"


@dataclass(frozen=True, eq=False)
class Ablation:
    """One head set of one variant on one task. verdict: None where the set is empty; ``reason`` then says
    why."""

    variant: str
    heads: str
    operator: str
    task: str
    verdict: AblationVerdict | None
    reason: str


@dataclass(frozen=True, eq=False)
class Asked:
    """Teacher-forced evidence on one head set of one variant. evidence: None where there was nothing to ask; ``reason``
    then says why."""

    variant: str
    heads: str
    task: str
    evidence: Evidence | None
    reason: str


@dataclass(frozen=True, eq=False)
class Faithful:
    """How much of a model's behaviour its circuits carry alone, on the pairs of ``variant``.

    model: ``base`` or the variant. by_fraction: share of real edges to normalised faithfulness (0 like the corrupt
        text, 1 like the whole model), intervals over pairs. metric: what was normalised.
    """

    variant: str
    model: str
    step: int
    metric: str
    by_fraction: dict[float, Estimate]


@dataclass(frozen=True, eq=False)
class OnOff:
    """One model with thinking on and off: the two variants, and what sets their circuits apart."""

    on: str
    off: str
    thinking: Thinking


@dataclass(frozen=True, slots=True)
class PairSet:
    """How many pairs were kept and dropped, by reason, for one variant's ``main`` or ``fresh`` set."""

    variant: str
    pairs: str
    count: int
    dropped: dict[str, int]


@dataclass(frozen=True, eq=False)
class Findings:
    """A run as the report sees it. variants: in the study's order, without the base."""

    study: dict[str, Any]
    provenance: dict[str, Any]
    variants: tuple[str, ...]
    comparisons: tuple[Comparison, ...] = ()
    crossed: dict[str, Crossed] = field(default_factory=dict)
    modes: tuple[OnOff, ...] = ()
    effects: EffectMap | None = None
    training: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    evaluations: tuple[Evaluation, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    evidence: tuple[Asked, ...] = ()
    pair_sets: tuple[PairSet, ...] = ()
    faithful: tuple[Faithful, ...] = ()
    claims: tuple[Claim, ...] = ()
    coverage: Coverage = field(default_factory=lambda: Coverage(()))

    @cached_property
    def finals(self) -> tuple[Evaluation, ...]:
        """Each model's last evaluated step, by task."""
        last: dict[tuple[str, str], Evaluation] = {}
        for each in self.evaluations:
            known = last.get((each.variant, each.task))
            if known is None or each.step >= known.step:
                last[each.variant, each.task] = each
        return tuple(last.values())

    @property
    def tasks(self) -> tuple[str, ...]:
        """Evaluated tasks, in the plan's order."""
        return tuple(dict.fromkeys(each.task for each in self.evaluations))

    def comparison(self, variant: str) -> Comparison | None:
        """A variant's comparison, if it is done."""
        return next((each for each in self.comparisons if each.variant == variant), None)

    def final(self, variant: str, task: str) -> Evaluation | None:
        """A model's last evaluation on a task, if there is one."""
        return next((each for each in self.finals if (each.variant, each.task) == (variant, task)), None)


_OfVariant = TypeVar("_OfVariant", Comparison, Evaluation, Ablation, Asked)


def read(run: RunDirectory) -> Findings:
    """Every finished unit the report draws. Raises InputError for a unit written by a newer headscope."""
    lock = run.lock()
    variants = tuple(variant["name"] for variant in lock["study"]["variants"])
    return Findings(
        study=lock["study"],
        provenance=lock.get("provenance", {}),
        variants=variants,
        comparisons=tuple(_in_order(map(_comparison, run.find("comparison")), variants)),
        crossed={record.labels["variant"]: _crossed(record) for record in run.find("crossed")},
        modes=tuple(map(_modes, run.find("thinking"))),
        effects=next(map(_effects, run.find("effects")), None),
        training={record.labels["variant"]: _training_log(record) for record in run.find("train")},
        evaluations=tuple(_in_order((_evaluation(run, each) for each in run.find("measures")), variants)),
        ablations=tuple(_in_order(map(_ablation, run.find("verdict")), variants)),
        evidence=tuple(_in_order(map(_asked, run.find("evidence")), variants)),
        pair_sets=tuple(_pair_set(record) for record in run.find("pairs")),
        faithful=tuple(_faithful(record) for record in run.find("faithfulness")),
        claims=_claims(run.path / "claims.json"),
        coverage=coverage(run),
    )


def _in_order(found: Iterable[_OfVariant], variants: tuple[str, ...]) -> list[_OfVariant]:
    """The base first, then variants as the study lists them."""
    places = {name: place for place, name in enumerate(variants)}
    return sorted(found, key=lambda each: places.get(each.variant, -1))


def _comparison(record: Record) -> Comparison:
    path = record.folder / "comparison.json"
    data = read_object(path)
    check_schema(data, str(path), COMPARISON_SCHEMA)
    return Comparison(
        variant=record.labels["variant"],
        steps=tuple(data["steps"]),
        emergence=tuple(Emergence.from_dict(each) for each in data["emergence"]),
        paper=tuple(Emergence.from_dict(each) for each in data["paper"]),
        dynamics=Dynamics.from_dict(data["dynamics"]),
        reward=tuple(row for row in data.get("reward", ()) if row["logged"]),
        persistence=Persistence.from_dict(data["persistence"]) if data.get("persistence") else None,
        coupling=Coupling.from_dict(data["coupling"]) if data.get("coupling") else None,
        ladder={
            rung["fraction"]: {name: Counts.from_dict(rung[name]) for name in ("counts", "null", "excess")}
            for rung in data.get("ladder", ())
        },
    )


def _claims(path: Path) -> tuple[Claim, ...]:
    if not path.is_file():
        return ()
    data = read_object(path)
    check_schema(data, str(path), CLAIMS_SCHEMA)
    return tuple(map(Claim.from_dict, data["claims"]))


def _crossed(record: Record) -> Crossed:
    return Crossed.from_dict(read_object(record.folder / "crossed.json"))


def _effects(record: Record) -> EffectMap:
    return EffectMap.from_dict(read_object(record.folder / "effects.json"))


def _modes(record: Record) -> OnOff:
    found = Thinking.from_dict(read_object(record.folder / "thinking.json"))
    return OnOff(record.labels["think_on"], record.labels["variant"], found)


def _training_log(record: Record) -> tuple[dict[str, Any], ...]:
    path = record.folder / "log.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    return tuple(json.loads(line) for line in lines if line)


def _evaluation(run: RunDirectory, record: Record) -> Evaluation:
    path = record.folder / "measures.json"
    data = read_object(path)
    check_schema(data, str(path), MEASURES_SCHEMA)
    change = data.get("change")
    return Evaluation(
        variant=record.labels["variant"],
        step=record.labels["step"],
        task=record.labels["task"],
        pass_at_k=_by_k(data["pass_at_k"]),
        success_at_k=_by_k(data["success_at_k"]),
        rates=data["rates"],
        mean_tokens=Estimate(**data["mean_tokens"]),
        change=None if change is None else Estimate(**change),
        problems=data["n_problems"],
        samples=data["samples"],
        folder=run.find("samples", **record.labels)[0].folder,
    )


def _by_k(data: dict[str, Any]) -> dict[int, Estimate]:
    return {int(k): Estimate(**estimate) for k, estimate in sorted(data.items(), key=lambda item: int(item[0]))}


def _ablation(record: Record) -> Ablation:
    data = read_object(record.folder / "verdict.json")
    labels = {name: record.labels[name] for name in ("variant", "heads", "operator", "task")}
    if data.get("empty"):
        return Ablation(**labels, verdict=None, reason=data["reason"])
    verdict = AblationVerdict.from_dict(data)
    return Ablation(**labels, verdict=verdict, reason=verdict.reason)


def _asked(record: Record) -> Asked:
    data = read_object(record.folder / "evidence.json")
    labels = {name: record.labels[name] for name in ("variant", "heads", "task")}
    found = None if data.get("empty") else Evidence.from_dict(data)
    return Asked(**labels, evidence=found, reason=data["reason"])


def _pair_set(record: Record) -> PairSet:
    data = read_object(record.folder / "pairs.json")
    return PairSet(record.labels["variant"], record.labels["pairs"], data["pairs"], data["dropped"])


def _faithful(record: Record) -> Faithful:
    path = record.folder / "faithfulness.json"
    data = read_object(path)
    check_schema(data, str(path), FAITHFULNESS_SCHEMA)
    estimates = (Estimate(**each) for each in data["normalised"])
    labels = {name: record.labels[name] for name in ("variant", "model", "step")}
    return Faithful(**labels, metric=data["metric"], by_fraction=dict(zip(data["fractions"], estimates, strict=True)))
