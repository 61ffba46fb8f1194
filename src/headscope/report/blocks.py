"""Blocks of a page: figures, tables, sentences and answers to read, as plain records that the template prints."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from headscope.results.codec import Json
from headscope.results.table import Table


@runtime_checkable
class Plot(Protocol):
    """A plotly figure, which takes a second to import and is not needed to print tables."""

    def to_json(self) -> str:
        """Return data and layout as JSON."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of a figure. title: what sets it apart from its neighbours, with its n."""

    title: str
    plot: Plot


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as readers need it.

    name: letters and dashes, unique in the report: its anchor and the stem of its files.
    question: the title. reading: one sentence on how to read it. basis: n, denominators, intervals and
        controls.
    panels: small multiples, one scale. table: the same data; also the CSV.
    """

    kind: ClassVar[str] = "figure"
    name: str
    question: str
    reading: str
    basis: str
    panels: tuple[Panel, ...]
    table: Table


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the reader must know first: what is missing, or why a page is empty."""

    kind: ClassVar[str] = "notice"
    text: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prose:
    """A heading and its paragraphs."""

    kind: ClassVar[str] = "prose"
    heading: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence and where its evidence is.

    topic: what it is about, in a word. page: that page's ``Page.name``. link: what readers click, the page's title.
    variant: the one that the sentence is about, to be chosen on that page; empty if it is about several.
    """

    topic: str
    text: str
    page: str
    link: str
    variant: str = ""


@dataclass(frozen=True, slots=True)
class HeadMap:
    """The state of every head of a variant, as a small picture.

    layers, heads: its size in cells. shapes: per state its ``Status`` number and an SVG path through all its cells.
    """

    title: str
    layers: int
    heads: int
    shapes: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings of a run, in a few sentences that each lead to their evidence, next to maps of the heads.

    legend: number, glyph and name of each state in the maps.
    """

    kind: ClassVar[str] = "findings"
    heading: str
    findings: tuple[Finding, ...]
    maps: tuple[HeadMap, ...] = ()
    legend: tuple[tuple[int, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Responses:
    """Model answers to read. groups: plain JSON values, shown by script as text nodes and never as markup."""

    kind: ClassVar[str] = "responses"
    groups: tuple[dict[str, Json], ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class AnswerPairs:
    """Problems whose answers changed, to go through one by one with both answers side by side.

    groups: one per comparison, plain JSON values, shown by script as text nodes and never as markup.
    kinds: icon and name of every kind of mark. table: the problems of all groups. left_out: pairs of answers that are
    not in the file.
    """

    kind: ClassVar[str] = "pairs"
    groups: tuple[dict[str, Json], ...]
    kinds: dict[str, dict[str, str]]
    table: Table
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class CircuitGrid:
    """Circuits of base and variants on a layer × head grid, drawn by script.

    circuits: one per variant, plain JSON values (``CircuitPair.packed``). colours: by name, on light and on dark pages.
    table: the strongest edges of all; the script fills it with those of the view that is chosen.
    """

    kind: ClassVar[str] = "circuit"
    circuits: tuple[dict[str, Json], ...]
    colours: dict[str, tuple[str, str]]
    table: Table


@dataclass(frozen=True, slots=True)
class HeadDetails:
    """Details of every head; script shows those of the one that is chosen, as text nodes and tables.

    data: plain JSON values (``heads.details``).
    """

    kind: ClassVar[str] = "head"
    data: dict[str, Json]


Block = Figure | Table | Notice | Prose | Findings | Responses | AnswerPairs | CircuitGrid | HeadDetails


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the report. name: its part of the URL hash. question: the one it answers, written under the title."""

    name: str
    title: str
    question: str
    blocks: tuple[Block, ...]

    def figures(self) -> list[Figure]:
        """Return the figures among its blocks."""
        return [block for block in self.blocks if isinstance(block, Figure)]

    def tables(self) -> list[Table]:
        """Return its tables, those behind figures among them."""
        tables = []
        for block in self.blocks:
            if isinstance(block, Table):
                tables.append(block)
            elif isinstance(block, Figure | AnswerPairs | CircuitGrid):
                tables.append(block.table)
        return tables
