"""examples/notebook.ipynb runs on a whole run, from its first cell to its last, and each cell shows something."""

import ast
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.report.runs import whole_run

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.ipynb"


def shown(code: str, names: dict[str, Any]) -> Any:
    """Run a cell and return what its last line shows, as a notebook does; None if that is no expression."""
    *statements, last = ast.parse(code).body
    exec(compile(ast.Module(statements, []), NOTEBOOK.name, "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)
    exec(compile(ast.Module([last], []), NOTEBOOK.name, "exec"), names)
    return None


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_run(tmp_path / "runs" / "lab")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names: dict[str, Any] = {}
    results = [shown(cell["source"], names) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert results[0] is None
    frames = [result for result in results if isinstance(result, pd.DataFrame)]
    figures = [result for result in results if isinstance(result, Figure)]
    assert (len(frames), len(figures)) == (5, 4)
    assert all(len(frame) for frame in frames)
    assert all(figure.axes[0].has_data() for figure in figures)


def test_it_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
    assert len({cell["id"] for cell in cells}) == len(cells)
