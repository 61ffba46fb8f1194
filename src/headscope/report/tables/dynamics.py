"""Dynamics: when heads come and go, how long they stay, and whether they follow the reward."""

import math
from collections.abc import Mapping, Sequence

from headscope.report.run_results import Log, RunResults
from headscope.results.comparison import Comparison
from headscope.results.coupling import CLAIM_LAG, Coupling
from headscope.results.numbers import UNKNOWN, format_estimate, format_number, state_p
from headscope.results.persistence import Persistence
from headscope.results.reward_coupling import RewardCoupling
from headscope.results.table import Cell, Row, Table, Value, estimate_cell, p_cell

Comparisons = Sequence[Comparison]


def events(comparisons: Comparisons) -> Table:
    """Return births, deaths and returns of emergent heads."""
    rows: list[Row] = []
    for comparison in comparisons:
        for event in comparison.dynamics.events:
            rows.append({"variant": comparison.variant, "step": event.step, "head": event.head, "event": event.kind})
    hold = comparisons[0].dynamics.hold
    caption = (
        f"Births, deaths and returns of emergent heads; a change counts once it holds for {hold} checkpoints in a row."
    )
    return Table("events", tuple(rows), caption)


def persistence(comparisons: Comparisons) -> Table:
    """Return how long emergent heads stay."""
    rows: list[Row] = []
    for comparison in comparisons:
        persistence = comparison.persistence
        if persistence is not None:
            row: Row = {
                "variant": comparison.variant,
                "persistence": estimate_cell(persistence.persistence),
                "turnover": estimate_cell(persistence.turnover),
                "still there at the end": estimate_cell(persistence.remaining),
                "half-life, steps": Cell(_half_life(persistence), persistence.half_life),
                "heads": persistence.heads,
                "checkpoints": persistence.checkpoints,
            }
            rows.append(row)
    caption = (
        "How long emergent heads stay, of those established. Persistence: chance to be there at the next checkpoint; "
        "turnover: heads that change between two checkpoints, of those at either; still there at the end: of those "
        "that came early enough to be seen to leave; half-life: Kaplan-Meier. 95 % intervals over heads; a null twin "
        "is a row of its own."
    )
    return Table("persistence", tuple(rows), caption)


def _half_life(persistence: Persistence) -> str:
    estimate = persistence.half_life
    if math.isnan(estimate.value):
        return UNKNOWN
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = ["beyond the run" if math.isinf(end) else format_number(end, 0) for end in ends]
    has_interval = low not in (value, UNKNOWN) or high not in (value, UNKNOWN)
    return f"{value} [{low}, {high}]" if has_interval else value


def coupling(comparisons: Comparisons) -> Table:
    """Return the correlation of reward and number of new heads, lag by lag."""
    rows: list[Row] = []
    for comparison in comparisons:
        if comparison.coupling is not None:
            for index in range(len(comparison.coupling.lags)):
                row: Row = {"variant": comparison.variant}
                rows.append(row | _lag_columns(comparison.coupling, index))
    caption = (
        "Spearman's correlation of the differenced reward and number of new heads; with a positive lag heads come "
        "after the reward. p: one-sided, against rewards of the same spectrum with random phases; at the largest "
        "correlation from lag 0 on also against the largest of each draw. One run."
    )
    return Table("coupling", tuple(rows), caption)


def reward_coupling(results: RunResults) -> Table:
    """Return the coupling of reward and mass of importance gained at claim C3's lag, per run and over the seeds of a
    recipe, next to its null twins'.
    """
    rows: list[Row] = []
    for unit in results.in_order(RewardCoupling):
        result = unit.whole
        twins = {name: coupling.at(CLAIM_LAG) for name, coupling in result.twins.items()}
        words = [f"{format_estimate(estimate)} ({state_p(p)}) {name}" for name, (estimate, p) in twins.items()]
        twin_cell = Cell("; ".join(words), twins) if twins else None
        couplings = dict(result.runs)
        if len(result.runs) > 1:
            couplings[f"{result.recipe}, {len(result.runs)} seeds"] = result.pooled
        for name, coupling in couplings.items():
            estimate, p_value = coupling.at(CLAIM_LAG)
            row: Row = {"variant": name, "correlation": estimate_cell(estimate, sign=True), "p": p_cell(p_value)}
            rows.append(row | {"points": estimate.n, "of null twins": twin_cell})
    caption = (
        "Does importance move to other heads when the reward rises? Spearman's correlation, at lag 0, of the "
        "differenced series of reward and mass of importance gained (sum over heads of what their share of all score "
        "grew by, against the base); 95 % intervals by Bonett and Wright; p: one-sided, against rewards of the same "
        "spectrum with random phases. Claim C3 asks for it over all seeds, from 12 points on."
    )
    return Table("reward-coupling", tuple(rows), caption)


def _lag_columns(coupling: Coupling, index: int) -> Row:
    correlation, p_value = coupling.at(int(coupling.lags[index]))
    largest: Value = p_cell(coupling.after_p) if index == coupling.best else ""
    return {
        "lag, checkpoints": int(coupling.lags[index]),
        "correlation": estimate_cell(correlation),
        "p": p_cell(p_value),
        "p of the largest": largest,
        "points": correlation.n,
    }


def reward_data(logs: Mapping[str, Log], comparisons: Mapping[str, Comparison]) -> Table:
    """Return the data of the reward figure: what was logged at each step, and the heads at each checkpoint."""
    rows: list[Row] = []
    for variant, log in logs.items():
        series = dict(comparisons[variant].series) if variant in comparisons else {}
        entries = {int(entry["step"]): entry for entry in reversed(log)}
        for step in sorted({*entries, *series}):
            entry, emergence = entries.get(step, {}), series.get(step)
            row: Row = {
                "variant": variant,
                "step": step,
                "reward": entry.get("reward"),
                "sd": entry.get("reward_sd"),
                "loss": entry.get("loss"),
                "completion tokens": entry.get("completion_length"),
                "new heads": None if emergence is None else len(emergence.new),
                "lost heads": None if emergence is None else len(emergence.lost),
            }
            rows.append(row)
    return Table("reward", tuple(rows), "One row per logged step or checkpoint.")
