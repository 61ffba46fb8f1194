"""The number of heads that are new after training, pooled over a recipe's seeds, and of those that remain."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from headscope.comparison.claims.parts import judge_part, missing_part
from headscope.comparison.claims.study_results import Run
from headscope.comparison.dynamics import FEWEST_CHECKPOINTS
from headscope.comparison.persistence import persistence
from headscope.measures.independent_estimates import difference, pool_estimates, scale_estimate
from headscope.measures.intervals import wilson
from headscope.results.claim import Part
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.training_effects import LEAST_SHARE

MANY = 0.05
"""Share of a model's heads: what the test-retest rule may get wrong."""

EXCESS_SHARE = "excess of new heads, as a share of all"
REMAINING = "share of established emergent heads that remain"
EFFECT_SHARE = "training effect of the new heads, as a share of what the corrupt text costs"
NEW = "new"
FEWEST_HEADS = (5, "heads")


def excess_share(results: Sequence[Emergence]) -> Estimate:
    """Return the excess of new heads over the null, as a share of all heads."""
    return pool_estimates([scale_estimate(result.excess.new, 1 / result.status.size) for result in results])


def null_share(results: Sequence[Emergence]) -> Estimate:
    """Return the new heads of base against itself, as a share of all heads."""
    return pool_estimates([scale_estimate(result.null.new, 1 / result.status.size) for result in results])


def excess_part(recipe: str, runs: Sequence[Run], side: str, twins: Sequence[Run]) -> Part:
    """Return the part: the last checkpoints' excess of new heads is above (``>``) or below (``<``) ``MANY``.

    twins: null twins of the recipe, whose counts are shown next to its own.
    """
    results = [run.last for run in runs]
    if crowded := _crowded_part(recipe, runs, EXCESS_SHARE, f"{side} {MANY * results[0].status.size:.3g}"):
        return crowded
    part = judge_part(recipe, EXCESS_SHARE, excess_share(results), side, MANY, null=null_share(results))
    if not twins:
        return part
    counts = ", ".join(f"{twin.variant} {twin.last.counts.new.value:.3g}" for twin in twins)
    return replace(part, reason=f"{part.reason}; new heads {new_heads(runs).value:.3g}, of its null twins: {counts}")


def new_heads_part(recipe: str, runs: Sequence[Run], other: str, others: Sequence[Run], side: str) -> Part:
    """Return the part: the runs have more (``>``) or fewer (``<``) new heads than others, which ``other`` names."""
    statistic = f"new heads − those of {other}"
    if crowded := _crowded_part(recipe, [*runs, *others], statistic, f"{side} 0"):
        return crowded
    return judge_part(recipe, statistic, difference(new_heads(runs), new_heads(others)), side, 0.0)


def _crowded_part(recipe: str, runs: Sequence[Run], statistic: str, asked: str) -> Part | None:
    """Return an open part if the base's circuit of a run holds nearly all heads, so that hardly any could be new."""
    crowded = next((run.last for run in runs if run.last.crowded), None)
    if crowded is None:
        return None
    reason = (
        f"{recipe}: {statistic} is not judged, as only {crowded.room} of {crowded.status.size} heads are outside the "
        f"base's circuit of {crowded.fraction:.1%} of the edges and could be new; asked: {asked}"
    )
    return missing_part(recipe, statistic, reason)


def training_effect_parts(recipe: str, runs: Sequence[Run]) -> list[Part]:
    """Return whether the model came to rely on the new heads, and more than each null twin did; nothing if no training
    effects were measured.
    """
    measured = [run.effects for run in runs if run.effects is not None]
    contrasts = {EFFECT_SHARE: [(effects, effects.training) for effects in measured]}
    for effects in measured:
        for twin, contrast in effects.above_twin.items():
            contrasts.setdefault(f"{EFFECT_SHARE} − that in its twin {twin}", []).append((effects, contrast))
    parts = []
    for statistic, of_runs in contrasts.items():
        shares = []
        for effects, contrast in of_runs:
            if NEW in contrast.sets and max(effects.corruption) > 0:
                shares.append(scale_estimate(contrast.sets[NEW], 1 / max(effects.corruption)))
        if shares:
            bound = LEAST_SHARE if statistic == EFFECT_SHARE else 0.0
            parts.append(judge_part(recipe, statistic, pool_estimates(shares), ">", bound))
    return parts


def new_heads(runs: Sequence[Run]) -> Estimate:
    """Return the number of new heads at the last checkpoint."""
    return pool_estimates([run.last.counts.new for run in runs])


def remaining_parts(recipes: Mapping[str, Sequence[Run]], side: str) -> list[Part]:
    """Return whether more (``>``) or less (``<``) than half of the established heads of each recipe remain.

    Only recipes with enough checkpoints for a head to come and to leave are judged; those of a finished model, such as
    R1-Distill, cannot be followed. The parts are open if no recipe has as many.
    """
    followed = {}
    for recipe, runs in recipes.items():
        if any(len(run.series) >= FEWEST_CHECKPOINTS for run in runs):
            followed[recipe] = runs
    if not followed:
        reason = f"{{}} has fewer than {FEWEST_CHECKPOINTS} checkpoints: no head could be seen to come and to leave"
        return [missing_part(recipe, REMAINING, reason.format(recipe)) for recipe in recipes]
    return [_remaining_part(recipe, runs, side) for recipe, runs in followed.items()]


def _remaining_part(recipe: str, runs: Sequence[Run], side: str) -> Part:
    shares = [persistence(run.dynamics).remaining for run in runs]
    shares = [share for share in shares if share.n]  # without heads the share is NaN
    # The rounded product is the number of heads that the share was made of.
    remaining = wilson(sum(round(share.value * share.n) for share in shares), sum(share.n for share in shares))
    return judge_part(recipe, REMAINING, remaining, side, 0.5, least=FEWEST_HEADS)
