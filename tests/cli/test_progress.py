"""Progress lines where there is no terminal, bars where there is one."""

import pytest
from rich.console import Console

from headscope.cli import progress


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.PlainProgress().bar("units", 2) as bar:
        bar.advance(2)
    assert capsys.readouterr().err == ""


def test_long_work_says_how_far_it_is_and_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 11.0, 12.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.PlainProgress().bar("grpo", 4) as bar:
        bar.advance(note="reward 0.3")
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["grpo: 1/4, about 33 s left  reward 0.3", "grpo: 2/4 in 30 s"]


def test_what_begins_is_said_at_once_the_first_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.1, 1.0, 1.1, 1.2])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.PlainProgress().bar("units", 405) as bar:
        bar.advance(0, "train full")
        bar.advance(note="train full")
        bar.advance(0, "train lora")
    assert capsys.readouterr().err.splitlines() == ["units: 0/405  train full"]


def test_a_note_before_the_first_step_has_no_eta(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 11.0, 11.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.PlainProgress().bar("sampling", 4) as bar:
        bar.advance(0, "64 tokens")
    assert capsys.readouterr().err.splitlines()[0] == "sampling: 0/4  64 tokens"


def test_units_of_any_length_foretell_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 11.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.PlainProgress().bar("units", 200) as bar:
        bar.advance(note="train sft")
    assert capsys.readouterr().err.splitlines()[0] == "units: 1/200  train sft"
    bars = progress.RichProgress(Console(record=True, force_terminal=True, width=80))
    for label, foretold in (("units", False), ("grpo", True)):
        with bars.bar(label, 2):
            column = next(column for column in bars._bars.columns if isinstance(column, progress.TimeRemainingColumn))
            assert bool(column.render(bars._bars.tasks[0])) == foretold


def test_bars_nest_and_leave_nothing_behind() -> None:
    console = Console(record=True, force_terminal=True, width=80)
    bars = progress.RichProgress(console)
    with bars.bar("units", 1) as outer, bars.bar("sampling", 3) as inner:
        inner.advance(3, "x")
        outer.advance()
    assert bars._bars.tasks == []


def test_steps_of_an_interrupted_call_count_and_tell_nothing_of_the_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 11.0, 22.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.PlainProgress().bar("grpo", 10, 6) as bar:
        bar.advance(0, "resumed at step 6")
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["grpo: 6/10  resumed at step 6", "grpo: 7/10, about 66 s left", "grpo: 7/10 in 30 s"]


def test_a_bar_begins_where_an_interrupted_call_ended() -> None:
    bars = progress.RichProgress(Console(record=True, force_terminal=True, width=80))
    with bars.bar("grpo", 10, 6) as bar:
        bar.advance()
        assert bars._bars.tasks[0].completed == 7
