"""C3: do new heads follow the reward?"""

from collections.abc import Sequence

from headscope.comparison.claims.gaps import Gap, StudyFacts, count_runs
from headscope.comparison.claims.parts import judge_claim
from headscope.comparison.claims.study_results import Run, StudyResults
from headscope.comparison.coupling import FEWEST_DIFFERENCES, coupling_series, mass_coupling, reward_coupling
from headscope.errors import count_noun
from headscope.results.claim import FAILS, HOLDS, OPEN, Claim, Part
from headscope.results.coupling import CLAIM_LAG
from headscope.results.numbers import ALPHA

FEWEST_POINTS = 12
POWERFUL_POINTS = 45
"""Differenced points with which a correlation of 0.5 is found four times in five (docs/claims.md)."""
MODERATE = 0.3
"""The claim fails only if the interval does not reach a correlation of this size."""

STATISTIC = "rank correlation of differenced reward and mass of importance gained, lag 0"


def judge(results: StudyResults) -> Claim:
    """Judge the reward coupling of every recipe whose runs logged a reward."""
    parts = []
    for recipe, runs in results.recipes().items():
        rewarded = [run for run in runs if run.rewards]
        if rewarded:
            parts.append(_part(recipe, rewarded))
    question = "Do new heads follow the reward?"
    return judge_claim("C3", question, parts, "no run with a logged reward is compared with its base")


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: rewards, and checkpoints enough over all seeds."""
    rewarded = [recipe for recipe in facts.recipes if recipe.rewards]
    if not rewarded:
        return [Gap("no variant has a reward log (GRPO trained here has one; elsewhere, reward_log:)")]
    gaps = []
    for recipe in rewarded:
        if recipe.checkpoints is None:
            continue
        # Each seed's differences are correlated on their own, which takes a few of them.
        points = recipe.seeds * (recipe.checkpoints - 1) if recipe.checkpoints > FEWEST_DIFFERENCES else 0
        size = f"{recipe.name} has {count_noun(points, 'differenced point')} ({count_runs(recipe)})"
        if points < FEWEST_POINTS:
            gaps.append(Gap(f"{size}, and needs {FEWEST_POINTS}: save more often, or add seeds"))
        elif points < POWERFUL_POINTS:
            gaps.append(Gap(f"{size}; {POWERFUL_POINTS} find a correlation of 0.5 four times in five", blocks=False))
    return gaps


def _part(recipe: str, runs: Sequence[Run]) -> Part:
    coupling = mass_coupling([(run.series, run.rewards) for run in runs])
    counts = reward_coupling([coupling_series(run.rewards) for run in runs])
    # The largest correlation over several lags would need half as many points again for the same power.
    estimate, p_value = coupling.at(CLAIM_LAG)
    of_counts, _ = counts.at(CLAIM_LAG)
    reason = (
        f"{STATISTIC}, of {recipe} is {estimate}, p = {p_value:.3f} against random phases ({estimate.n} points, "
        f"{coupling.seeds} seeds); of the number of new heads {of_counts}"
    )
    if estimate.n < FEWEST_POINTS:
        state, reason = OPEN, f"{recipe} has {estimate.n} differenced points; at least {FEWEST_POINTS} are needed"
    elif p_value <= ALPHA and estimate.low > 0:
        state = HOLDS
    elif p_value > ALPHA and estimate.high < MODERATE:
        state = FAILS
    else:
        state = OPEN
    return Part(recipe, STATISTIC, estimate, ">", 0.0, None, state, reason)
