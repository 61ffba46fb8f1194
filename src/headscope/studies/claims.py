"""Claims C1-C10 on a run directory: gather its finished results, judge, save. Arithmetic on files, no model is loaded.

Whatever the run has not done is missing evidence, and the claim says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headscope.comparison.claims import Ablation, Answers, Claim, Modes, Run, StudyResults, judge
from headscope.evaluation.passk import pass_at_k_by_problem
from headscope.measures.intervals import paired_difference
from headscope.results.dynamics import Dynamics, RewardCount
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory, Unit
from headscope.runs.directory import Record
from headscope.storage import read_object, write_json
from headscope.studies import compare, thinking
from headscope.studies.plan import plan
from headscope.studies.study import Study

SCHEMA_VERSION = 1
FILE = "claims.json"

Variants = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Finished:
    """What is done of a whole study, whichever part of it was asked for last."""

    run: RunDirectory
    units: Sequence[Unit]

    def find(self, kind: str, **labels: Any) -> list[Record]:
        """Finished units with these labels, in the plan's order."""
        wanted = [unit for unit in self.units if unit.kind == kind and labels.items() <= unit.labels.items()]
        return [Record(self.run.folder(unit), unit.labels) for unit in wanted if self.run.is_done(unit)]


def judge_run(study: Study, run: RunDirectory) -> tuple[Claim, ...]:
    """The verdict on every claim, also written to ``claims.json`` beside the lock."""
    claims = judge(study_results(study, run))
    write_json(run.path / FILE, {"schema_version": SCHEMA_VERSION, "claims": [claim.as_dict() for claim in claims]})
    return claims


def table(claims: tuple[Claim, ...]) -> list[dict[str, str]]:
    """One row per claim, for the terminal."""
    return [
        {"claim": claim.name, "question": claim.question, "verdict": claim.reading, "reason": claim.reason}
        for claim in claims
    ]


def study_results(study: Study, run: RunDirectory) -> StudyResults:
    """What the study's finished units say. Raises InputError for results of a newer schema."""
    variants = {each.name: each.model_dump(mode="json") for each in study.variants}
    done = Finished(run, plan(study, run, "run"))
    nulls = {name for name, variant in variants.items() if _null(variant)}
    return StudyResults(
        runs=tuple(_runs(done, variants)),
        ablations=tuple(each for each in _ablations(done) if each.variant not in nulls),
        thinking=tuple(_modes(done, variants)),
        answers=tuple(each for each in _answers(done, variants) if each.variant not in nulls),
    )


def _modes(done: Finished, variants: Variants) -> Iterator[Modes]:
    for record in done.find("thinking"):
        name = str(record.labels["variant"])
        yield Modes(name, _recipe(name, variants), Thinking.from_dict(read_object(record.folder / thinking.FILE)))


def _runs(done: Finished, variants: Variants) -> Iterator[Run]:
    for record in done.find("comparison"):
        content = compare.read(record.folder)
        results = (Emergence.from_dict(data) for data in content["emergence"])
        name = str(content["variant"])
        yield Run(
            variant=name,
            method=str((variants[name].get("train") or {}).get("method", "")),
            recipe=_recipe(name, variants),
            null=_null(variants[name]),
            series=tuple(zip(content["steps"], results, strict=True)),
            dynamics=Dynamics.from_dict(content["dynamics"]),
            rewards=tuple(RewardCount(**row) for row in content["reward"]),
        )


def _null(variant: Mapping[str, Any]) -> str:
    """Which signal the training lacks; "" where it has all."""
    train = variant.get("train") or {}
    return str(train.get("control") or ("lr0" if train.get("learning_rate") == 0 else ""))


def _recipe(name: str, variants: Variants) -> str:
    """A null twin and another seed belong to the recipe they are twins of; a twin with other settings is its own."""
    variant = variants[name]
    source = variant.get("twin_of")
    if source is None or source not in variants:
        return name
    ours, theirs = ({**(each.get("train") or {}), "seed": None} for each in (variant, variants[source]))
    return _recipe(source, variants) if _null(variant) or ours == theirs else name


def _ablations(done: Finished) -> Iterator[Ablation]:
    for record in done.find("verdict"):
        data, labels = read_object(record.folder / "verdict.json"), record.labels
        where = {name: str(labels[name]) for name in ("variant", "operator", "task")}
        verdict = None if data.get("empty") else AblationVerdict.from_dict(data)
        coverage = None if verdict is None else _coverage(done, labels)
        yield Ablation(**where, group=str(labels["heads"]), verdict=verdict, coverage=coverage)


def _coverage(done: Finished, labels: Mapping[str, Any]) -> tuple[int, Estimate] | None:
    """Change of pass@k at the largest k both sides allow, paired by problem; None with one sample."""
    where = {"variant": labels["variant"], "task": labels["task"], "control": None}
    before = done.find("ablated", **where, heads="none")
    after = done.find("ablated", **where, heads=labels["heads"], operator=labels["operator"])
    if not before or not after:
        return None
    both = [Samples.load(each[0].folder).correct for each in (before, after)]
    k = min(correct.shape[1] for correct in both)
    if k < 2:
        return None
    shares = [pass_at_k_by_problem(correct, k) for correct in both]
    return k, paired_difference(shares[1], shares[0])


def _answers(done: Finished, variants: Variants) -> Iterator[Answers]:
    """The base and each variant's last evaluated checkpoint on each task."""
    last = {(record.labels["variant"], record.labels["task"]): record for record in done.find("samples")}
    for (variant, task), record in last.items():
        if variant != "base" and ("base", task) in last:
            base, post = (Samples.load(each.folder) for each in (last["base", task], record))
            if base.problems == post.problems:
                name = str(variant)
                yield Answers(name, _recipe(name, variants), str(task), _bools(base), _bools(post))


def _bools(samples: Samples) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    return np.ascontiguousarray(samples.correct)
