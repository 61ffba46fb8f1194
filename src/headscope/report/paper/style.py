"""The look of figures on paper: sizes of a two-column page, fonts that stay text, files without a date."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from headscope.plain_text import plain_line
from headscope.results.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

ONE_COLUMN = 3.3
"""Inches, of a page with two columns."""
TWO_COLUMNS = 6.9
TALLEST = 9.0
LEAST_POINTS = 6.0
"""No text of a figure is smaller."""

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": LEAST_POINTS,
    "ytick.labelsize": LEAST_POINTS,
    "legend.fontsize": LEAST_POINTS,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    # Names of variants and tasks are text: a dollar sign in one of them starts no formula.
    "text.parse_math": False,
    # Fonts are embedded in PDF as outlines with their characters, and text in SVG stays text.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    # Without a salt the names inside an SVG are random.
    "svg.hashsalt": "headscope",
}

_NO_DATE: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
FORMATS = tuple(_NO_DATE)


Look = dict[str, Any]
"""Keyword arguments of one of matplotlib's drawing functions."""


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw and save with the style of the paper's figures, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables have it as it is.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches, with a canvas of its own; pyplot is not touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, min(height, TALLEST)), layout="constrained", dpi=200)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: Path, file_format: str) -> None:
    """Write a figure to ``path``. The same figure gives the same bytes: no file holds a date."""
    figure.savefig(path, format=file_format, metadata=_NO_DATE[file_format])


def short_name(name: str, most: int = 24) -> str:
    """Return a name as a label has room for it: one line, its middle left out if it is longer than ``most``."""
    line = plain_line(name)
    if len(line) <= most:
        return line
    head = (most - 1) // 2
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"


def panel_title(axes: "Axes", letter: str, text: str) -> None:
    """Write a panel's letter and title at its left edge."""
    axes.set_title(f"({letter}) {text}" if letter else text, loc="left")


def grid_axes(axes: "Axes", layers: int, heads: int) -> None:
    """Give a plot the axes of a layer × head grid: heads across, layer 0 at the bottom, whole ticks."""
    axes.set(xlabel="head", ylabel="layer", xlim=(-0.5, heads - 0.5), ylim=(-0.5, layers - 0.5))
    axes.set_xticks(range(0, heads, _tick(heads)))
    axes.set_yticks(range(0, layers, _tick(layers)))


def _tick(count: int) -> int:
    return 1 if count <= 8 else 2 if count <= 16 else 4 if count <= 36 else 8


def mark_points(layers: int, heads: int) -> float:
    """Return the diameter in points of a mark inside a grid's cell."""
    return float(np.clip(90 / max(layers, heads), 0.8, 4.0))


def mark_cells(axes: "Axes", grid: Bool[np.ndarray, "layer head"], marker: str, points: float, **look: Any) -> None:
    """Put a marker of a diameter of ``points`` on the cells that are true."""
    rows, columns = np.nonzero(grid)
    axes.scatter(columns, rows, s=points**2, marker=marker, **look)


def add_colour_bar(axes: "Sequence[Axes]", mappable: "ScalarMappable", label: str) -> "Colorbar":
    """Add a thin colour bar right of some plots of one figure."""
    figure = axes[0].get_figure()
    assert figure is not None
    bar = figure.colorbar(mappable, ax=list(axes), pad=0.02, aspect=25)
    bar.set_label(label)
    bar.outline.set_linewidth(0.4)
    return bar


def error_bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Return the two arms of each interval; none if it is unknown or rounding put an end beyond the value."""
    lower = [np.nan_to_num(max(estimate.value - estimate.low, 0.0)) for estimate in estimates]
    upper = [np.nan_to_num(max(estimate.high - estimate.value, 0.0)) for estimate in estimates]
    return [lower, upper]
