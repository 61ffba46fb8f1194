"""Colours and glyphs of the report: colours that colour-blind readers can tell apart, and never colour alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from headscope.results.colours import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from headscope.results.emergence import Status

INK = "#1b1f24"
"""Of text and outlines on a light page."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Style that one thing is drawn in. symbol: plotly's marker. glyph: the same shape in text. dash: of its line."""

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
    (BLUE, "diamond", "solid"),
    (VERMILION, "square", "dash"),
    (GREEN, "triangle-up", "dashdot"),
    (PURPLE, "star", "longdash"),
    (ORANGE, "cross", "longdashdot"),
    (SKY, "pentagon", "dash"),
)

EDGES = {
    "positive": (BLUE, SKY),
    "negative": (VERMILION, "#FF8A3D"),
    "kept": ("#6b7280", "#9aa3ae"),
    "born": (BLUE, SKY),
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
