"""Overlaps: core heads that two variants' circuits share, with the chance level."""

from headscope.report.run_results import RunResults
from headscope.results.estimate import Estimate
from headscope.results.overlap import CircuitOverlap
from headscope.results.table import Cell, Row, Table, estimate_cell, p_cell


def overlaps(results: RunResults) -> Table:
    """Return one row per two variants and way of making their circuits equal."""
    changes = results.relative_changes
    if changes is None:
        return Table("overlaps", ())
    caption = (
        "Core heads of two variants' last circuits, of as many edges each or each as large as a faithfulness of "
        f"{changes.faithfulness:.0%} needs. By chance: random sets with as many heads in each layer, mean and 95 % of "
        "them; p: the share of these that overlap as much. Ranks: Spearman over the importance of all heads, the same "
        "in both rows, 95 % interval. Each variant is scored on pairs of its own."
    )
    return Table("overlaps", tuple(_row(circuits) for circuits in changes.likeness), caption)


def _row(circuits: CircuitOverlap) -> Row:
    overlap = circuits.overlap
    chance = Estimate(overlap.chance, overlap.chance_low, overlap.chance_high, 0, "random sets 95 %")
    return {
        "variants": f"{circuits.first} / {circuits.second}",
        "equal": circuits.equal,
        "edges": Cell(" / ".join(f"{fraction:.1%}" for fraction in circuits.fractions), circuits.fractions),
        "shared heads": f"{overlap.shared} of {overlap.first} / {overlap.second}",
        "Jaccard": overlap.jaccard,
        "Jaccard by chance": estimate_cell(chance),
        "p": p_cell(overlap.p_value),
        "rank correlation": estimate_cell(circuits.ranks),
    }
