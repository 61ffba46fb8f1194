"""Claims C1-C10 on a run directory: gather its finished results, judge, save. Arithmetic on files, no model is loaded.

Whatever the run has not done is missing evidence, and the claim says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from headscope.comparison.claims import Ablation, Answers, Claim, Gap, Modes, Run, StudyResults, judge
from headscope.measures.intervals import paired_difference
from headscope.measures.pass_at_k import pass_at_k_by_problem
from headscope.results.claim import Claims
from headscope.results.comparison import Comparison
from headscope.results.estimate import Estimate
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking
from headscope.results.traces import Traces
from headscope.results.training_effects import TrainingEffects
from headscope.results.verdict import UNDECIDED, AblationVerdict
from headscope.runs import RunDirectory
from headscope.runs.recipes import (
    Variants,
    distills_traces,
    missing_signal,
    recipe,
    training_method,
    variants_by_name,
)
from headscope.runs.records import Finished
from headscope.studies.claim_facts import is_recall, opening_tokens, study_gaps
from headscope.studies.data import sources
from headscope.studies.plan import plan
from headscope.studies.study_file.study import Study

COUNTING_CLAIMS = ("C1", "C2", "C3", "C4", "C5")
"""Claims about how many heads there are, or which."""


def judge_run(study: Study, run: RunDirectory) -> tuple[Claim, ...]:
    """Return the verdict on every claim, also written to ``claims.json`` next to the lock."""
    claims = _add_caveats(judge(study_results(study, run)), run.results(Comparison))
    claims = tuple(_add_gaps(claim, gaps) for claim, gaps in zip(claims, study_gaps(study).values(), strict=True))
    Claims(claims).save(run.path)
    return claims


def _add_gaps(claim: Claim, gaps: Sequence[Gap]) -> Claim:
    """Return the claim; one that is undecided says first what the study lacks for it."""
    lacks = "; ".join(gap.sentence for gap in gaps if gap.blocks)
    if claim.reading != UNDECIDED or not lacks:
        return claim
    return replace(claim, reason=f"{lacks}; {claim.reason}" if claim.parts else lacks)


def _add_caveats(claims: Sequence[Claim], comparisons: Sequence[Finished[Comparison]]) -> tuple[Claim, ...]:
    """Return the claims, those that count heads with a sentence on every circuit that is not faithful."""
    sentences = ""
    for finished in comparisons:
        circuit = finished.whole.circuit
        if circuit is not None and circuit.caveat:
            sentences += f"; {finished.whole.variant}: {circuit.caveat}"
    marked = []
    for claim in claims:
        counts = claim.name in COUNTING_CLAIMS
        marked.append(replace(claim, reason=f"{claim.reason}{sentences}") if counts else claim)
    return tuple(marked)


def study_results(study: Study, run: RunDirectory) -> StudyResults:
    """Return what the study's finished units say. Raises InputError for results of a newer schema."""
    variants = variants_by_name(study.model_dump(mode="json"))
    whole = replace(run, units=plan(study, run, "run"))  # whichever part of the study was asked for last
    nulls = {name for name, variant in variants.items() if missing_signal(variant)}
    return StudyResults(
        runs=tuple(_runs(whole, variants)),
        ablations=tuple(ablation for ablation in _ablations(whole) if ablation.variant not in nulls),
        thinking=tuple(modes for modes in _modes(study, whole, variants) if modes.variant not in nulls),
        answers=tuple(answers for answers in _answers(study, whole, variants) if answers.variant not in nulls),
        groups=tuple(study.ablate.heads),
    )


def _modes(study: Study, run: RunDirectory, variants: Variants) -> Iterator[Modes]:
    for finished in run.results(Thinking):
        name = str(finished.labels["variant"])
        yield Modes(name, recipe(name, variants), finished.whole, opening_tokens(study))


def _runs(run: RunDirectory, variants: Variants) -> Iterator[Run]:
    effects = {finished.whole.variant: finished.whole for finished in run.results(TrainingEffects)}
    for finished in run.results(Comparison):
        comparison = finished.whole
        name = comparison.variant
        yield Run(
            variant=name,
            method=training_method(variants[name]),
            recipe=recipe(name, variants),
            null=missing_signal(variants[name]),
            series=comparison.series,
            dynamics=comparison.dynamics,
            rewards=comparison.reward,
            on_traces=distills_traces(variants[name]),
            effects=effects.get(name),
        )


def _ablations(run: RunDirectory) -> Iterator[Ablation]:
    # Of the trained model at its last checkpoint: not of the base (``ablate.on``) or an earlier step (``ablate.step``).
    for finished in run.results(AblationVerdict, on=None, step=None):
        labels, verdict = finished.labels, finished.result
        yield Ablation(
            variant=str(labels["variant"]),
            group=str(labels["heads"]),
            operator=str(labels["operator"]),
            task=str(labels["task"]),
            verdict=verdict if isinstance(verdict, AblationVerdict) else None,
            coverage=_coverage(run, labels) if isinstance(verdict, AblationVerdict) else None,
        )


def _coverage(run: RunDirectory, labels: Mapping[str, Any]) -> tuple[int, Estimate] | None:
    """Return the change of pass@k at the largest k both sides allow, paired by problem; None with one sample."""
    shared_labels = {"variant": labels["variant"], "task": labels["task"], "control": None, "on": None, "step": None}
    before = run.results(Samples, "ablated", **shared_labels, heads="none")
    after = run.results(Samples, "ablated", **shared_labels, heads=labels["heads"], operator=labels["operator"])
    if not before or not after:
        return None
    whole, removed = before[0].whole.correct, after[0].whole.correct
    k = min(whole.shape[1], removed.shape[1])
    if k < 2:
        return None
    return k, paired_difference(pass_at_k_by_problem(removed, k), pass_at_k_by_problem(whole, k))


def _answers(study: Study, run: RunDirectory, variants: Variants) -> Iterator[Answers]:
    """Yield the base's and each variant's answers to each task, of the last checkpoint that was evaluated."""
    last: dict[tuple[Any, Any], Finished[Samples]] = {}
    for samples in run.results(Samples, forbid=None):
        key = samples.labels["variant"], samples.labels["task"]
        if key not in last or samples.labels["step"] > last[key].labels["step"]:
            last[key] = samples
    recall = {sources.task(ref, study.data_dir).name for ref in study.tasks if is_recall(study, ref)}
    for (variant, task), finished in last.items():
        if variant != "base" and ("base", task) in last:
            base, post = last["base", task].whole, finished.whole
            if base.problems == post.problems:
                name = str(variant)
                yield Answers(
                    variant=name,
                    recipe=recipe(name, variants),
                    task=str(task),
                    base=_correct_grid(base),
                    post=_correct_grid(post),
                    tiers=tuple(post.groups),
                    recall=task in recall,
                    failures=_failures(run, finished),
                )


def _failures(run: RunDirectory, samples: Finished[Samples]) -> tuple[tuple[str, ...], ...] | None:
    """Return why each answer is wrong, by problem in the order of the samples; None if they were not read."""
    labels = {name: samples.labels[name] for name in ("variant", "task", "step")}
    read = run.results(Traces, forbid=None, **labels)
    if not read:
        return None
    answers = read[0].whole.answers
    return tuple(tuple(rows) for _, rows in answers.groupby("problem", sort=False)["failure"])


def _correct_grid(samples: Samples) -> Bool[np.ndarray, "problem sample"]:
    return np.ascontiguousarray(samples.correct)
