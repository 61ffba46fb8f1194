"""Figures for papers and the README: matplotlib, vector-ready, on white."""

from typing import TYPE_CHECKING

import numpy as np

from headscope.errors import InputError
from headscope.report.palette import STATUS
from headscope.report.run_results import RunResults
from headscope.results.colours import PURPLE, VERMILION
from headscope.results.comparison import Comparison
from headscope.results.emergence import Status
from headscope.results.numbers import format_count
from headscope.runs.directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = {
    Status.ABSENT: (".", 8),
    Status.CONTINGENT: ("^", 30),
    Status.KEPT: ("o", 55),
    Status.NEW: ("D", 55),
    Status.LOST: ("X", 65),
}
"""Marker and area in square points, as on the emergence map of the page."""


def overview_figure(run: RunDirectory) -> "Figure":
    """Draw per variant the cohorts of new heads over training, next to what became of every head at the end.

    Save it with ``figure.savefig("heads.svg")`` or ``.png``. Raises InputError if no comparison is done.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    comparisons = RunResults(run).comparisons
    if not comparisons:
        raise InputError(f"run {run} has no finished comparison to draw; finish the run first")
    figure = Figure(figsize=(9.6, 2.9 * len(comparisons)), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    for (left, right), comparison in zip(figure.subplots(len(comparisons), 2, squeeze=False), comparisons, strict=True):
        _draw_cohorts(left, comparison)
        _draw_map(right, comparison)
    return figure


def _draw_cohorts(axes: "Axes", comparison: Comparison) -> None:
    from matplotlib import colormaps

    dynamics = comparison.dynamics
    steps = dynamics.steps
    colours = colormaps["cividis"](np.linspace(0.05, 1, len(steps)))
    axes.stackplot(steps, dynamics.cohorts, colors=colours, edgecolor="white", linewidth=0.4)
    axes.plot(steps, dynamics.kept_counts, "--", color=VERMILION, label="base heads kept")
    null = [emergence.null.new.value for emergence in comparison.emergence]
    # A pale line below the dotted one keeps it visible on every cohort.
    axes.plot(steps, null, color="white", linewidth=3)
    axes.plot(steps, null, ":", color=PURPLE, linewidth=2, label="null: new by chance")
    axes.set_title(f"{comparison.variant}: new heads by first appearance", fontsize=9)
    axes.set(xlabel="training step", ylabel="heads")
    axes.margins(x=0)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, frameon=False, loc="best")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_map(axes: "Axes", comparison: Comparison) -> None:
    final = comparison.final
    layers, heads = final.status.shape
    for status, (marker, size) in _MARKERS.items():
        rows, columns = np.nonzero(final.status == status)
        mark = STATUS[status]
        area = size * min(1.0, 64 / (layers * heads)) if status is not Status.ABSENT else 4
        axes.scatter(columns, rows, s=area, marker=marker, color=mark.colour, label=mark.name, linewidths=0)
    counts = f"{len(final.kept)} kept, {len(final.new)} new, {len(final.lost)} lost"
    null = f"null {format_count(final.null.new.value)} new, {final.size}"
    axes.set_title(f"step {comparison.steps[-1]}: {counts} ({null})", fontsize=9)
    axes.set(xlabel="head", ylabel="layer", xlim=(-0.6, heads - 0.4), ylim=(-0.6, layers - 0.4))
    axes.locator_params(integer=True)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
