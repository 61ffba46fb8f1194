"""Colours and glyphs: Okabe and Ito's palette, which colour-blind readers can tell apart; never colour alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from headscope.results.emergence import Status

BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#8a8f98"


@dataclass(frozen=True, slots=True)
class Mark:
    """How one thing is drawn. symbol: plotly's marker. glyph: the same shape in text. dash: of its line."""

    name: str
    colour: str
    symbol: str
    glyph: str = ""
    dash: str = "solid"
    size: float = 1.0


STATUS = {
    Status.KEPT: Mark("kept", GREY, "circle", "●"),
    Status.NEW: Mark("new", BLUE, "diamond", "◆", size=1.15),
    Status.LOST: Mark("lost (base only)", VERMILION, "x", "✕"),
    Status.CONTINGENT: Mark("contingent", ORANGE, "triangle-up-open", "△", size=0.85),
    Status.ABSENT: Mark("in neither", GREY, "circle-open", "·", size=0.25),
}

BASE = Mark("base", GREY, "circle", "●", "dot")
_LINES = (
    ("#0072B2", "diamond", "solid"),
    ("#D55E00", "square", "dash"),
    ("#009E73", "triangle-up", "dashdot"),
    ("#CC79A7", "star", "longdash"),
    ("#E69F00", "cross", "longdashdot"),
    ("#56B4E9", "pentagon", "dash"),
)

EDGES = {
    "positive": (BLUE, "#56B4E9"),
    "negative": (VERMILION, "#FF8A3D"),
    "kept": ("#6b7280", "#9aa3ae"),
    "born": (BLUE, "#56B4E9"),
    "lost": (VERMILION, "#FF8A3D"),
    "pin": ("#F0E442", "#6b6400"),
}
"""Colours of a circuit's edges on light and on dark pages: by sign, or by what training did; and of pinned heads."""

READINGS = {"supported": "●", "not supported": "○", "undecided": "◐"}
ANSWERS = {
    "correct": (GREEN, ""),
    "wrong": (VERMILION, "/"),
    "unparsed": (PURPLE, "x"),
    "unfinished": (ORANGE, "."),
    "timeout": (GREY, "-"),
}
"""Colour and bar pattern of each verdict on an answer."""


def lines(names: Iterable[str]) -> dict[str, Mark]:
    """Return one mark per name, by its place among the names; 36 names are all told apart."""
    marks = {}
    for place, name in enumerate(dict.fromkeys(names)):
        turn, place_in_turn = divmod(place, len(_LINES))
        colour = _LINES[place_in_turn][0]
        _, symbol, dash = _LINES[(place_in_turn + turn) % len(_LINES)]
        marks[name] = Mark(name, colour, symbol, dash=dash)
    return marks
