"""C3: does the number of new heads follow the reward?"""

from headscope.comparison.claims.parts import judge_claim
from headscope.comparison.claims.study_results import StudyResults
from headscope.comparison.coupling import coupling_series, reward_coupling
from headscope.measures.multiplicity import ALPHA
from headscope.results.claim import FAILS, HOLDS, OPEN, Claim, Part
from headscope.results.coupling import Coupling
from headscope.results.estimate import Estimate

FEWEST_POINTS = 12
MODERATE = 0.3
"""The claim fails only if no lag's interval reaches a correlation of this size."""

STATISTIC = "largest rank correlation of differenced reward and new heads over lags 0-3"


def judge(results: StudyResults) -> Claim:
    """Judge the reward coupling of every recipe whose runs logged a reward."""
    parts = []
    for recipe, runs in results.recipes().items():
        series = [coupling_series(run.rewards) for run in runs if run.rewards]
        if series:
            parts.append(_part(recipe, reward_coupling(series)))
    question = "Does the number of new heads follow the reward?"
    return judge_claim("C3", question, parts, "no run of the study logged a reward")


def _part(recipe: str, coupling: Coupling) -> Part:
    best = coupling.best
    # At lag 0 every differenced point counts; a shift leaves some out.
    points = int(coupling.points[coupling.lags == 0].item())
    low, high = float(coupling.low[best]), float(coupling.high[best])
    estimate = Estimate(float(coupling.correlation[best]), low, high, points, "Bonett-Wright 95%")
    reason = (
        f"{STATISTIC} of {recipe} is {estimate} at lag {coupling.lags[best]}, p = {coupling.after_p:.3f} "
        f"against random phases ({points} points, {coupling.seeds} seeds)"
    )
    if points < FEWEST_POINTS:
        state, reason = OPEN, f"{recipe} has {points} differenced points; at least {FEWEST_POINTS} are needed"
    elif coupling.after_p <= ALPHA and estimate.low > 0:
        state = HOLDS
    elif coupling.after_p > ALPHA and (coupling.high[coupling.lags >= 0] < MODERATE).all():
        state = FAILS
    else:
        state = OPEN
    return Part(recipe, STATISTIC, estimate, ">", 0.0, None, state, reason)
