"""Head counts: heads kept, new and lost, with the numbers that the base against itself would show."""

from collections.abc import Sequence

import numpy as np

from headscope.report.run_results import RunResults, with_result
from headscope.report.tables.faithfulness import faithfulness_cell
from headscope.results.comparison import Comparison
from headscope.results.counts import COUNTED
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.numbers import UNKNOWN, format_count_estimate, format_estimate, state_p
from headscope.results.table import Cell, Row, Table, estimate_cell, interval_columns, pairs_cell
from headscope.results.training_effects import TrainingEffects

_CAPTION = (
    "95 % intervals over problems; null: the base against itself, mean over random halves of its problems and the "
    "range of 95 % of them; p: share of the halves with as many new heads. Doubled: heads whose share of all |score| "
    "more than doubled, and so many of the base on fresh pairs."
)


def heads(results: RunResults) -> Table:
    """Return the counts of each variant's last checkpoint, with the faithfulness of its circuit."""
    rows: list[Row] = []
    for comparison in results.comparisons:
        variant, step = comparison.variant, comparison.steps[-1]
        row = _count_columns(variant, step, comparison.final)
        row["new of null twins"] = _twin_counts(results, variant)
        row |= _effect_columns(results, variant)
        rows.append(row | {"faithfulness": faithfulness_cell(results, variant, variant, step)})
    caption = (
        f"Heads at each variant's last checkpoint. {_CAPTION} Null twins: the same training without its signal. Effect "
        "of new heads: how many nats more replacing one costs than in the base, and than in a null twin, on pairs of "
        f"other problems (page Effects). Faithfulness: what the circuit carries alone, 1 for the "
        f"{' '.join(('whole model.', *unfaithful_circuits(results)))}"
    )
    return Table("heads", tuple(rows), caption)


def _twin_counts(results: RunResults, variant: str) -> Cell | None:
    """Return the numbers of new heads of the null twins, ``4 [1, 6] sft.shuffled_answers``; None without a twin."""
    twins = results.null_twins(variant)
    counts = {}
    for comparison in results.comparisons:
        if comparison.variant in twins:
            counts[comparison.variant] = comparison.final.counts.new
    if not counts:
        return None
    return Cell("; ".join(f"{format_count_estimate(count)} {name}" for name, count in counts.items()), counts)


def _effect_columns(results: RunResults, variant: str) -> Row:
    """Return the training effect of the new heads, and its excess over each null twin's; None if not measured."""
    row: Row = {"effect of new heads": None, "above its twin": None}
    for _, result in with_result(results.in_order(TrainingEffects, variant=variant)):
        row["effect of new heads"] = estimate_cell(result.training.sets.get("new"), sign=True)
        above = {name: contrast.sets["new"] for name, contrast in result.above_twin.items() if "new" in contrast.sets}
        if above:
            words = [f"{format_estimate(estimate, sign=True)} {name}" for name, estimate in above.items()]
            row["above its twin"] = Cell("; ".join(words), above)
    return row


def unfaithful_circuits(results: RunResults) -> tuple[str, ...]:
    """Return a sentence on every variant whose circuits do not carry the behaviour."""
    return tuple(
        f"{comparison.variant}: {comparison.circuit.caveat}, so its counts are of edges that are no circuit."
        for comparison in results.comparisons
        if comparison.circuit is not None and comparison.circuit.caveat
    )


def checkpoints(results: RunResults) -> Table:
    """Return the counts of every checkpoint."""
    rows: list[Row] = []
    for comparison in results.comparisons:
        variant = comparison.variant
        for step, emergence in comparison.series:
            faithfulness = faithfulness_cell(results, variant, variant, step)
            rows.append(_count_columns(variant, step, emergence) | {"faithfulness": faithfulness})
    caption = f"Heads at every checkpoint. {_CAPTION} Faithfulness is measured at the last."
    return Table("checkpoints", tuple(rows), caption)


def _count_columns(variant: str, step: int, emergence: Emergence) -> Row:
    counts, null, excess = emergence.counts, emergence.null, emergence.excess.new
    doubled, by_chance = emergence.doubled, emergence.doubled_null
    doubled_text = f"{len(doubled)} ({UNKNOWN if by_chance is None else len(by_chance)})"
    new_above_null = f"{format_count_estimate(excess, sign=True)} ({state_p(emergence.new_p_value)})"
    return {
        "variant": variant,
        "step": step,
        "kept": _count_with_null(counts.kept, null.kept),
        "new": _count_with_null(counts.new, null.new),
        "lost": _count_with_null(counts.lost, null.lost),
        "new above null": Cell(new_above_null, {"excess": excess, "p_value": emergence.new_p_value}),
        "doubled (null)": Cell(doubled_text, {"heads": doubled, "null": by_chance}),
        "pairs": pairs_cell(emergence.size),
        "new heads": Cell(str(emergence.new), emergence.new),
    }


def _count_with_null(count: Estimate, null: Estimate) -> Cell:
    text = f"{format_count_estimate(count)} (null {format_count_estimate(null)})"
    return Cell(text, {"count": count, "null": null})


def head_counts_data(comparisons: Sequence[Comparison]) -> Table:
    """Return the data of the figure of head counts."""
    rows: list[Row] = []
    for comparison in comparisons:
        emergence = comparison.final
        for status in COUNTED[:3]:
            row: Row = {"variant": comparison.variant, "status": status}
            row |= interval_columns("heads", getattr(emergence.counts, status))
            row |= interval_columns("null", getattr(emergence.null, status), "null ")
            rows.append(row | interval_columns("above null", getattr(emergence.excess, status), "excess "))
    return Table("head-counts", tuple(rows), "One row per variant and status, last checkpoint.")


def cohorts_data(comparisons: Sequence[Comparison]) -> Table:
    """Return the data of the figure of cohorts."""
    rows: list[Row] = []
    for comparison in comparisons:
        dynamics = comparison.dynamics
        for index, (step, emergence) in enumerate(comparison.series):
            emergent = dynamics.emergent[index]
            row: Row = {
                "variant": comparison.variant,
                "step": step,
                "new heads": int(emergent.sum()),
                "low": emergence.counts.new.low,
                "high": emergence.counts.new.high,
                "new for the first time": int(np.sum(emergent & (dynamics.first == index))),
                "base heads kept": int(dynamics.kept_counts[index]),
                "null new": emergence.null.new.value,
            }
            rows.append(row)
    return Table("cohorts", tuple(rows), "One row per checkpoint.")
