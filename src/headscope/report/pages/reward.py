"""Reward: the training curve above the head counts, and whether the two move together."""

from headscope.report.blocks import Block, Notice, Page, Table, Value
from headscope.report.figures import reward as figure
from headscope.report.findings import Findings
from headscope.report.numbers import rounded, with_interval
from headscope.results.coupling import Coupling
from headscope.results.estimate import Estimate


def reward(findings: Findings) -> Page:
    """Needs the log of at least one training run; one trained elsewhere has its reward at the checkpoints alone."""
    checkpoints = {each.variant: each.reward for each in findings.comparisons}
    found = {name: findings.training.get(name) or checkpoints.get(name, ()) for name in findings.variants}
    logs = {name: log for name, log in found.items() if log}
    untrained = [name for name in findings.variants if name not in logs]
    blocks: tuple[Block, ...] = (figure.reward(logs, findings.comparisons),) if logs else ()
    if any(each.coupling for each in findings.comparisons):
        blocks = (*blocks, _coupling(findings))
    if untrained:
        blocks = (Notice(f"No training log in this run for: {', '.join(untrained)}."), *blocks)
    return Page("reward", "Reward", "What was training doing while heads came and went?", blocks)


def _coupling(findings: Findings) -> Table:
    rows: list[tuple[Value, ...]] = []
    for each in findings.comparisons:
        if each.coupling is not None:
            rows += [(each.variant, *_at_lag(each.coupling, index)) for index in range(len(each.coupling.lags))]
    columns = ("variant", "lag, checkpoints", "correlation", "p", "p of the largest", "points")
    caption = (
        "Spearman's correlation of the differenced reward and number of new heads; with a positive lag heads come "
        "after the reward. p: one-sided, against rewards of the same spectrum with random phases; at the largest "
        "correlation from lag 0 on also against the largest of each draw. One run; the claims pool its seeds."
    )
    return Table(columns, tuple(rows), caption, "coupling")


def _at_lag(found: Coupling, index: int) -> tuple[Value, ...]:
    value, low, high = (float(ends[index]) for ends in (found.correlation, found.low, found.high))
    points = int(found.points[index])
    correlation = with_interval(Estimate(value, low, high, points, "Bonett-Wright"))
    largest = rounded(found.after_p, 3) if index == found.best else ""
    return int(found.lags[index]), correlation, rounded(float(found.p_value[index]), 3), largest, points
