"""Faithfulness against circuit size: what the circuits behind the head counts carry on their own."""

from collections.abc import Sequence

from headscope.report.blocks import Figure, Panel, Table
from headscope.report.figures.canvas import error_bars, label, new_plot
from headscope.report.findings import Faithful
from headscope.report.palette import model_mark

_COLUMNS = ("pairs of", "model", "step", "share of edges", "faithfulness", "low", "high", "pairs", "interval")


def faithfulness(curves: Sequence[Faithful], variants: tuple[str, ...], used: float) -> Figure:
    """One panel per variant's pairs, a line per model. used: the share of edges the head counts rest on."""
    return Figure(
        name="faithfulness",
        question="How much of the behaviour do the circuits carry alone?",
        reading="Each circuit is run with every other edge corrupted. 1: the metric of the whole model; 0: that of the "
        "corrupt text. Bars are 95 % intervals over pairs.",
        basis=f"{curves[0].metric} at the evaluated positions. The head counts rest on circuits of {used:.1%} of "
        "the edges.",
        panels=tuple(
            _panel(variant, [each for each in curves if each.variant == variant], variants)
            for variant in dict.fromkeys(each.variant for each in curves)
        ),
        table=_table(curves),
    )


def _panel(variant: str, curves: Sequence[Faithful], variants: tuple[str, ...]) -> Panel:
    plot = new_plot(x="share of edges in the circuit", y="faithfulness", height=300)
    for each in curves:
        mark = model_mark(each.model, variants)
        estimates = list(each.by_fraction.values())
        plot.add_scatter(
            x=list(each.by_fraction),
            y=[estimate.value for estimate in estimates],
            error_y=error_bars(estimates) | {"color": mark.colour},
            mode="lines+markers",
            name=label(each.model),
            line={"color": mark.colour, "dash": mark.dash, "width": 2},
            marker={"symbol": mark.symbol, "size": 8, "color": mark.colour},
        )
    plot.update_xaxes(type="log", tickformat="~%", tickfont={"size": 10})
    return Panel(f"pairs of {variant} · n {next(iter(curves[0].by_fraction.values())).n} pairs", plot)


def _table(curves: Sequence[Faithful]) -> Table:
    rows = tuple(
        (each.variant, each.model, each.step, fraction, one.value, one.low, one.high, one.n, one.method)
        for each in curves
        for fraction, one in each.by_fraction.items()
    )
    return Table(_COLUMNS, rows, "One row per model and circuit size.", "faithfulness")
