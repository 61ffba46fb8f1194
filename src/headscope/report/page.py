"""Rendering: findings to one HTML file that opens from disk, needs no network and runs no script but its own.

1. Read the finished units of the run.  2. Build pages of figures, tables and text.  3. Print them with the
template, styles and scripts inlined.  4. Check the size and write the file whole.
"""

import json
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from headscope import __version__
from headscope.errors import InputError
from headscope.report.embedding import content_security_policy, plain, script_json
from headscope.report.findings import Findings, read
from headscope.report.numbers import UNKNOWN
from headscope.report.pages import build_pages
from headscope.report.scripts import joined
from headscope.runs.directory import RunDirectory
from headscope.storage import write_text

_HERE = Path(__file__).parent
WARN_BYTES = 25 * 10**6
MOST_BYTES = 50 * 10**6
RESPONSES = 6
"""Responses shown per model and task."""
_INTERVAL = re.compile(r"\S+ \[[^\]]*\]")


def render(run: RunDirectory, out: Path | None = None, *, responses: int = RESPONSES) -> Path:
    """Write the report of ``run`` to ``out`` (default ``run.report``) and return where it is.

    A run with failed or missing units gives a report that says so. responses: shown per model and task.

    Raises InputError where a unit was written by a newer headscope, or the file would exceed 50 MB; warns
    above 25 MB.
    """
    html = page_html(read(run), responses=responses)
    path = run.report if out is None else out
    _check_size(len(html.encode("utf-8", "backslashreplace")), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html)
    return path


def page_html(findings: Findings, *, responses: int = RESPONSES) -> str:
    """The whole page as text."""
    scripts = _scripts()
    return _template().render(
        study=plain(str(findings.study["name"])),
        version=__version__,
        coverage=findings.coverage,
        commit=_commit(findings),
        pages=build_pages(findings, responses),
        style=(_HERE / "assets" / "report.css").read_text(encoding="utf-8"),
        scripts=scripts,
        policy=content_security_policy([script["source"] for script in scripts]),
    )


def _check_size(size: int, path: Path) -> None:
    shown = f"{size / 10**6:.0f} MB"
    if size > MOST_BYTES:
        raise InputError(
            f"the report {path} would be {shown} large, above the {MOST_BYTES // 10**6} MB browsers open "
            "well; show fewer responses "
            "(responses=0 leaves them out) or split the study's variants over several runs"
        )
    if size > WARN_BYTES:
        warnings.warn(f"the report {path} is {shown} large; fewer responses make it smaller", stacklevel=3)


def _commit(findings: Findings) -> str:
    source = findings.provenance.get("source", {})
    if not source.get("commit"):
        return "no commit recorded"
    return plain(source["commit"][:10]) + (" with uncommitted changes" if source.get("dirty") else "")


@cache
def _scripts() -> tuple[dict[str, str], ...]:
    """The scripts the page runs, in order: the chart library, then our modules as one."""
    library = (_HERE / "assets" / "plotly-cartesian.min.js").read_text(encoding="utf-8")
    return (
        {"type": "text/javascript", "source": library},
        {"type": "module", "source": joined(_HERE / "assets" / "main.js")},
    )


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_HERE / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "cell": _cell,
        "exact": _exact,
        "plain": plain,
        "script_json": script_json,
        "plot_json": _plot_json,
    }
    return environment.get_template("report.html.jinja")


def _plot_json(plot: Any) -> str:
    return script_json(json.loads(plot.to_json()))


def _cell(value: Any) -> str:
    """How a table shows a value: three significant digits, a dash for nothing, no line break inside an
    interval."""
    if value is None or value != value:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.3g}".replace("-", "−")
    return _INTERVAL.sub(lambda found: found[0].replace(" ", "\u00a0"), plain(str(value)))


def _exact(value: Any) -> str | None:
    """What the CSV holds where it differs from what is shown: floats in full, nothing for unknown."""
    if value is None or value != value:
        return ""
    return repr(float(value)) if isinstance(value, float) else None
