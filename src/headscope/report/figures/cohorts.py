"""Cohorts: emergent heads over checkpoints, stacked by when they first emerged, with the base heads that
remain."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from headscope.report.blocks import Figure, Panel, Table
from headscope.report.figures.canvas import STEP, colour_bar, new_plot
from headscope.report.findings import Comparison
from headscope.report.palette import PURPLE, VERMILION

_AREA = 3
"""From this many checkpoints on cohorts are areas; fewer are drawn as bars."""


def cohorts(comparisons: Sequence[Comparison]) -> Figure:
    """One panel per variant, all with the same vertical scale."""
    top = 1.08 * max(_tallest(each) for each in comparisons)
    return Figure(
        name="cohorts",
        question="When did the new heads emerge, and did they stay?",
        reading="Each layer is one cohort: heads that were new for the first time at the same checkpoint, "
        "oldest at the bottom; "
        "a layer that narrows is heads leaving. The dashed line counts base heads still active, the dotted "
        "one the new "
        "heads that the base against itself would show.",
        basis=_basis(comparisons),
        panels=tuple(Panel(_title(each), _plot(each, top)) for each in comparisons),
        table=_table(comparisons),
    )


def _basis(comparisons: Sequence[Comparison]) -> str:
    result = comparisons[0].final
    return (
        f"Head counts out of {result.status.size} heads; {result.pairs} pairs per model, circuits of "
        f"{result.fraction:.1%} of edges, "
        f"{result.resamples} resamples; null: {result.null_source}, {result.null_pairs} pairs a side."
    )


def _title(comparison: Comparison) -> str:
    base = int(comparison.dynamics.base.sum())
    return f"{comparison.variant} · {len(comparison.steps)} checkpoints · {base} base heads"


def _tallest(comparison: Comparison) -> float:
    dynamics = comparison.dynamics
    return float(max(dynamics.emergent.sum(axis=(1, 2)).max(), dynamics.kept_counts.max(), 1))


def _plot(comparison: Comparison, top: float) -> go.Figure:
    dynamics = comparison.dynamics
    steps = dynamics.steps.tolist()
    plot = new_plot(x=STEP, y="heads", height=380)
    born = [index for index, heads in enumerate(dynamics.cohorts) if heads.any()]
    colours = _colours(steps, born)
    for index in born:
        _layer(plot, steps, dynamics.cohorts[index].tolist(), steps[index], colours[index])
    colour_bar(plot, "Cividis", _range(steps), "new heads, by the step they were first new at")
    null = [result.null.new.value for result in comparison.emergence]
    kept = dynamics.kept_counts.tolist()
    _line(plot, steps, kept, "base heads kept", {"dash": "dash", "color": VERMILION, "width": 2.5})
    # A pale line below the dotted one keeps it visible on every cohort and on a dark page.
    _line(plot, steps, null, "", {"color": "white", "width": 4})
    _line(plot, steps, null, "null: new by chance", {"dash": "dot", "color": PURPLE, "width": 2.5})
    plot.update_yaxes(range=[0, top])
    return plot


def _line(
    plot: go.Figure, steps: list[int], counts: list[int] | list[float], name: str, style: dict[str, object]
) -> None:
    shown = {"showlegend": bool(name), "hoverinfo": None if name else "skip"}
    x = [str(step) for step in steps] if len(steps) < _AREA else steps
    plot.add_scatter(x=x, y=counts, name=name, mode="lines", line=style, **shown)


def _range(steps: list[int]) -> tuple[float, float]:
    """The colours' span; a little below the first step, so that the darkest colour shows on a dark page."""
    return float(steps[0] - max(1, (steps[-1] - steps[0]) // 8)), float(max(steps[-1], steps[0] + 1))


def _colours(steps: list[int], born: list[int]) -> dict[int, str]:
    low, high = _range(steps)
    return {index: sample_colorscale("Cividis", [(steps[index] - low) / (high - low)])[0] for index in born}


def _layer(plot: go.Figure, steps: list[int], heads: list[int], step: int, colour: str) -> None:
    """One cohort: an area over several checkpoints, a bar where there are too few for one."""
    look = {
        "name": f"new at {step}",
        "showlegend": False,
        "hovertemplate": f"%{{y}} heads first new at step {step}<extra></extra>",
    }
    if len(steps) < _AREA:
        plot.add_bar(x=[str(each) for each in steps], y=heads, marker={"color": colour}, **look)
        plot.update_layout(barmode="stack", bargap=0.6)
        plot.update_xaxes(type="category")
    else:
        line = {"width": 0.8, "color": "white"}
        plot.add_scatter(x=steps, y=heads, stackgroup="cohorts", mode="lines", line=line, fillcolor=colour, **look)


def _table(comparisons: Sequence[Comparison]) -> Table:
    rows = []
    for each in comparisons:
        for index, (step, result) in enumerate(zip(each.steps, each.emergence, strict=True)):
            here = each.dynamics.emergent[index]
            fresh = int(np.sum(here & (each.dynamics.first == index)))
            kept = int(each.dynamics.kept_counts[index])
            counts, null = result.counts.new, result.null.new.value
            rows.append((each.variant, step, int(here.sum()), counts.low, counts.high, fresh, kept, null))
    columns = (
        "variant",
        "step",
        "new heads",
        "low",
        "high",
        "new for the first time",
        "base heads kept",
        "null new",
    )
    return Table(columns, tuple(rows), "One row per checkpoint.", "cohorts")
