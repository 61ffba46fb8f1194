"""Claims C1-C10 on a run directory: gather its finished results, judge, save. Arithmetic on files, no model is loaded.

Whatever the run has not done is missing evidence, and the claim says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from headscope.comparison.claims import Ablation, Answers, Claim, Modes, Run, StudyResults, judge
from headscope.evaluation.passk import pass_at_k_by_problem
from headscope.measures.intervals import paired_difference
from headscope.results.claim import Claims
from headscope.results.comparison import Comparison
from headscope.results.estimate import Estimate
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory
from headscope.runs.records import Finished
from headscope.studies.plan import plan
from headscope.studies.study import Study

COUNTING_CLAIMS = ("C1", "C2", "C3", "C4", "C5")
"""Claims about how many heads there are, or which."""

Variants = Mapping[str, Mapping[str, Any]]


def judge_run(study: Study, run: RunDirectory) -> tuple[Claim, ...]:
    """Return the verdict on every claim, also written to ``claims.json`` next to the lock."""
    claims = _with_caveats(judge(study_results(study, run)), run.results(Comparison))
    Claims(claims).save(run.path)
    return claims


def _with_caveats(claims: Sequence[Claim], comparisons: Sequence[Finished[Comparison]]) -> tuple[Claim, ...]:
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
    variants = {variant.name: variant.model_dump(mode="json") for variant in study.variants}
    whole = replace(run, units=plan(study, run, "run"))  # whichever part of the study was asked for last
    nulls = {name for name, variant in variants.items() if _missing_signal(variant)}
    return StudyResults(
        runs=tuple(_runs(whole, variants)),
        ablations=tuple(ablation for ablation in _ablations(whole) if ablation.variant not in nulls),
        thinking=tuple(_modes(whole, variants)),
        answers=tuple(answers for answers in _answers(whole, variants) if answers.variant not in nulls),
    )


def _modes(run: RunDirectory, variants: Variants) -> Iterator[Modes]:
    for finished in run.results(Thinking):
        name = str(finished.labels["variant"])
        yield Modes(name, _recipe(name, variants), finished.whole)


def _runs(run: RunDirectory, variants: Variants) -> Iterator[Run]:
    for finished in run.results(Comparison):
        comparison = finished.whole
        name = comparison.variant
        yield Run(
            variant=name,
            method=str((variants[name].get("train") or variants[name]).get("method") or ""),
            recipe=_recipe(name, variants),
            null=_missing_signal(variants[name]),
            series=comparison.series,
            dynamics=comparison.dynamics,
            rewards=comparison.reward,
        )


def _missing_signal(variant: Mapping[str, Any]) -> str:
    """Return which signal the training lacks, "" if none."""
    train = variant.get("train") or {}
    return str(train.get("control") or ("lr0" if train.get("learning_rate") == 0 else ""))


def _recipe(name: str, variants: Variants) -> str:
    """Return the recipe a variant is a run of: a null twin's or another seed's is its source's, else its own name."""
    variant = variants[name]
    source = variant.get("twin_of")
    if source is None or source not in variants:
        return name
    settings = _settings_but_seed(variant)
    is_rerun = settings == _settings_but_seed(variants[source])
    return _recipe(source, variants) if _missing_signal(variant) or is_rerun else name


def _settings_but_seed(variant: Mapping[str, Any]) -> dict[str, Any]:
    return {**(variant.get("train") or {}), "seed": None}


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


def _answers(run: RunDirectory, variants: Variants) -> Iterator[Answers]:
    """Yield the base's and each variant's answers to each task, of the last checkpoint that was evaluated."""
    last: dict[tuple[Any, Any], Finished[Samples]] = {}
    for samples in run.results(Samples, forbid=None):
        key = samples.labels["variant"], samples.labels["task"]
        if key not in last or samples.labels["step"] > last[key].labels["step"]:
            last[key] = samples
    for (variant, task), finished in last.items():
        if variant != "base" and ("base", task) in last:
            base, post = last["base", task].whole, finished.whole
            if base.problems == post.problems:
                name = str(variant)
                yield Answers(name, _recipe(name, variants), str(task), _correct_grid(base), _correct_grid(post))


def _correct_grid(samples: Samples) -> Bool[np.ndarray, "problem sample"]:
    return np.ascontiguousarray(samples.correct)
