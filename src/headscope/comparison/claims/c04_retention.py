"""C4: do about two thirds of the base's heads stay?"""

from dataclasses import replace

import numpy as np

from headscope.comparison.claims.gaps import Gap, StudyFacts, pair_gaps
from headscope.comparison.claims.parts import judge_claim, judge_part
from headscope.comparison.claims.study_results import StudyResults
from headscope.measures.independent_estimates import pool_estimates, scale_estimate
from headscope.measures.intervals import without_interval
from headscope.results.claim import Claim, Part
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate

FEWEST_BASE_HEADS = (10, "core heads of the base")
STATISTIC = "share of the base's core heads kept"


def judge(results: StudyResults) -> Claim:
    """Judge whether the share of core heads kept lies between a half and five sixths, two parts per recipe."""
    parts: list[Part] = []
    for recipe, runs in results.recipes().items():
        share = pool_estimates([_kept_share(run.last) for run in runs])
        share = replace(share, high=_at_most_one(share.high))  # the spread between seeds knows no bounds
        null = pool_estimates([_null_share(run.last) for run in runs])
        for side, bound in ((">", 1 / 2), ("<", 5 / 6)):
            parts.append(judge_part(recipe, STATISTIC, share, side, bound, least=FEWEST_BASE_HEADS, null=null))
    question = "Do about two thirds of the base's heads stay?"
    return judge_claim("C4", question, parts, "no post-trained model is compared with its base")


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: a post-trained model, and pairs enough."""
    return pair_gaps(facts) if facts.recipes else [Gap("the study has no post-trained model")]


def _kept_share(result: Emergence) -> Estimate:
    """Return kept heads over core heads of the base, whose number is not resampled."""
    core = int(result.base_active.sum())
    kept = result.counts.kept
    if core == 0:
        return without_interval(0, kept.method)
    # The interval of a count may reach beyond the heads there are.
    value, low, high = [_at_most_one(end / core) for end in (kept.value, kept.low, kept.high)]
    return Estimate(value, low, high, core, kept.method, kept.seed)


def _at_most_one(share: float) -> float:
    """Return the share cut at 1; NaN, of an estimate without interval, stays NaN (``min(1, nan)`` is 1)."""
    return float(np.minimum(1.0, share))


def _null_share(result: Emergence) -> Estimate:
    core = max(1, int(result.base_active.sum()))  # without core heads nothing is kept either: 0 of 1
    return scale_estimate(result.null.kept, 1 / core)
