"""Cohorts: emergent heads over checkpoints, stacked by when they first emerged, with the base heads that remain."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from headscope.errors import count_noun
from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import BAR_EDGE, STEP, add_colour_bar, new_plot
from headscope.report.tables.heads import cohorts_data
from headscope.results.colours import PURPLE, VERMILION
from headscope.results.comparison import Comparison

_AREA = 3
"""From this many checkpoints on cohorts are areas; fewer are drawn as bars."""


def cohorts(comparisons: Sequence[Comparison]) -> Figure:
    """Draw one panel per variant, all with the same vertical scale."""
    top = 1.08 * max(_tallest(comparison) for comparison in comparisons)
    return Figure(
        name="cohorts",
        question="When did the new heads emerge, and did they stay?",
        reading="Each layer is one cohort: heads that were new for the first time at the same checkpoint, oldest at "
        "the bottom; a layer that narrows is heads leaving. The dashed line counts base heads still active, the dotted "
        "one the new heads that the base against itself would show.",
        basis=_basis(comparisons),
        panels=tuple(Panel(_title(comparison), _plot(comparison, top)) for comparison in comparisons),
        table=cohorts_data(comparisons),
    )


def _basis(comparisons: Sequence[Comparison]) -> str:
    emergence = comparisons[0].final
    return (
        f"Head counts out of {emergence.status.size} heads; {emergence.size} per model, circuits of "
        f"{emergence.fraction:.1%} of edges, {emergence.resamples} resamples; null: {emergence.null_source}, "
        f"{emergence.null_size} a side."
    )


def _title(comparison: Comparison) -> str:
    base = int(comparison.dynamics.base.sum())
    checkpoints = count_noun(len(comparison.steps), "checkpoint")
    return f"{comparison.variant} · {checkpoints} · {count_noun(base, 'base head')}"


def _tallest(comparison: Comparison) -> float:
    dynamics = comparison.dynamics
    return float(max(dynamics.emergent.sum(axis=(1, 2)).max(), dynamics.kept_counts.max(), 1))


def _plot(comparison: Comparison, top: float) -> go.Figure:
    dynamics = comparison.dynamics
    steps = dynamics.steps.tolist()
    plot = new_plot(x=STEP, y="heads", height=380)
    # A little below the first step, so that the darkest colour shows on a dark page.
    low, high = steps[0] - max(1, (steps[-1] - steps[0]) // 8), max(steps[-1], steps[0] + 1)
    for index, counts in enumerate(dynamics.cohorts):
        if counts.any():
            colour = sample_colorscale("Cividis", [(steps[index] - low) / (high - low)])[0]
            _add_cohort(plot, steps, counts.tolist(), steps[index], colour)
    add_colour_bar(plot, "Cividis", (float(low), float(high)), "new heads, by the step they were first new at")
    null = [emergence.null.new.value for emergence in comparison.emergence]
    base_heads = {"dash": "dash", "color": VERMILION, "width": 2.5}
    _add_line(plot, steps, dynamics.kept_counts.tolist(), "base heads kept", base_heads)
    # A pale line below the dotted one keeps it visible on every cohort and on a dark page.
    _add_line(plot, steps, null, "", {"color": "white", "width": 4})
    _add_line(plot, steps, null, "null: new by chance", {"dash": "dot", "color": PURPLE, "width": 2.5})
    plot.update_yaxes(range=[0, top])
    return plot


def _add_line(
    plot: go.Figure, steps: list[int], counts: list[int] | list[float], name: str, style: dict[str, object]
) -> None:
    legend = {"showlegend": bool(name), "hoverinfo": None if name else "skip"}
    x = [str(step) for step in steps] if len(steps) < _AREA else steps
    plot.add_scatter(x=x, y=counts, name=name, mode="lines", line=style, **legend)


def _add_cohort(plot: go.Figure, steps: list[int], counts: list[int], first: int, colour: str) -> None:
    """Add one cohort: an area over several checkpoints, a bar if there are too few for one."""
    look = {
        "name": f"new at {first}",
        "showlegend": False,
        "hovertemplate": f"%{{y}} heads first new at step {first}<extra></extra>",
    }
    if len(steps) < _AREA:
        plot.add_bar(x=[str(step) for step in steps], y=counts, marker={"color": colour, "line": BAR_EDGE}, **look)
        plot.update_layout(barmode="stack", bargap=0.6)
        plot.update_xaxes(type="category")
    else:
        line = {"width": 0.8, "color": "white"}
        plot.add_scatter(x=steps, y=counts, stackgroup="cohorts", mode="lines", line=line, fillcolor=colour, **look)
