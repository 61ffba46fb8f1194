"""C5: do SFT heads sit in mid-to-late layers, distillation heads early-mid?"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from headscope.comparison.claims.new_heads import FEWEST_HEADS
from headscope.comparison.claims.parts import judge_claim, judge_part, missing_part
from headscope.comparison.claims.study_results import Run, StudyResults
from headscope.measures.intervals import without_interval
from headscope.results.claim import Claim, Part
from headscope.results.estimate import Estimate

SIDES = {"sft": ">", "distill": "<"}
"""On which side of the middle each method's new heads are said to lie."""

STATISTIC = "mean depth of new heads"


def judge(results: StudyResults) -> Claim:
    """Judge the mean depth of new heads after each method; a head that is new in two seeds counts twice."""
    parts: list[Part] = []
    for method, side in SIDES.items():
        for recipe, runs in results.recipes(method).items():
            parts.append(judge_part(recipe, STATISTIC, _mean_depth(runs), side, 0.5, least=FEWEST_HEADS))
    for method in SIDES:
        if parts and not results.recipes(method):
            reason = f"the study has no {method} run; both are asked about"
            parts.append(missing_part(method, STATISTIC, reason))
    question = "Do SFT heads sit in mid-to-late layers, distillation heads early-mid?"
    return judge_claim("C5", question, parts, "the study has no SFT or distillation run")


def _mean_depth(runs: Sequence[Run]) -> Estimate:
    """Return the mean depth over the new heads of all seeds: 0 for the first layer, 1 for the last."""
    depths = []
    for run in runs:
        last_layer = max(1, run.last.status.shape[0] - 1)
        depths += [head.layer / last_layer for head in run.last.new]
    n, method = len(depths), "Student's t over heads 95%"
    if n < 2:
        return without_interval(n, method, value=depths[0] if depths else np.nan)
    mean = float(np.mean(depths))
    half_width = float(t.ppf(0.975, n - 1) * np.std(depths, ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half_width, mean + half_width, n, method)
