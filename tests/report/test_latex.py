"""The paper's LaTeX: every file is well formed, and a real LaTeX, where there is one, sets it within the page."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from headscope.report.paper import write_figures
from headscope.report.paper.latex import latex_figure, latex_table
from headscope.results.table import Row, Table
from headscope.runs import RunDirectory

HOSTILE = r"a_b%$\input{/etc/passwd} & #~^{x}[y] \\ \end{table*}"


def score_table(tasks: int, name: str = "sft") -> Table:
    """Return a table such as table 1 with so many tasks."""
    rows: list[Row] = []
    for heads in ("no ablation", "12 paper-emergent heads, optimal", "4 kept heads, resample"):
        place: Row = {"model": name, "heads": heads}
        rows.append(place | {f"lab-t{task}": "75.0 [64.5, 83.2]†" for task in range(tasks)})
    return Table("ablation", tuple(rows), f"pass@1 in per cent of {name}; n = 80 × 4.")


def faults(text: str) -> list[str]:
    """Return what is not well formed: braces, environments, characters that command, rows of unequal length."""
    body = re.sub(r"^%.*\n", "", text, flags=re.MULTILINE)
    wrong = []
    bare = re.sub(r"\\[\\{}$&#%_]", "", body)
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            wrong.append("a brace closes nothing")
            break
    if depth > 0:
        wrong.append("a brace is left open")
    open_ones: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([\w*]+)\}", body):
        if kind == "begin":
            open_ones.append(name)
        elif not open_ones or open_ones.pop() != name:
            wrong.append(f"{name} ends before it begins")
    wrong += [f"{name} does not end" for name in open_ones]
    wrong += [f"unescaped {character}" for character in "$#%^~" if character in bare]
    wrong += [f"a letter that LaTeX lacks: {character}" for character in body if ord(character) > 126]
    if "tabularx" in body:
        lines = [line for line in bare.splitlines() if " & " in line]
        if len({line.count(" & ") for line in lines}) > 1:
            wrong.append("rows of unequal length")
    return wrong


@pytest.mark.parametrize("name", ["sft", HOSTILE])
@pytest.mark.parametrize("tasks", [1, 6])
def test_tables_and_figures_are_well_formed(name: str, tasks: int) -> None:
    assert faults(latex_table(score_table(tasks, name), "table-1")) == []
    assert faults(latex_figure("figure-02", name, wide=False)) == []


def test_the_check_finds_faults() -> None:
    text = latex_table(score_table(2), "table-1")
    for fault in (
        text.replace("\\end{table*}", ""),
        text.replace("{[}", "{["),
        text.replace("no ablation &", "no ablation"),
        text.replace("per cent", "%"),
        text.replace(r"\ensuremath{\times}", "×"),
    ):
        assert faults(fault) != []


def test_every_file_of_a_run_is_well_formed(run: RunDirectory, tmp_path: Path) -> None:
    write_figures(run, tmp_path, formats=("png",))
    files = sorted(tmp_path.glob("*.tex"))
    assert len(files) >= 4
    assert {path.name: faults(path.read_text()) for path in files if faults(path.read_text())} == {}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
@pytest.mark.parametrize("tasks", [1, 3, 6])
def test_latex_sets_tables_within_the_page(tasks: int, tmp_path: Path) -> None:
    table = latex_table(score_table(tasks, HOSTILE if tasks == 1 else "sft"), "table-1")
    page = (
        "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs,tabularx}\n\\begin{document}\n"
        f"x\n{table}\n\\end{{document}}\n"
    )
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "page.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
