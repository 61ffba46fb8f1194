"""C7: does scaling emergent heads trade one task for another?"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr, stdtrit

from headscope.comparison.ablation import FEWEST_PROBLEMS, MARGIN
from headscope.comparison.claims.gaps import Gap, StudyFacts, ablated_task_gaps
from headscope.comparison.claims.parts import format_estimate, judge_claim, missing_part
from headscope.comparison.claims.study_results import (
    Ablation,
    StudyResults,
    choose_emergent,
    group_by,
    verdicts_by_operator,
)
from headscope.measures.intervals import LEVEL
from headscope.measures.multiplicity import holm
from headscope.results.claim import FAILS, HOLDS, OPEN, Claim, Part
from headscope.results.estimate import Estimate
from headscope.results.numbers import ALPHA

STATISTIC = "tasks that rise and fall at one scale"


def judge(results: StudyResults) -> Claim:
    """Judge whether at one scale a task rises and another falls, for every variant on its own."""
    by_variant = group_by(results.scalings(results.emergent), lambda ablation: ablation.variant)
    parts = [_part(variant, ablations) for variant, ablations in by_variant.items()]
    question = "Does scaling emergent heads trade one task for another?"
    return judge_claim("C7", question, parts, "no emergent heads are scaled while the model generates")


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: the group, a scale, two tasks."""
    if not facts.recipes or not choose_emergent(facts.groups):
        return [Gap("no emergent heads are scaled (ablate.heads: [emergent])")]
    gaps = [] if facts.scales else [Gap("no heads are scaled while the model generates (ablate.generated_scales)")]
    return gaps + ablated_task_gaps(facts, 2)


def _part(variant: str, ablations: Sequence[Ablation]) -> Part:
    effects: dict[str, list[Estimate]] = {}
    descriptions = []
    for scale, all_verdicts in verdicts_by_operator(ablations).items():
        verdicts = [verdict for verdict in all_verdicts if verdict.effect.n >= FEWEST_PROBLEMS]
        if len(verdicts) > 1:
            effects[scale] = [verdict.effect for verdict in verdicts]
            tasks = (f"{verdict.task} {format_estimate(verdict.effect)}" for verdict in verdicts)
            descriptions.append(f"{scale}: {', '.join(tasks)}")
    if not effects:
        reason = f"{variant} was scaled on fewer than two tasks of {FEWEST_PROBLEMS} problems, or has no emergent heads"
        return missing_part(variant, STATISTIC, reason)
    if any(signs == {-1.0, 1.0} for signs in _significant_signs(effects).values()):
        state = HOLDS
    else:
        state = FAILS if all(map(_excludes_trade, effects.values())) else OPEN
    reason = f"change of pass@1 of {variant} with its {ablations[0].group} heads scaled: {'; '.join(descriptions)}"
    return Part(variant, STATISTIC, None, ">", 0.0, None, state, reason)


def _significant_signs(effects: dict[str, list[Estimate]]) -> dict[str, set[float]]:
    """Return the signs of the changes at each scale that survive Holm's correction over tasks × scales."""
    flat = [(scale, effect) for scale, changes in effects.items() for effect in changes]
    adjusted = holm(np.array([_p_value(effect) for _, effect in flat]))
    signs: dict[str, set[float]] = {scale: set() for scale in effects}
    for (scale, effect), p_value in zip(flat, adjusted, strict=True):
        if p_value <= ALPHA:
            signs[scale].add(float(np.sign(effect.value)))
    return signs


def _excludes_trade(effects: Sequence[Estimate]) -> bool:
    """Return whether no task falls by the margin, or none rises by it, within the intervals."""
    return all(effect.low > -MARGIN for effect in effects) or all(effect.high < MARGIN for effect in effects)


def _p_value(effect: Estimate) -> float:
    """Return the two-sided p of no change that belongs to the effect's t interval (``paired_difference``)."""
    half_width = (effect.high - effect.low) / 2
    if not half_width > 0:  # an interval of one point, or none: the same change in every problem, or nothing measured
        return 0.0 if abs(effect.value) > 0 else 1.0
    freedom = max(1, effect.n - 1)
    centre = (effect.high + effect.low) / 2
    return float(2 * stdtr(freedom, -abs(centre) / half_width * stdtrit(freedom, 0.5 + LEVEL / 2)))
