"""Rows of the benchmark tables and their Markdown: one kind of row, one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from measuring import Comparison


@dataclass(frozen=True)
class Row:
    """One line: what was compared on which shape, and with what."""

    HEADER: ClassVar = ("benchmark", "on", "headscope", "against", "time", "ratio", "range", "peak memory", "note")
    benchmark: str
    shape: str
    against: str
    found: Comparison
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row's text, in the order of ``HEADER``."""
        found = self.found
        spread = f"{figures(found.low)}–{figures(found.high)}"
        memory = "–" if found.memory is None else f"{figures(found.memory)} ×"
        times = f"{figures(found.ours)} s", self.against, f"{figures(found.theirs)} s"
        return self.benchmark, self.shape, *times, f"{figures(found.ratio)} ×", spread, memory, self.note


@dataclass(frozen=True)
class Accuracy:
    """Relative errors (Frobenius norms) of one quadrature: of mean |score|, mean score, mean head scores, and of the
    worst pair's scores against the converged ones; of mean |score| against 64 Gauss nodes."""

    HEADER: ClassVar = ("on", "rule", "nodes per pair", "edges", "signed", "heads", "worst pair", "by 64 Gauss", "note")
    shape: str
    rule: str
    nodes: float
    edges: float
    signed: float
    heads: float
    worst: float
    gauss: float
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row's text, in the order of ``HEADER``."""
        errors = (self.edges, self.signed, self.heads, self.worst, self.gauss)
        return self.shape, self.rule, figures(self.nodes), *(_percent(one) for one in errors), self.note


@dataclass(frozen=True)
class Measurement:
    """One absolute figure and what it may be at most."""

    HEADER: ClassVar = ("benchmark", "on", "figure", "found", "at most")
    benchmark: str
    shape: str
    figure: str
    found: float
    bound: float
    unit: str

    def cells(self) -> tuple[str, ...]:
        """The row's text, in the order of ``HEADER``."""
        found, bound = (f"{figures(value)} {self.unit}" for value in (self.found, self.bound))
        return self.benchmark, self.shape, self.figure, found, bound


AnyRow = Row | Accuracy | Measurement


def markdown(rows: Sequence[AnyRow]) -> str:
    """A table for every kind of row, in the order of their first ones; every line ends with a newline."""
    kinds = list(dict.fromkeys(type(row) for row in rows))
    ordered = sorted(rows, key=lambda row: kinds.index(type(row)))
    tables = groupby(ordered, key=type)
    return "\n".join(markdown_table(kind.HEADER, [row.cells() for row in same]) for kind, same in tables)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One table; every line ends with a newline."""
    lines = [header, ["---" for _ in header], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def figures(value: float) -> str:
    """Three significant figures, never in powers of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{figures(100 * share)} %" if share >= 1e-5 else "0 %" if share == 0 else "< 0.001 %"
