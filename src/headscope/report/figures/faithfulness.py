"""Faithfulness against circuit size: what the circuits behind the head counts carry on their own."""

from collections.abc import Mapping, Sequence

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import error_bars, new_plot, plot_label
from headscope.report.palette import Mark
from headscope.report.tables.faithfulness import faithfulness_data
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.runs.records import Finished

Curves = Sequence[Finished[FaithfulnessEstimates]]


def faithfulness(curves: Curves, marks: Mapping[str, Mark], circuit_sizes: Mapping[str, float]) -> Figure:
    """Draw one panel per variant's pairs, a line per model.

    circuit_sizes: by variant, the share of edges in the circuits that its head counts rest on.
    """
    sizes = ", ".join(f"{size:.1%} ({variant})" for variant, size in circuit_sizes.items())
    pair_sets: dict[str, list[Finished[FaithfulnessEstimates]]] = {}
    for unit in curves:
        pair_sets.setdefault(unit.labels["variant"], []).append(unit)
    return Figure(
        name="faithfulness",
        question="How much of the behaviour do the circuits carry alone?",
        reading="Each circuit is run with every other edge corrupted. 1: the metric of the whole model; 0: that of the "
        "corrupt text. Bars are 95 % intervals over problems.",
        basis=f"{curves[0].whole.metric} at the evaluated positions."
        + (f" The head counts rest on circuits of so many of the edges: {sizes}." if sizes else ""),
        panels=tuple(_panel(variant, units, marks) for variant, units in pair_sets.items()),
        table=faithfulness_data(curves),
    )


def _panel(variant: str, curves: Curves, marks: Mapping[str, Mark]) -> Panel:
    plot = new_plot(x="share of edges in the circuit", y="faithfulness", height=300)
    for unit in curves:
        estimates = unit.whole.normalised
        mark = marks[unit.labels["model"]]
        plot.add_scatter(
            x=list(unit.whole.fractions),
            y=[estimate.value for estimate in estimates],
            error_y=error_bars(estimates) | {"color": mark.colour},
            mode="lines+markers",
            name=plot_label(unit.labels["model"]),
            line={"color": mark.colour, "dash": mark.dash, "width": 2},
            marker={"symbol": mark.symbol, "size": 8, "color": mark.colour},
        )
    plot.update_xaxes(type="log", dtick="D2", tickformat="~%", tickfont={"size": 10})
    return Panel(f"pairs of {variant} · n {curves[0].whole.normalised[0].n} problems", plot)
