"""Head counts of the last checkpoint with their null: the overview's one figure."""

from collections.abc import Sequence

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import error_bars, new_plot, plot_label
from headscope.report.palette import STATUS
from headscope.report.tables.heads import head_counts_data
from headscope.results.colours import PURPLE
from headscope.results.comparison import Comparison
from headscope.results.emergence import Status

_LYING, _STANDING = 4, 16
"""So many variants' names fit next to each other below the axis, and so many upright; of more there is a row each."""


def head_counts(comparisons: Sequence[Comparison]) -> Figure:
    """Draw one panel per status, variants along the axis."""
    final = comparisons[0].final
    return Figure(
        name="head-counts",
        question="How many heads did training keep, create and lose, and how many would chance show?",
        reading="Marks: heads of that status at the last checkpoint, with the interval over problems. Purple lines: "
        "the same count for the base against itself on other pairs. New or lost heads whose interval reaches the "
        "purple one are no more than test-retest noise; for kept heads it is what other pairs alone would leave.",
        basis=f"Out of {final.status.size} heads; {final.size} per model, 95 % intervals from "
        f"{final.resamples} resamples of the problems; null: {final.null_source}, {final.null_size} a side.",
        panels=tuple(_panel(comparisons, status) for status in (Status.KEPT, Status.NEW, Status.LOST)),
        table=head_counts_data(comparisons),
    )


def _panel(comparisons: Sequence[Comparison], status: Status) -> Panel:
    mark, name = STATUS[status], status.name.lower()
    variants = [plot_label(comparison.variant) for comparison in comparisons]
    along, across = ("y", "x") if len(variants) > _STANDING else ("x", "y")
    titles = {along: "", across: "heads"}
    plot = new_plot(x=titles["x"], y=titles["y"], height=_height(variants))
    line = {"symbol": f"line-{'ns' if along == 'y' else 'ew'}-open", "color": PURPLE, "size": 18, "line": {"width": 3}}
    point = {"symbol": mark.symbol, "color": mark.colour, "size": 11}
    for title, field, marker in (("null: base against itself", "null", line), (f"{name} heads", "counts", point)):
        estimates = [getattr(getattr(comparison.final, field), name) for comparison in comparisons]
        values = [estimate.value for estimate in estimates]
        bars = error_bars(estimates) | {"color": marker["color"]}
        points = {along: variants, across: values, f"error_{across}": bars}
        plot.add_scatter(**points, mode="markers", marker=marker, name=title)
    ends = [-0.6, len(variants) - 0.4]
    plot.update_layout(
        {
            f"{across}axis": {"rangemode": "tozero"},
            f"{along}axis": {"type": "category", "range": ends if along == "x" else ends[::-1], "dtick": 1},
        }
    )
    return Panel(mark.name, plot)


def _height(variants: Sequence[str]) -> int:
    """Return the plot's height: names must not take their room from it."""
    if len(variants) > _STANDING:
        return 120 + 18 * len(variants)
    return 280 + (6 * max(map(len, variants)) if len(variants) > _LYING else 0)
