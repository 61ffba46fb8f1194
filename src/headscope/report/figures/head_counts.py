"""Head counts of the last checkpoint with their null: the overview's one figure."""

from collections.abc import Sequence

import plotly.graph_objects as go

from headscope.report.blocks import Figure, Panel, Table
from headscope.report.figures.canvas import error_bars, label, new_plot
from headscope.report.findings import Comparison
from headscope.report.palette import PURPLE, STATUS
from headscope.results.emergence import Status

_COUNTED = (Status.KEPT, Status.NEW, Status.LOST)
_LYING = 4


def head_counts(comparisons: Sequence[Comparison]) -> Figure:
    """One panel per status; variants along the axis."""
    result = comparisons[0].final
    return Figure(
        name="head-counts",
        question="How many heads did training keep, create and prune, and how many would chance show?",
        reading="Marks: heads of that status at the last checkpoint, with the interval over pairs. Purple lines: the "
        "same count for the base against itself on other pairs. New or lost heads whose interval reaches the purple "
        "one are no more than test-retest noise; for kept heads it is what other pairs alone would leave.",
        basis=f"Out of {result.status.size} heads; {result.pairs} pairs per model, 95 % intervals from "
        f"{result.resamples} resamples of the "
        f"pairs; null: {result.null_source}, {result.null_pairs} pairs a side.",
        panels=tuple(Panel(STATUS[status].name, _plot(comparisons, status)) for status in _COUNTED),
        table=_table(comparisons),
    )


def _plot(comparisons: Sequence[Comparison], status: Status) -> go.Figure:
    mark, name = STATUS[status], status.name.lower()
    names = [label(each.variant) for each in comparisons]
    series = (
        (
            "null: base against itself",
            "null",
            {"symbol": "line-ew-open", "color": PURPLE, "size": 18, "line": {"width": 3}},
        ),
        (f"{name} heads", "counts", {"symbol": mark.symbol, "color": mark.colour, "size": 11}),
    )
    # Many names stand upright below the axis, and must not take their room from the plot.
    plot = new_plot(y="heads", height=280 + (6 * max(map(len, names)) if len(names) > _LYING else 0))
    for title, source, marker in series:
        estimates = [getattr(getattr(each.final, source), name) for each in comparisons]
        bars = error_bars(estimates) | {"color": marker["color"]}
        plot.add_scatter(
            x=names, y=[e.value for e in estimates], error_y=bars, mode="markers", marker=marker, name=title
        )
    plot.update_yaxes(rangemode="tozero")
    plot.update_xaxes(type="category", range=[-0.6, len(names) - 0.4])
    return plot


def _table(comparisons: Sequence[Comparison]) -> Table:
    rows = []
    for each in comparisons:
        for status in _COUNTED:
            name = status.name.lower()
            seen, null, excess = (getattr(getattr(each.final, source), name) for source in ("counts", "null", "excess"))
            spread = (
                seen.value,
                seen.low,
                seen.high,
                null.value,
                null.low,
                null.high,
                excess.value,
                excess.low,
                excess.high,
            )
            rows.append((each.variant, name, *spread))
    columns = (
        "variant",
        "status",
        "heads",
        "low",
        "high",
        "null",
        "null low",
        "null high",
        "above null",
        "excess low",
        "excess high",
    )
    return Table(columns, tuple(rows), "One row per variant and status, last checkpoint.", "head-counts")
