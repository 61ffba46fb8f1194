"""C3: does the number of new heads follow the reward?"""

from headscope.comparison.claims.deciding import claim
from headscope.comparison.claims.study_results import StudyResults
from headscope.comparison.coupling import coupling_series, reward_coupling
from headscope.measures.multiplicity import ALPHA
from headscope.results.claim import FAILS, HOLDS, OPEN, Claim, Part
from headscope.results.coupling import Coupling
from headscope.results.estimate import Estimate

FEWEST_POINTS = 12
MODERATE = 0.3
STATISTIC = "largest rank correlation of differenced reward and new heads over lags 0-3"


def follow_the_reward(results: StudyResults) -> Claim:
    """C3."""
    parts = []
    for recipe, runs in results.recipes():
        rewarded = [coupling_series(run.rewards) for run in runs if run.rewards]
        if rewarded:
            parts.append(_part(recipe, reward_coupling(rewarded)))
    question = "Does the number of new heads follow the reward?"
    return claim("C3", question, parts, "no run of the study logged a reward")


def _part(recipe: str, found: Coupling) -> Part:
    best, points = found.best, int(found.points[found.lags == 0].item())
    estimate = Estimate(
        float(found.correlation[best]), float(found.low[best]), float(found.high[best]), points, "Bonett-Wright 95%"
    )
    told = (
        f"{STATISTIC} of {recipe} is {estimate} at lag {found.lags[best]}, p = {found.after_p:.3f} "
        f"against random phases ({points} points, {found.seeds} seeds)"
    )
    if points < FEWEST_POINTS:
        state, told = OPEN, f"{recipe} has {points} differenced points; at least {FEWEST_POINTS} are needed"
    elif found.after_p <= ALPHA and estimate.low > 0:
        state = HOLDS
    elif found.after_p > ALPHA and (found.high[found.lags >= 0] < MODERATE).all():
        state = FAILS
    else:
        state = OPEN
    return Part(recipe, STATISTIC, estimate, ">", 0.0, None, state, told)
