"""Reward above head counts, on one step axis: for looking, not for testing."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from headscope.report.blocks import Figure, Panel
from headscope.report.figures.canvas import STEP, STEP_CLICK, error_bars, new_plot, step_meta
from headscope.report.palette import STATUS
from headscope.report.run_results import Log
from headscope.report.tables.dynamics import reward_data
from headscope.results.colours import GREEN, PURPLE
from headscope.results.comparison import Comparison
from headscope.results.emergence import Status


def reward(logs: Mapping[str, Log], comparisons: Sequence[Comparison]) -> Figure:
    """Draw one panel per logged variant: its reward (its loss if it has none) above its new and lost heads."""
    by_variant = {comparison.variant: comparison for comparison in comparisons}
    panels = []
    for variant, log in logs.items():
        plot = _plot(log, by_variant.get(variant))
        plot.update_traces(meta=step_meta(variant))
        panels.append(Panel(_title(variant, log), plot))
    return Figure(
        name="reward",
        question="Do new heads come when the reward rises?",
        reading="Above: the reward of each training step, with a band of one standard deviation over its completions "
        "(the loss, if training has no reward). Below: new and lost heads at each checkpoint, with the counts the base "
        "against itself would show. Two curves that rise together are no evidence of a link: nearly everything drifts "
        f"during training. {STEP_CLICK}",
        basis="Reward: mean over one step's completions, from the training log. Heads: counts with bootstrap "
        "intervals.",
        panels=tuple(panels),
        table=reward_data(logs, by_variant),
    )


def _has_reward(log: Log) -> bool:
    return any(entry.get("reward") is not None for entry in log)


def _title(variant: str, log: Log) -> str:
    return f"{variant} · {len(log)} logged steps" + ("" if _has_reward(log) else " · no reward, loss shown")


def _plot(log: Log, comparison: Comparison | None) -> go.Figure:
    quantity = "reward" if _has_reward(log) else "loss"
    blank = new_plot(height=460)
    plot = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, figure=blank)
    entries = [entry for entry in log if entry.get(quantity) is not None]
    steps = [entry["step"] for entry in entries]
    values = [entry[quantity] for entry in entries]
    if quantity == "reward":
        _add_band(plot, steps, values, [entry.get("reward_sd") or 0.0 for entry in entries])
    plot.add_scatter(x=steps, y=values, name=quantity, mode="lines", line={"color": GREEN, "width": 2}, row=1, col=1)
    if comparison is not None:
        for status in (Status.NEW, Status.LOST):
            _add_counts(plot, comparison, status)
    copied = ("gridcolor", "zerolinecolor", "zerolinewidth", "linecolor", "automargin", "ticks")
    style = {key: blank.layout.xaxis[key] for key in copied}
    plot.update_xaxes(**style, title_standoff=blank.layout.xaxis.title.standoff)
    plot.update_yaxes(**style, title_standoff=blank.layout.yaxis.title.standoff)
    plot.update_xaxes(title_text=None, row=1)
    plot.update_xaxes(title_text=STEP, row=2)
    plot.update_yaxes(title_text=quantity, row=1)
    plot.update_yaxes(title_text="heads", rangemode="tozero", row=2)
    return plot


def _add_band(plot: go.Figure, steps: list[int], values: list[float], spread: list[float]) -> None:
    upper = [value + sd for value, sd in zip(values, spread, strict=True)]
    lower = [value - sd for value, sd in zip(values, spread, strict=True)]
    plot.add_scatter(
        x=steps + steps[::-1],
        y=upper + lower[::-1],
        fill="toself",
        fillcolor="rgba(0, 158, 115, 0.18)",
        line={"width": 0},
        name="± 1 sd",
        hoverinfo="skip",
        row=1,
        col=1,
    )


def _add_counts(plot: go.Figure, comparison: Comparison, status: Status) -> None:
    mark, steps = STATUS[status], list(comparison.steps)
    name = status.name.lower()
    counts = [getattr(emergence.counts, name) for emergence in comparison.emergence]
    plot.add_scatter(
        x=steps,
        y=[count.value for count in counts],
        error_y=error_bars(counts) | {"thickness": 1, "width": 3},
        name=name,
        marker={"symbol": mark.symbol, "size": 8},
        line={"color": mark.colour},
        mode="lines+markers",
        row=2,
        col=1,
    )
    if status is Status.NEW:
        null = [emergence.null.new.value for emergence in comparison.emergence]
        dotted = {"dash": "dot", "color": PURPLE}
        plot.add_scatter(x=steps, y=null, name="null (new and lost alike)", mode="lines", line=dotted, row=2, col=1)
