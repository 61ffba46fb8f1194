"""Results in a terminal, as one line, and in a notebook, as that line above a map of the heads, without scripts; and
empty figures.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Num

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS, _COLUMNS, _LETTERS = 20, 12, 80
_ENDS = ("_low", "_high", "_n", "_method", "_seed")
"""Endings of the columns that go with a value (``results.frames``)."""

_SHADES = 12
_CELL, _MARGIN = 12, 30
# The ends of scales that colour-blind readers can tell apart: amounts from near-white to blue, signed numbers from
# vermilion through near-white to blue.
_WHITE, _POSITIVE, _NEGATIVE = (240, 240, 240), (0, 92, 160), (200, 80, 0)


def line(result: object, *facts: str) -> str:
    """Return ``EdgeScores: 6 × 8 heads; 40 pairs; …``; empty facts are left out."""
    return f"{type(result).__name__}: {'; '.join(fact for fact in facts if fact)}"


def source(settings: Mapping[str, Any]) -> str:
    """Return the last part of a result's model name; "" if the settings name none."""
    return str(settings.get("model", "")).rstrip("/").rsplit("/", 1)[-1]


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return HTML: the title, and the first rows and columns of a result's frame, intervals in brackets."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if not name.endswith(_ENDS)]
    columns = names[:_COLUMNS]
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_value(row, name)}</td>' for name in columns)}</tr>" for row in rows[:_ROWS])
    hidden = [(len(rows) - _ROWS, "rows"), (len(names) - _COLUMNS, "columns")]
    remainder = ", ".join(f"{count} more {axis}" for count, axis in hidden if count > 0)
    return f"<div><code>{escape(title)}</code><table><tr>{head}</tr>{body}</table>{remainder}</div>"


def _value(row: Mapping[str, Any], name: str) -> str:
    value, low, high = row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high")
    if value is None:
        return ""
    text = _number(value)
    if isinstance(low, float):
        text += f" [{_number(low)}, {_number(high)}]"
    return escape(text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…")


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def head_map(title: str, values: "Num[np.ndarray, 'layer head']") -> str:
    """Return HTML: the title, and a layer × head grid (layer 0 at the bottom) shaded by value, zero near-white.

    Cells of one shade are one path, so that 36 × 32 heads stay below 50 kB.
    """
    layers, heads = values.shape
    size = _MARGIN + heads * _CELL, _MARGIN + layers * _CELL
    axes = (
        f'<text x="{_MARGIN}" y="{size[1] - 8}">heads 0–{heads - 1}</text>'
        f'<text x="0" y="{size[1] - _MARGIN}">L0</text><text x="0" y="{_CELL}">L{layers - 1}</text>'
    )
    style = "font:11px sans-serif;fill:currentColor"
    drawing = f'<svg width="{size[0]}" height="{size[1]}" role="img" style="{style}">{_cells(values)}{axes}</svg>'
    return f"<div><code>{escape(title)}</code><br>{drawing}</div>"


def _cells(values: "Num[np.ndarray, 'layer head']") -> str:
    largest = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    shades = np.round(np.nan_to_num(values / largest) * _SHADES).astype(int)
    paths = []
    for shade in np.unique(shades):
        squares = "".join(
            f"M{_MARGIN + head * _CELL} {(len(values) - 1 - layer) * _CELL}h{_CELL - 1}v{_CELL - 1}h{1 - _CELL}z"
            for layer, head in np.argwhere(shades == shade)
        )
        paths.append(f'<path fill="{_colour(shade / _SHADES)}" d="{squares}"/>')
    return "".join(paths)


def _colour(share: float) -> str:
    end = _POSITIVE if share >= 0 else _NEGATIVE
    channels = [round(white + (full - white) * abs(share)) for white, full in zip(_WHITE, end, strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def empty_figure(title: str, *, width: float, height: float) -> "tuple[Figure, Any]":
    """Return an empty figure and its axes; sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize="medium", loc="left", wrap=True)
    return figure, axes
