"""C1, C2, C4 and C5: how many heads emerge, whether they stay, and where they sit."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import t

from headscope.comparison.claims.deciding import claim, missing, part
from headscope.comparison.claims.study_results import Run, StudyResults
from headscope.comparison.persistence import persistence
from headscope.measures.independent_estimates import difference, pool_estimates, scale_estimate
from headscope.measures.intervals import wilson
from headscope.results.claim import Claim, Part
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate

MANY = 0.05
"""Share of a model's heads: what the test-retest rule may get wrong."""

ADDED = "excess of new heads, as a share of all,"
REMAINING = "share of established emergent heads that remain"
FEWEST_HEADS = (5, "heads")
FEWEST_BASE_HEADS = (10, "core heads of the base")


def many_that_persist(results: StudyResults) -> Claim:
    """C1."""
    parts: list[Part] = []
    for recipe, runs in results.recipes("sft", "distill"):
        parts.append(part(recipe, ADDED, _added(runs), ">", MANY, null=_null(runs)))
        parts += [
            part(recipe, f"new heads − those of its twin {twin.variant}", _above_twin(runs, twin), ">", 0.0)
            for twin in results.nulls(recipe)
        ]
        parts.append(_remaining(recipe, runs, ">"))
    question = "Do SFT and distillation add many heads that persist?"
    return claim("C1", question, parts, "the study has no SFT or distillation run")


def few_that_come_and_go(results: StudyResults) -> Claim:
    """C2."""
    others = dict(results.recipes("sft", "distill"))
    parts: list[Part] = []
    for recipe, runs in results.recipes("grpo"):
        parts.append(part(recipe, ADDED, _added(runs), "<", MANY, null=_null(runs)))
        parts += [
            part(recipe, f"new heads − those of {other}", difference(_new(runs), _new(theirs)), "<", 0.0)
            for other, theirs in others.items()
        ]
        parts.append(_remaining(recipe, runs, "<"))
    return claim("C2", "Does GRPO add few heads, which come and go?", parts, "the study has no GRPO run")


def two_thirds_stay(results: StudyResults) -> Claim:
    """C4."""
    parts: list[Part] = []
    for recipe, runs in results.recipes():
        kept, null = (
            pool_estimates([_kept(run.last) for run in runs]),
            pool_estimates([_kept_null(run.last) for run in runs]),
        )
        kept = replace(kept, high=min(1.0, kept.high))  # the spread between seeds knows no bounds
        for side, bound in ((">", 1 / 2), ("<", 5 / 6)):
            about = "share of the base's core heads kept"
            parts.append(part(recipe, about, kept, side, bound, least=FEWEST_BASE_HEADS, null=null))
    question = "Do about two thirds of the base's heads stay?"
    return claim("C4", question, parts, "the study compares no post-trained model with its base")


def late_and_early(results: StudyResults) -> Claim:
    """C5. Heads of all seeds are taken together: a head that is new in two seeds counts twice."""
    parts = [
        part(recipe, "mean depth of new heads", _depth(runs), side, 0.5, least=FEWEST_HEADS)
        for method, side in (("sft", ">"), ("distill", "<"))
        for recipe, runs in results.recipes(method)
    ]
    parts += [
        missing(method, "mean depth of new heads", f"the study has no {method} run; both are asked about")
        for method in ("sft", "distill")
        if parts and not list(results.recipes(method))
    ]
    question = "Do SFT heads sit in mid-to-late layers, distillation heads early-mid?"
    return claim("C5", question, parts, "the study has no SFT or distillation run")


def _added(runs: Sequence[Run]) -> Estimate:
    return pool_estimates([scale_estimate(run.last.excess.new, 1 / run.last.status.size) for run in runs])


def _new(runs: Sequence[Run]) -> Estimate:
    return pool_estimates([run.last.counts.new for run in runs])


def _null(runs: Sequence[Run]) -> Estimate:
    return pool_estimates([scale_estimate(run.last.null.new, 1 / run.last.status.size) for run in runs])


def _above_twin(runs: Sequence[Run], twin: Run) -> Estimate:
    return difference(_new(runs), twin.last.counts.new)


def _remaining(recipe: str, runs: Sequence[Run], side: str) -> Part:
    """Over the heads of all seeds together."""
    found = [persistence(run.dynamics) for run in runs]
    if all(each.checkpoints < 2 for each in found):
        return missing(recipe, REMAINING, f"{recipe} has 1 checkpoint; what remains needs at least 2")
    heads = sum(each.heads for each in found)
    stayed = sum(round(each.remaining.value * each.heads) for each in found if each.heads)
    return part(recipe, REMAINING, wilson(stayed, heads), side, 0.5, least=FEWEST_HEADS)


def _kept(result: Emergence) -> Estimate:
    """Kept over core heads of the base, which are taken as they are."""
    core = int(result.base_active.sum())
    kept = result.counts.kept
    if core == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, kept.method)
    value, low, high = (min(1.0, end / core) for end in (kept.value, kept.low, kept.high))
    return Estimate(value, low, high, core, kept.method, kept.seed)


def _kept_null(result: Emergence) -> Estimate:
    core = max(1, int(result.base_active.sum()))
    return scale_estimate(result.null.kept, 1 / core)


def _depth(runs: Sequence[Run]) -> Estimate:
    depths = np.array(
        [head.layer / max(1, run.last.status.shape[0] - 1) for run in runs for head in run.last.new], dtype=np.float64
    )
    n, method = len(depths), "Student's t over heads 95%"
    if n < 2:
        return Estimate(float(depths.mean()) if n else math.nan, math.nan, math.nan, n, method)
    half = float(t.ppf(0.975, n - 1) * depths.std(ddof=1) / np.sqrt(n))
    return Estimate(float(depths.mean()), float(depths.mean()) - half, float(depths.mean()) + half, n, method)
