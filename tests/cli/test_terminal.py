"""Whatever a study, a task or a failure is called, it cannot control the terminal, end its line or stop the program."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from tests.report.runs import RunWriter

from headscope.cli import progress
from headscope.cli.main import main
from headscope.plain_text import escape_controls, plain_line

HOSTILE = "\x1b]0;owned\x07red\nnext\r\n\x9b31m\u2028end\ud800"
PLAIN = "]0;owned"


@pytest.fixture
def hostile_run(tmp_path: Path) -> Path:
    writer = RunWriter(tmp_path / "run", variants=(HOSTILE,), name=HOSTILE)
    writer.failed("scores", f"no {HOSTILE}", variant=HOSTILE, step=1)
    return writer.close().path


def test_one_line_stays_one_line() -> None:
    assert plain_line("a\nb\r\nc\x1b[0m") == "a b c[0m"
    assert plain_line("two words") == "two words"
    assert json.loads(escape_controls(json.dumps({"a": HOSTILE}, ensure_ascii=False))) == {"a": HOSTILE}


@pytest.mark.parametrize("verb", ["status", "report"])
def test_names_and_reasons_print_as_plain_lines(
    hostile_run: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, str(hostile_run)]) == (1 if verb == "status" else 0)
    printed = "".join(capsys.readouterr())
    assert not set(printed) & {"\x1b", "\x07", "\x9b", "\r", "\u2028", "\ud800"}
    assert not [line for line in printed.splitlines() if line.startswith(("next", "end"))]
    if verb == "status":
        assert f"scores {PLAIN}" in printed


def test_json_keeps_names_as_they_are_and_escapes_them(hostile_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(hostile_run), "--json"]) == 1
    printed = capsys.readouterr().out
    assert json.loads(printed)["failures"][0]["reason"] == f"no {HOSTILE}"
    assert not set(printed) & {"\x1b", "\x07", "\x9b", "\r", "\ud800"}


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", f"/nowhere/{HOSTILE}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("label", [HOSTILE, "[red]bold[/nothing]"])
def test_bars_show_labels_as_they_are(label: str, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(record=True, force_terminal=True, width=120)
    with progress.RichProgress(console).bar(label, 2) as bar:
        bar.advance(note=label)
    shown = console.export_text()
    assert not set(shown) & {"\x1b", "\x07", "\x9b"}
    assert plain_line(label)[:20] in shown
    plain = progress._PlainBar(label, 2, 0)
    plain._last_line -= 100
    plain.advance(note=label)
    assert capsys.readouterr().err.count("\n") == 1


WAITING = """
import signal, sys, time
from headscope.cli import main as cli, run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
def wait(*arguments, **options):
    print("working", flush=True)
    time.sleep(60)
run._run = wait
sys.exit(cli.main(sys.argv[1:]))
"""


def test_ctrl_c_says_that_the_same_command_resumes() -> None:
    command = [sys.executable, "-c", WAITING, "eval", "lab"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "headscope: interrupted; the same command resumes\n")


def test_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from headscope.cli import run

    def full(*arguments: object, **options: object) -> int:
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr(run, "_run", full)
    assert main(["eval", "lab"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("headscope: a disk is full (")
    assert said.endswith("; free some space; the same command resumes\n")
    assert said.count("\n") == 1
