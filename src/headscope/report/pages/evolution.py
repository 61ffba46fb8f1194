"""Evolution: cohorts of emergent heads over checkpoints, how often each head is active, and how long they stay."""

import math

from headscope.report.blocks import Block, Notice, Page, Table, Value
from headscope.report.figures.cohorts import cohorts
from headscope.report.figures.frequency import frequency
from headscope.report.findings import Findings
from headscope.report.numbers import UNKNOWN, rounded, with_interval
from headscope.results.persistence import Persistence


def evolution(findings: Findings) -> Page:
    """Needs at least one comparison."""
    blocks: tuple[Block, ...] = (Notice("No comparison of checkpoints is done yet."),)
    if findings.comparisons:
        blocks = (cohorts(findings.comparisons), frequency(findings.comparisons), _events(findings))
        blocks = (*blocks, _persistence(findings)) if any(each.persistence for each in findings.comparisons) else blocks
    return Page("evolution", "Evolution", "How do heads come and go over training?", blocks)


def _events(findings: Findings) -> Table:
    rows = []
    for each in findings.comparisons:
        rows += [(each.variant, event.step, event.head, event.kind) for event in each.dynamics.events]
    hold = findings.comparisons[0].dynamics.hold
    caption = (
        f"Births, deaths and returns of emergent heads; a change counts once it holds for {hold} checkpoints in a row."
    )
    return Table(("variant", "step", "head", "event"), tuple(rows), caption, "events")


def _persistence(findings: Findings) -> Table:
    rows = tuple((each.variant, *_stay(each.persistence)) for each in findings.comparisons if each.persistence)
    columns = (
        "variant",
        "persistence",
        "turnover",
        "still there at the end",
        "half-life, steps",
        "heads",
        "checkpoints",
    )
    caption = (
        "How long emergent heads stay, of those established. Persistence: chance to be there at the next checkpoint; "
        "turnover: heads that change between two checkpoints, of those at either; half-life: Kaplan-Meier. 95 % "
        "intervals over heads; a null twin is a row of its own."
    )
    return Table(columns, rows, caption, "persistence")


def _stay(found: Persistence) -> tuple[Value, ...]:
    shares = (with_interval(part) for part in (found.persistence, found.turnover, found.remaining))
    return (*shares, _half_life(found), found.heads, found.checkpoints)


def _half_life(found: Persistence) -> str:
    ends = (found.half_life.value, found.half_life.low, found.half_life.high)
    if math.isnan(ends[0]):
        return UNKNOWN
    value, low, high = ("beyond the run" if math.isinf(end) else rounded(end, 0) for end in ends)
    return value if low in (value, UNKNOWN) and high in (value, UNKNOWN) else f"{value} [{low}, {high}]"
