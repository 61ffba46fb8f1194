"""Verdict rules (docs/claims.md): a part holds, fails or is open; a claim is the conjunction of its parts."""

import math
from collections.abc import Sequence

from headscope.results.claim import FAILS, HOLDS, OPEN, Claim, Part
from headscope.results.estimate import Estimate
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED


def part(
    subject: str,
    statistic: str,
    estimate: Estimate,
    side: str,
    bound: float,
    *,
    least: tuple[int, str] = (1, "unit"),
    null: Estimate | None = None,
) -> Part:
    """``estimate`` must lie beyond ``bound`` on ``side`` with its whole interval; open below ``least`` units.

    least: how many units the estimate must rest on, and what they are.
    """
    fewest, unit = least
    if estimate.n < fewest:
        state, reason = OPEN, f"{statistic} of {subject} rests on {estimate.n} {unit}; at least {fewest} are needed"
    else:
        state = _state(estimate, side, bound)
        reason = f"{statistic} of {subject} is {shown(estimate)}, asked: {side} {bound:.3g}"
    return Part(subject, statistic, estimate, side, bound, null, state, reason)


def missing(subject: str, statistic: str, reason: str) -> Part:
    """A part for which the study has no result."""
    return Part(subject, statistic, None, ">", 0.0, None, OPEN, reason)


def claim(name: str, question: str, parts: Sequence[Part], lacking: str) -> Claim:
    """The conjunction; ``lacking`` is the reason where there is no part at all."""
    if not parts:
        return Claim(name, question, UNDECIDED, lacking, ())
    for state, reading in ((FAILS, NOT_SUPPORTED), (OPEN, UNDECIDED)):
        first = next((each for each in parts if each.state == state), None)
        if first is not None:
            return Claim(name, question, reading, first.reason, tuple(parts))
    return Claim(name, question, SUPPORTED, "; ".join(each.reason for each in parts), tuple(parts))


def shown(estimate: Estimate) -> str:
    """Value, interval and what it rests on."""
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}] (n = {estimate.n})"


def _state(estimate: Estimate, side: str, bound: float) -> str:
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return OPEN
    beyond, short = (
        (estimate.low > bound, estimate.high <= bound)
        if side == ">"
        else (estimate.high < bound, estimate.low >= bound)
    )
    return HOLDS if beyond else FAILS if short else OPEN
