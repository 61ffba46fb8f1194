"""The folder of the paper's figures: each in every format with its numbers and caption, and an index of them all."""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2

from headscope.errors import InputError
from headscope.plain_text import plain_line, plain_text
from headscope.report.paper.catalogue import FIGURES, Entry
from headscope.report.paper.exhibit import Exhibit
from headscope.report.paper.latex import latex_figure, latex_table
from headscope.report.paper.style import FORMATS, ONE_COLUMN, paper_style, save_figure
from headscope.report.run_results import RunResults
from headscope.results.table import Row, Table, Value, display_text, full_value
from headscope.runs.directory import RunDirectory
from headscope.storage import replacing, write_text

_FORMULA = re.compile(r"^[=+\-@\t\r]")
_INDEX = "figures.md"
_LISTED = re.compile(r"\[((?:figure-\d\d|table-\d)[\w.-]*)\]\(\1\)")
"""A file of an earlier call, as its index lists it: what can no longer be drawn must not stay."""


@dataclass(frozen=True)
class Written:
    """Files that one call wrote. entries: every figure and table with its state, caption and files."""

    folder: Path
    entries: tuple[tuple[Entry, Exhibit, tuple[str, ...]], ...]

    def table(self) -> Table:
        """Return one row per figure and table."""
        rows: list[Row] = [
            {
                "paper": f"{entry.kind} {entry.number}",
                "shows": entry.name,
                "needs": entry.needs,
                "files": len(files),
                "state": exhibit.state,
            }
            for entry, exhibit, files in self.entries
        ]
        return Table("figures", tuple(rows), "Every figure and table of the paper, as this run can show it.")


def write_figures(run: RunDirectory, folder: Path, formats: Sequence[str] = FORMATS) -> Written:
    """Draw every figure and table of the paper that ``run`` has results for into ``folder``, with an index.

    Per figure one file of each format, a CSV for each table of numbers behind it, and a LaTeX environment with its
    caption; per table CSV and LaTeX. ``figures.md`` and ``index.html`` list all of them, and what the run lacks for the
    others. The same run gives the same bytes.

    Raises InputError if ``folder`` is a file or cannot be written to, a format is unknown, or the run has no comparison
    and no evaluation.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InputError(f"{unknown[0]!r} is no format of figures; allowed: {', '.join(FORMATS)}")
    results = RunResults(run)
    if not results.comparisons and not results.evaluations:
        raise InputError(f"run {run} has no finished comparison and no evaluation to draw; finish the run first")
    _prepare(folder)
    entries = []
    for entry in FIGURES:
        with paper_style():
            exhibit = entry.make(results)
            entries.append((entry, exhibit, _write_exhibit(folder, entry, exhibit, formats)))
    written = Written(folder, tuple(entries))
    write_text(folder / _INDEX, _markdown_index(results, written))
    write_text(folder / "index.html", _html_index(results, written))
    return written


def _prepare(folder: Path) -> None:
    """Make the folder, and remove the files that an earlier call's index lists."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder for the figures")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        index = folder / _INDEX
        index.touch()
        for name in _LISTED.findall(index.read_text(encoding="utf-8", errors="replace")):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"the figures cannot be written to {folder}: {error.strerror or error}") from error


def _write_exhibit(folder: Path, entry: Entry, exhibit: Exhibit, formats: Sequence[str]) -> tuple[str, ...]:
    """Write the files of one figure or table and return their names; none if there is nothing to show."""
    if not exhibit.is_drawn:
        return ()
    names = []
    if exhibit.figure is not None:
        for file_format in formats:
            names.append(f"{entry.stem}.{file_format}")
            with replacing(folder / names[-1]) as path:
                save_figure(exhibit.figure, path, file_format)
    for index, table in enumerate(exhibit.tables):
        is_own = exhibit.figure is None and index == 0
        names.append(f"{entry.stem}.csv" if is_own else f"{entry.stem}-{table.name}.csv")
        write_text(folder / names[-1], csv_text(table))
    names.append(f"{entry.stem}.tex")
    write_text(folder / names[-1], _latex(entry, exhibit))
    return tuple(names)


def _latex(entry: Entry, exhibit: Exhibit) -> str:
    if exhibit.figure is None:
        return latex_table(exhibit.tables[0], entry.stem)
    return latex_figure(entry.stem, exhibit.caption, wide=bool(exhibit.figure.get_figwidth() > ONE_COLUMN))


def csv_text(table: Table) -> str:
    """Return a table as CSV: numbers in full, cells with words of their own as they are shown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_csv_field(column) for column in table.columns])
    writer.writerows([[_csv_field(value) for value in row.values()] for row in table.rows])
    return text.getvalue()


def _csv_field(value: Value) -> str:
    """Return one field; text that a spreadsheet would run as a formula gets a leading apostrophe, as on the page."""
    number = full_value(value)
    if isinstance(number, float):
        return "" if math.isnan(number) else repr(float(number))
    if isinstance(number, int):
        return str(number)
    if isinstance(number, list):
        return " ".join(map(str, number))
    text = "" if value is None else plain_line(display_text(value))
    return f"'{text}" if _FORMULA.match(text) else text


def _markdown_index(results: RunResults, written: Written) -> str:
    lines = [f"# Figures of {_markdown(results.study['name'])}", ""]
    lines += ["The figures and tables of arXiv 2509.25758, in its order, from this run.", ""]
    for entry, exhibit, files in written.entries:
        lines += [f"## {entry.title}", "", f"{_sentence(exhibit.state)}", ""]
        if exhibit.figure is not None and f"{entry.stem}.svg" in files:
            lines += [f"![{entry.title}]({entry.stem}.svg)", ""]
        elif exhibit.is_drawn and exhibit.figure is None:
            # The table has escaped its own bars; it is aligned for a terminal, where names are no Markdown.
            lines += [_escape_markdown(exhibit.tables[0].markdown()), ""]
        if exhibit.is_drawn:
            lines += [_markdown(exhibit.caption), "", " · ".join(f"[{name}]({name})" for name in files), ""]
    return "\n".join(lines)


def _sentence(state: str) -> str:
    return _markdown(f"{state[0].upper()}{state[1:]}.")


def _markdown(text: object) -> str:
    """Return text as one line of Markdown prints it: names start no tag, link, emphasis or table cell."""
    return _escape_markdown(re.sub(r"([\\|])", r"\\\1", plain_line(str(text))))


def _escape_markdown(text: str) -> str:
    return re.sub(r"([`*_\[\]<>$#])", r"\\\1", text)


def _html_index(results: RunResults, written: Written) -> str:
    return _template().render(study=str(results.study["name"]), written=written)


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"cell": lambda value: plain_text(display_text(value)), "plain": plain_text}
    return environment.get_template("figures.html.jinja")
