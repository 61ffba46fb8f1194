"""The last checkpoint counted in other ways: by the paper's method, by name, at other sizes, of edges, by layer."""

from collections.abc import Sequence

from headscope.results.comparison import Comparison
from headscope.results.counts import COUNTED, Counts
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.node_names import edge_words
from headscope.results.table import Cell, Row, Table, count_and_null_cell, count_cell

Comparisons = Sequence[Comparison]

STRONGEST = 5
"""Born edges that are named."""


def methods(comparisons: Comparisons) -> Table:
    """Return the counts of core heads next to those of the paper's set difference."""
    rows: list[Row] = []
    for comparison in comparisons:
        results = {"core heads": comparison.final}
        if comparison.paper:
            results["paper"] = comparison.paper[-1]
        for method, emergence in results.items():
            row: Row = {"variant": comparison.variant, "method": method}
            rows.append(row | _count_columns(emergence.counts, emergence.null))
    caption = (
        "Counts by two methods at the last checkpoint, null in brackets. Core heads: in at least 90 % of bootstrap "
        "circuits. Paper: difference of the two circuits of the pooled scores, which has no contingent class, so "
        "unstable heads are counted as new."
    )
    return Table("methods", tuple(rows), caption)


def named_heads(comparisons: Comparisons) -> Table:
    """Return the new, lost and doubled heads by name."""
    rows: list[Row] = []
    for comparison in comparisons:
        emergence = comparison.final
        row: Row = {"variant": comparison.variant}
        sets = {"new heads": emergence.new, "lost heads": emergence.lost, "doubled": emergence.doubled}
        for column, heads in (sets | {"doubled, null": emergence.doubled_null}).items():
            row[column] = None if heads is None else Cell(str(heads), heads)
        rows.append(row)
    caption = (
        "The heads by name, last checkpoint. Doubled: the head's share of all |score| more than doubled, whatever "
        "the circuit (at most 5 % false ones expected); next to it the same for the base on fresh pairs."
    )
    return Table("sets", tuple(rows), caption)


def circuit_sizes(comparisons: Comparisons) -> Table:
    """Return the counts at every circuit size."""
    rows: list[Row] = []
    for comparison in comparisons:
        for size in comparison.ladder:
            row: Row = {"variant": comparison.variant, "edges": Cell(f"{size.fraction:.1%}", size.fraction)}
            excess: Row = {"new above null": count_cell(size.excess.new, sign=True)}
            rows.append(row | _count_columns(size.counts, size.null, COUNTED[:3]) | excess)
    caption = (
        "Core heads at other circuit sizes (share of all edges), last checkpoint, null in brackets: a count that one "
        "size shows alone is the threshold's."
    )
    return Table("ladder", tuple(rows), caption)


def edges(comparisons: Comparisons) -> Table:
    """Return the edges kept, born and lost."""
    rows: list[Row] = []
    for comparison in comparisons:
        change = comparison.final.edges
        if change is not None:
            row: Row = {
                "variant": comparison.variant,
                "kept": count_and_null_cell(change.counts.kept, change.null.kept),
                "born": count_and_null_cell(change.counts.new, change.null.new),
                "lost": count_and_null_cell(change.counts.lost, change.null.lost),
                "born above null": count_cell(change.excess.new, sign=True),
                "strongest born": Cell(", ".join(map(edge_words, change.born[:STRONGEST])) or "none", change.born),
            }
            rows.append(row)
    caption = (
        f"Edges by the method for heads, last checkpoint, null in brackets; of the born ones the {STRONGEST} strongest."
    )
    return Table("edges", tuple(rows), caption)


def layers(comparisons: Comparisons) -> Table:
    """Return the counts of each layer."""
    rows: list[Row] = []
    for comparison in comparisons:
        profile = comparison.final.layers
        for layer in range(0 if profile is None else profile.value.shape[1]):
            row: Row = {"variant": comparison.variant, "layer": layer}
            for status, column in enumerate(COUNTED[:3]):
                row[column] = _layer_cell(comparison.final, status, layer)
            rows.append(row)
    caption = "Core heads in each layer, last checkpoint, null in brackets; 95 % intervals over problems."
    return Table("layers", tuple(rows), caption)


def _layer_cell(emergence: Emergence, status: int, layer: int) -> Cell | None:
    profile = emergence.layers
    if profile is None:
        return None
    cell = (status, layer)
    low, high = float(profile.low[cell]), float(profile.high[cell])
    size = emergence.size
    count = Estimate(float(profile.value[cell]), low, high, size.problems, f"{size.unit} bootstrap")
    # The null of a layer is kept as a mean alone.
    halved = emergence.null_size.problems
    null = Estimate(float(profile.null[cell]), float("nan"), float("nan"), halved, emergence.null_source)
    return count_and_null_cell(count, null)


def _count_columns(counts: Counts, null: Counts, statuses: Sequence[str] = COUNTED) -> Row:
    return {status: count_and_null_cell(getattr(counts, status), getattr(null, status)) for status in statuses}
