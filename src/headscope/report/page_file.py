"""Rendering: a run's results to one HTML file that opens from disk, needs no network and runs no script but its own.

1. Read the finished units of the run.  2. Build pages of figures, tables and text.  3. Print them with the
template, styles and scripts inlined.  4. Check the size and write the file whole.
"""

import json
import re
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from headscope import __version__
from headscope.errors import InputError
from headscope.plain_text import plain_text
from headscope.report.blocks import Plot
from headscope.report.run_results import RunResults
from headscope.report.sanitising import content_security_policy, script_json
from headscope.report.scripts import join_modules
from headscope.results.codec import Json
from headscope.results.table import Value, display_text, full_value
from headscope.runs.directory import RunDirectory
from headscope.storage import write_text

_HERE = Path(__file__).parent
WARN_BYTES = 25 * 10**6
MOST_BYTES = 50 * 10**6
RESPONSES = 6
"""Responses shown per model and task."""
_INTERVAL = re.compile(r"\S+ \[[^\]]*\]")


def render(run: RunDirectory, out: Path | None = None, *, responses: int = RESPONSES) -> Path:
    """Write the report of ``run`` to ``out`` (default ``run.report``) and return its path.

    A run with failed or missing units gives a report that says so. responses: shown per model and task.

    Raises InputError if a unit was written by a newer headscope, or the file would exceed 50 MB; warns above 25 MB.
    """
    html = page_html(RunResults(run), responses=responses)
    path = run.report if out is None else out
    _check_size(len(html.encode("utf-8", "backslashreplace")), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html, shared=True)  # commands that fill one directory together end together
    return path


def page_html(results: RunResults, *, responses: int = RESPONSES) -> str:
    """Return the whole page as text."""
    from headscope.report.pages import build_pages  # imports plotly, which the terminal's tables do without

    scripts = _scripts()
    return _template().render(
        study=plain_text(str(results.study["name"])),
        version=__version__,
        coverage=results.coverage,
        commit=_commit(results),
        pages=build_pages(results, responses),
        known=_known_views(results),
        style=(_HERE / "assets" / "report.css").read_text(encoding="utf-8"),
        scripts=scripts,
        policy=content_security_policy([script["source"] for script in scripts]),
    )


def _known_views(results: RunResults) -> dict[str, Json]:
    """Return what the view state may name, apart from pages: variants, and the heads of the study's models."""
    layers, heads = results.head_grid or (0, 0)
    return {"variants": [plain_text(name) for name in results.variants], "layers": layers, "heads": heads}


def _check_size(size: int, path: Path) -> None:
    megabytes = f"{size / 10**6:.0f} MB"
    if size > MOST_BYTES:
        raise InputError(
            f"the report {path} would be {megabytes} large, above the {MOST_BYTES // 10**6} MB browsers open well; "
            "show fewer responses (responses=0 leaves them out) or split the study's variants over several runs"
        )
    if size > WARN_BYTES:
        warnings.warn(f"the report {path} is {megabytes} large; fewer responses make it smaller", stacklevel=3)


def _commit(results: RunResults) -> str:
    source = results.provenance.get("source", {})
    if not source.get("commit"):
        return "no commit recorded"
    return plain_text(source["commit"][:10]) + (" with uncommitted changes" if source.get("dirty") else "")


@cache
def _scripts() -> tuple[dict[str, str], ...]:
    """Return the scripts the page runs, in order: the chart library, then our modules as one."""
    library = (_HERE / "assets" / "plotly-cartesian.min.js").read_text(encoding="utf-8")
    return (
        {"type": "text/javascript", "source": library},
        {"type": "module", "source": join_modules(_HERE / "assets" / "main.js")},
    )


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_HERE / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "cell": _cell_text,
        "table_cells": _table_cells,
        "plain": plain_text,
        "script_json": script_json,
        "plot_json": _plot_json,
    }
    return environment.get_template("report.html.jinja")


def _plot_json(plot: Plot) -> str:
    return script_json(json.loads(plot.to_json()))


def _cell_text(value: Value) -> str:
    """Return how a table shows a value, without a line break inside an interval."""
    return _INTERVAL.sub(lambda match: match[0].replace(" ", "\u00a0"), plain_text(display_text(value)))


def _table_cells(row: Mapping[str, Value]) -> Markup:
    """Return the cells of a row: what is shown and, if the CSV holds something else, that."""
    cells = []
    for value in row.values():
        text, exact = _cell_text(value), _full_number(value)
        # Numbers and names stay on one line, as cells do unless they say otherwise; sentences get room.
        width = ""
        if len(text) > 24:
            width = ' class="wide"' if len(text) <= 80 else ' class="long"'
        full = "" if exact is None else f' data-exact="{exact}"'
        cells.append(f"<td{width}{full}>{escape(text)}</td>")
    return Markup("".join(cells))


def _full_number(value: Value) -> str | None:
    """Return what the CSV holds if it is not what is shown: floats in full, nothing for unknown."""
    number = full_value(value)
    if number is None or number != number:
        return ""
    return repr(float(number)) if isinstance(number, float) else None
