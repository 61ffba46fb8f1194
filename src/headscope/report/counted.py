"""Tables of counts with the null beside each: by method, by name, by circuit size, of edges, layer by layer."""

from collections.abc import Sequence

from headscope.report.blocks import Table, Value
from headscope.report.findings import Comparison
from headscope.report.numbers import UNKNOWN, count, count_with_interval
from headscope.results.counts import COUNTED, Counts
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate

Comparisons = Sequence[Comparison]


def methods(comparisons: Comparisons) -> Table:
    """Core heads beside the paper's set difference, at the last checkpoint."""
    rows = []
    for each in comparisons:
        rows.append((each.variant, "core heads", *_cells(each.final.counts, each.final.null)))
        if each.paper:
            rows.append((each.variant, "paper", *_cells(each.paper[-1].counts, each.paper[-1].null)))
    caption = (
        "Counts by two methods, null in brackets. Core heads: in at least 90 % of bootstrap circuits. Paper: "
        "difference of the two circuits "
        "of the pooled scores, which has no contingent heads and counts flicker as emergence."
    )
    return Table(("variant", "method", *COUNTED), tuple(rows), caption, "methods")


def sets(comparisons: Comparisons) -> Table:
    """The heads by name, at the last checkpoint."""
    rows = []
    for each in comparisons:
        null = UNKNOWN if each.final.doubled_null is None else str(each.final.doubled_null)
        rows.append((each.variant, str(each.final.new), str(each.final.lost), str(each.final.doubled), null))
    caption = (
        "The heads by name, last checkpoint. Doubled: the head's share of all |score| more than doubled, whatever the "
        "circuit (at most 5 % false ones expected); beside it the same for the base on fresh pairs."
    )
    return Table(("variant", "new heads", "lost heads", "doubled", "doubled, null"), tuple(rows), caption, "sets")


def ladder(comparisons: Comparisons) -> Table:
    """The last checkpoint's counts at every circuit size."""
    rows = tuple(
        (
            each.variant,
            f"{fraction:.1%}",
            *_cells(rung["counts"], rung["null"])[:3],
            count_with_interval(rung["excess"].new, sign=True),
        )
        for each in comparisons
        for fraction, rung in each.ladder.items()
    )
    caption = (
        "Core heads at other circuit sizes (share of all edges), last checkpoint, null in brackets: a count that one "
        "size shows alone is the threshold's."
    )
    return Table(("variant", "edges", "kept", "new", "lost", "new above null"), rows, caption, "ladder")


def edges(comparisons: Comparisons) -> Table:
    """Edges kept, born and lost at the last checkpoint."""
    rows = tuple(
        (
            each.variant,
            *_cells(found.counts, found.null)[:3],
            count_with_interval(found.excess.new, sign=True),
            ", ".join(found.born[:_NAMED]) or "none",
        )
        for each in comparisons
        if (found := each.final.edges) is not None
    )
    caption = (
        f"Edges by the method for heads, last checkpoint, null in brackets; of the born ones the {_NAMED} strongest."
    )
    return Table(("variant", "kept", "born", "lost", "born above null", "born"), rows, caption, "edges")


_NAMED = 5


def layers(comparisons: Comparisons) -> Table:
    """The counts layer by layer, at the last checkpoint."""
    rows: list[tuple[Value, ...]] = []
    for each in comparisons:
        found = each.final.layers
        for layer in range(0 if found is None else found.value.shape[1]):
            rows.append((each.variant, layer, *(_in_layer(each.final, status, layer) for status in range(3))))
    caption = "Core heads in each layer, last checkpoint, null in brackets; 95 % intervals over pairs."
    return Table(("variant", "layer", *COUNTED[:3]), tuple(rows), caption, "layers")


def _in_layer(result: Emergence, status: int, layer: int) -> str:
    found = result.layers
    if found is None:
        return UNKNOWN
    value, low, high = (float(grid[status, layer]) for grid in (found.value, found.low, found.high))
    seen = Estimate(value, low, high, result.pairs, "pair bootstrap")
    return f"{count_with_interval(seen)} ({count(float(found.null[status, layer]))})"


def _cells(seen: Counts, null: Counts) -> tuple[str, ...]:
    pairs = ((getattr(seen, name), getattr(null, name)) for name in COUNTED)
    return tuple(f"{count_with_interval(one)} ({count(other.value)})" for one, other in pairs)
