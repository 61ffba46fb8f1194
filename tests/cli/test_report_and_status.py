"""``report`` and ``status``: the tables of a run directory, without a model."""

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from tests.report.runs import RunWriter, add_comparison, emergence, whole_run

from headscope.cli.main import main
from headscope.report import RunResults, verb_tables
from headscope.runs import RunDirectory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return whole_run(tmp_path_factory.mktemp("cli") / "run")


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    return capsys.readouterr().out


def test_report_prints_the_tables_of_run_and_the_page(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    printed = call(capsys, "report", str(run.path))
    tables = [table.markdown() for table in verb_tables("run", RunResults(run)) if table.rows]
    assert printed == "\n\n".join([*tables, f"{run.report}\n"])


def test_report_gives_full_numbers_as_json(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(call(capsys, "report", str(run.path), "--json"))
    tables = ["summary", "seeds", "accuracy", "heads", "reward-coupling", "verdicts", "failures"]
    assert list(content) == ["run", "open", *tables]
    effect = content["verdicts"][0]["Δ pass@1"]
    assert (effect["value"], effect["low"], effect["n"]) == (-0.14, pytest.approx(-0.17), 200)
    assert [row["reason"] for row in content["verdicts"] if row["verdict"] == "not run"] == 2 * [
        "no head of grpo is emergent at step 60"
    ]


def test_unknown_numbers_are_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = RunWriter(tmp_path / "run", variants=("grpo",))
    grid = np.ones((1, 2))
    add_comparison(writer, "grpo", 6 * [emergence(grid, grid, null=math.nan)])
    content = json.loads(call(capsys, "report", str(writer.close().path), "--json"))
    assert content["heads"][0]["new"]["null"]["value"] is None


def test_the_page_of_a_folder_that_cannot_be_written_is_in_the_working_folder(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != run.path)
    assert call(capsys, "report", str(run.path)).endswith("\nrun-report.html\n")
    assert (tmp_path / "run-report.html").is_file()


def test_what_is_not_allowed_to_be_written_is_one_sentence(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_text", refuse)
    assert main(["report", str(run.path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"headscope: {run.path}/report/")
    assert said.endswith("cannot be written or read (Permission denied)\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--picture", "nowhere/a.png"], "--picture nowhere/a.png lies in nowhere, which does not exist"),
        (["--picture", "a.png", "--figures", "f"], "give one of them"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused(
    run: RunDirectory, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run.path), *options]) == 2
    assert words in capsys.readouterr().err


def test_status_prints_coverage_and_why_units_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = RunWriter(tmp_path / "run")
    writer.unit("pairs", variant="sft", pairs="main")
    writer.failed("scores", "ran out of memory\x1b[31m", variant="sft", step=10)
    writer.planned("scores", variant="sft", step=20)
    path = str(writer.close().path)
    assert call(capsys, "status", path, code=1).split("\n") == [
        "| unit   | planned | done | failed | missing |",
        "|--------|---------|------|--------|---------|",
        "| pairs  | 1       | 1    | 0      | 0       |",
        "| scores | 2       | 0    | 1      | 1       |",
        "",
        "scores sft 10 failed: ran out of memory[31m",
        path,
        "",
    ]
    content = json.loads(call(capsys, "status", path, "--json", code=1))
    assert content["coverage"][1] == {"unit": "scores", "planned": 2, "done": 0, "failed": 1, "missing": 1}
    assert content["failures"] == [{"unit": "scores sft 10", "reason": "ran out of memory\x1b[31m"}]


def test_names_cannot_control_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = RunWriter(tmp_path / "run", variants=("\x1b[31mred\nnext",)).close().path
    printed = call(capsys, "report", str(path))
    assert "\x1b" not in printed
    assert "| [31mred next " in printed
