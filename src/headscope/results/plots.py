"""Small matplotlib figures of results for notebooks, used by ``.plot()`` of a result.

Figures are made without pyplot, so that no backend keeps them. The figures of the paper and the page are in ``report``.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Num

from headscope.display import empty_figure
from headscope.results.colours import BLUE, GREEN, GREY, VERMILION
from headscope.results.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES = {"kept": GREY, "new": BLUE, "lost": VERMILION}


def head_grid(title: str, values: "Num[np.ndarray, 'layer head']", label: str) -> "Figure":
    """Return a layer × head grid, layer 0 at the bottom; white is 0, blue above, red below."""
    layers, heads = values.shape
    return grid(title, values, label, (range(layers), range(heads)), ("layer", "head"), origin="lower")


def grid(
    title: str,
    values: "Num[np.ndarray, 'row column']",
    label: str,
    ticks: tuple[Sequence[Any], Sequence[Any]],
    axes_names: tuple[str, str],
    *,
    origin: str = "upper",
) -> "Figure":
    """Return a shaded matrix on a scale that is symmetric about 0."""
    rows, columns = values.shape
    figure, axes = empty_figure(title, width=2.2 + 0.22 * max(columns, 8), height=1.4 + 0.22 * max(rows, 6))
    largest = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    image = axes.imshow(values, cmap="RdBu", vmin=-largest, vmax=largest, origin=origin, aspect="auto")
    figure.colorbar(image, ax=axes, label=label)
    for axis, names, name in ((axes.yaxis, ticks[0], axes_names[0]), (axes.xaxis, ticks[1], axes_names[1])):
        every = 1 + len(names) // 16  # so that numbers of 36 layers do not overlap
        axis.set_ticks(range(0, len(names), every), [str(names[place]) for place in range(0, len(names), every)])
        axis.set_label_text(name)
    if any(isinstance(name, str) for name in ticks[1]):
        axes.tick_params(axis="x", rotation=45)
    return figure


def forest(
    title: str, estimates: Mapping[str, Estimate], label: str, controls: Mapping[str, "np.ndarray"] | None = None
) -> "Figure":
    """Return one row per estimate with its interval and a line at 0; effects of random sets as grey ticks."""
    figure, axes = empty_figure(title, width=5.5, height=1.2 + 0.35 * max(len(estimates), 2))
    for place, (name, estimate) in enumerate(estimates.items()):
        control_effects = (controls or {}).get(name, np.array([]))
        axes.plot(control_effects, np.full(len(control_effects), place), "|", color=GREY, markersize=9)
        axes.plot([estimate.low, estimate.high], [place, place], color=BLUE)
        axes.plot(estimate.value, place, "o", color=BLUE)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(estimates)), list(estimates))
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return figure


def curve(
    title: str,
    places: Sequence[float | int],
    lines: Mapping[str, Sequence[Estimate] | Sequence[float]],
    names: tuple[str, str],
    *,
    logarithmic: bool = False,
) -> "Figure":
    """Return lines over numbers, those of estimates with their band."""
    figure, axes = empty_figure(title, width=5.5, height=3.2)
    for number, (name, points) in enumerate(lines.items()):
        colour = _LINES.get(name, (BLUE, VERMILION, GREEN, GREY)[number % 4])
        estimates = [point for point in points if isinstance(point, Estimate)]
        if estimates:
            low, high = [estimate.low for estimate in estimates], [estimate.high for estimate in estimates]
            axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
        values = [_value(point) for point in points]
        axes.plot(places, values, color=colour, marker="os^D"[number % 4], markersize=4, label=name)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    if len(lines) > 1:
        axes.legend(frameon=False)
    return figure


def bars(title: str, numbers: Mapping[str, float | int], label: str) -> "Figure":
    """Return one bar per name."""
    figure, axes = empty_figure(title, width=5.5, height=1.2 + 0.32 * max(len(numbers), 2))
    axes.barh(list(numbers), list(numbers.values()), color=BLUE)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return figure


def stacked_bars(title: str, counts: Mapping[str, Mapping[str, int]], label: str) -> "Figure":
    """Return one bar per name, made of its counts; every name has the same kinds of counts."""
    figure, axes = empty_figure(title, width=5.5, height=1.4 + 0.32 * max(len(counts), 2))
    ends = np.zeros(len(counts))
    kinds = list(next(iter(counts.values()), {}))
    for number, kind in enumerate(kinds):
        widths = np.array([inner[kind] for inner in counts.values()], dtype=float)
        axes.barh(list(counts), widths, left=ends, color=(BLUE, VERMILION, GREY)[number % 3], label=kind)
        ends += widths
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.locator_params(axis="x", integer=True)
    if kinds:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def against_controls(title: str, effect: Estimate | float, controls: "np.ndarray", label: str) -> "Figure":
    """Return an effect, with its interval if it has one, above a histogram of random sets' effects."""
    figure, axes = empty_figure(title, width=5.5, height=2.6)
    if len(controls):
        axes.hist(controls, bins=min(20, max(5, len(controls) // 3)), color=GREY, label=f"{len(controls)} random sets")
    if isinstance(effect, Estimate):
        axes.axvspan(effect.low, effect.high, color=BLUE, alpha=0.18)
    shown = str(effect) if isinstance(effect, Estimate) else f"{effect:.2f}"
    axes.axvline(_value(effect), color=BLUE, label=f"these heads: {shown}")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(label)
    axes.set_ylabel("random sets")
    axes.legend(frameon=False)
    return figure


def _value(number: Estimate | float) -> float:
    return number.value if isinstance(number, Estimate) else number
