"""Verdict rules (docs/claims.md): a part holds, fails or is open; a claim is the conjunction of its parts."""

import math
from collections.abc import Sequence

from headscope.results.claim import FAILS, HOLDS, OPEN, Claim, Part
from headscope.results.estimate import Estimate
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED


def judge_part(
    subject: str,
    statistic: str,
    estimate: Estimate,
    side: str,
    bound: float,
    *,
    least: tuple[int, str] = (1, "units"),
    null: Estimate | None = None,
) -> Part:
    """Return whether ``estimate`` lies beyond ``bound`` on ``side`` with its whole interval.

    Args:
        subject: the recipe, task or operator the part is about.
        statistic: what was estimated, in words.
        estimate: of the statistic.
        side: ``>`` or ``<``.
        bound: fixed before the run.
        least: fewest units for the estimate, and what they are; with fewer the part is open.
        null: the same statistic under the null, for comparison.
    """
    fewest, unit = least
    if estimate.n < fewest:
        state, reason = OPEN, f"{subject}: {statistic} has {estimate.n} {unit}; at least {fewest} are needed"
    else:
        state = _state(estimate, side, bound)
        reason = f"{subject}: {statistic} is {format_estimate(estimate)}; asked: {side} {bound:.3g}"
    return Part(subject, statistic, estimate, side, bound, null, state, reason)


def missing_part(subject: str, statistic: str, reason: str) -> Part:
    """Return an open part: the study has no result for it."""
    return Part(subject, statistic, None, ">", 0.0, None, OPEN, reason)


def judge_claim(name: str, question: str, parts: Sequence[Part], lacking: str) -> Claim:
    """Return the claim as the conjunction of its parts; ``lacking`` is the reason if there are no parts."""
    if not parts:
        return Claim(name, question, UNDECIDED, lacking, ())
    # A part that fails decides first, then one that is open, then those that hold.
    for state, reading in ((FAILS, NOT_SUPPORTED), (OPEN, UNDECIDED)):
        for part in parts:
            if part.state == state:
                return Claim(name, question, reading, part.reason, tuple(parts))
    return Claim(name, question, SUPPORTED, "; ".join(part.reason for part in parts), tuple(parts))


def format_estimate(estimate: Estimate) -> str:
    """Return value, interval and number of units as a reason shows them."""
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}] (n = {estimate.n})"


def _state(estimate: Estimate, side: str, bound: float) -> str:
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return OPEN
    if side == ">":
        is_beyond, is_short = estimate.low > bound, estimate.high <= bound
    else:
        is_beyond, is_short = estimate.high < bound, estimate.low >= bound
    if is_beyond:
        return HOLDS
    return FAILS if is_short else OPEN
