"""C5: do SFT heads sit in mid-to-late layers, distillation heads early-mid?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from headscope.comparison.claims.gaps import Gap, StudyFacts, pair_gaps
from headscope.comparison.claims.new_heads import FEWEST_HEADS
from headscope.comparison.claims.parts import judge_claim, judge_part, missing_part
from headscope.comparison.claims.study_results import Run, StudyResults
from headscope.measures.independent_estimates import scale_estimate, welch_difference
from headscope.measures.intervals import without_interval
from headscope.results.claim import Claim, Part
from headscope.results.estimate import Estimate

SIDES = {"sft": ">", "distill": "<"}
"""On which side of the base's heads each method's new heads are said to lie."""

NAMES = {"sft": "SFT", "distill": "distillation on a teacher's traces"}
STATISTIC = "mean depth of new heads − that of the base's core heads"


def judge(results: StudyResults) -> Claim:
    """Judge the depth of new heads after each method; a head that is new in two seeds counts twice."""
    parts: list[Part] = []
    for method, side in SIDES.items():
        for recipe, runs in _recipes(results, method).items():
            parts.append(judge_part(recipe, STATISTIC, _depth_difference(runs), side, 0.0, least=FEWEST_HEADS))
    for method in SIDES:
        if parts and not _recipes(results, method):
            parts.append(missing_part(method, STATISTIC, f"no {NAMES[method]} is compared; both are asked about"))
    question = "Do SFT heads sit in mid-to-late layers, distillation heads early-mid?"
    return judge_claim("C5", question, parts, "no SFT or distillation on a teacher's traces is compared with its base")


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: SFT, distillation on traces, pairs enough."""
    methods = {recipe.method for recipe in facts.recipes if recipe.method != "distill" or recipe.on_traces}
    gaps = [Gap(f"no variant is trained by {NAMES[method]}") for method in SIDES if method not in methods]
    if "distill" not in methods and facts.of_method("distill"):
        gaps[-1] = Gap("its distillation learns from a teacher's logits; one on a teacher's traces is asked about")
    return gaps + pair_gaps(facts)


def _recipes(results: StudyResults, method: str) -> dict[str, list[Run]]:
    """Return the recipes of a method; of distillation, those that learn from a teacher's traces as SFT does."""
    recipes = results.recipes(method)
    if method != "distill":
        return recipes
    return {recipe: runs for recipe, runs in recipes.items() if all(run.on_traces for run in runs)}


def _depth_difference(runs: Sequence[Run]) -> Estimate:
    """Return the mean depth over the new heads of all seeds, less that over the base's core heads, by Welch's t.

    Depth is 0 for the first layer, 1 for the last. The base's core heads are those of any seed, each counted once.
    """
    new = np.array([head.layer for run in runs for head in run.last.new], dtype=np.float64)
    core = np.logical_or.reduce([run.last.base_active for run in runs])
    base = np.nonzero(core)[0].astype(np.float64)
    if len(new) == 0 or len(base) == 0:
        return without_interval(0, "Welch t over heads")
    # Of layers, whose means are exact: those of depths differ in their last bits if all heads lie in one layer.
    in_layers = replace(welch_difference(new, base), n=len(new))
    return scale_estimate(in_layers, 1 / max(1, len(core) - 1))
