"""What a failed unit's record says, and what a command prints at its end of those that failed."""

import errno
from pathlib import Path

import pytest
from tests.runs.toys import flip_byte, unit, write_lock

from headscope.cli.run import _print_failures
from headscope.contents import DamagedError
from headscope.errors import InputError, MachineError
from headscope.results.codec import from_json
from headscope.runs import Execution, Outcome, RunDirectory, Unit, execute, unit_writing
from headscope.runs.discarding import discard_damaged
from headscope.runs.failures import Failure, failure_file
from headscope.storage import read_object


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


@pytest.mark.parametrize(
    ("error", "reason", "bad_input", "passing", "damaged"),
    [
        (InputError("file x is empty"), "file x is empty", True, False, False),
        (DamagedError("the state has other bytes"), "the state has other bytes", True, False, True),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero", False, False, False),
        (OSError(errno.ESTALE, "Stale file handle"), "OSError: [Errno 116] Stale file handle", False, True, False),
        (MachineError("the engine ended"), "MachineError: the engine ended", False, True, False),
        (MemoryError("no memory"), "MemoryError: no memory", False, True, False),
        (OutOfMemoryError("CUDA out of memory"), "OutOfMemoryError: CUDA out of memory", False, True, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_record_of_a_failed_unit(
    tmp_path: Path, error: Exception, reason: str, bad_input: bool, passing: bool, damaged: bool
) -> None:
    run, broken = RunDirectory(tmp_path), unit(fail=error, a=1)
    assert execute([broken], run).failed == {"toy x": reason}
    record = read_object(failure_file(run.folder(broken)))
    assert record["labels"] == {"name": "x"}
    assert record["config"] == {"a": 1, "b": None, "place": ""}
    assert record.keys() >= {"kind", "version", "inputs", "seconds", "peak_memory_gib", "versions", "source"}
    failure = from_json(Failure, record, "record")
    assert (failure.reason, failure.bad_input) == (reason, bad_input)
    assert (failure.passing, failure.damaged) == (passing, damaged)
    assert failure.traceback.startswith("Traceback")
    assert failure.traceback.rstrip().endswith(str(error))


def test_the_sentence_of_a_unit_that_failed_before(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    execute([unit(fail=InputError("file x is empty"), a=1)], run)
    assert execute([unit(a=1)], run).failed == {"toy x": "file x is empty (failed before; --retry tries again)"}
    failure_file(run.folder(unit(a=1))).write_text("{")
    reason = execute([unit(a=1)], run).failed["toy x"]
    assert reason.startswith("it is not known why: ")
    assert reason.endswith("(failed before; --retry tries again)")


def test_a_failure_that_another_mends_between_two_looks_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read = RunDirectory(tmp_path), RunDirectory.failure
    execute([unit(fail=InputError("file x is empty"), a=1)], run)

    def read_before_another_finishes(run: RunDirectory, one: Unit) -> Failure | None:
        monkeypatch.setattr(RunDirectory, "failure", read)
        failure = read(run, one)
        assert execute([one], run, Execution(retry=True)).done == 1
        return failure

    monkeypatch.setattr(RunDirectory, "failure", read_before_another_finishes)
    outcome = execute([unit(a=1)], run)
    assert (outcome.failed, outcome.reused) == ({}, 1)


def test_a_record_that_goes_before_it_is_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, broken = RunDirectory(tmp_path), unit(a=1)
    for question in ("exists", "is_file"):  # whatever was there when it was asked
        monkeypatch.setattr(Path, question, lambda path: True)
    assert run.failure(broken) is None
    assert run.failed_at(broken) == 0.0


def test_a_unit_that_is_killed_when_it_is_done_has_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, one, rename = RunDirectory(tmp_path), unit(a=1), unit_writing.rename_synced
    execute([unit(fail=InputError("file x is empty"), a=1)], run)

    def rename_and_die(folder: Path, target: Path) -> None:
        rename(folder, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(unit_writing, "rename_synced", rename_and_die)
    with pytest.raises(KeyboardInterrupt):
        execute([one], run, Execution(retry=True))
    monkeypatch.undo()
    assert run.is_done(one)
    flip_byte(run.folder(one) / "value.json")
    assert discard_damaged(run).keys() == {one.address}
    assert execute([one], run).done == 1


def test_what_is_printed_of_failed_and_skipped_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(tmp_path)
    broken = [
        unit(fail=InputError("file x is empty"), labels={"name": name}, a=number) for number, name in enumerate("pqr")
    ]
    other = unit(fail=ZeroDivisionError("no"), labels={"name": "s"}, b=1)
    readers = [unit("read", inputs={"base": broken[number]}, labels={"name": f"of {number}"}, b=2) for number in (0, 1)]
    units = [*broken, other, *readers]
    write_lock(run, units)
    _print_failures(execute(units, run))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "failed: toy p and 2 more: file x is empty",
        "failed: toy s: ZeroDivisionError: no",
        "skipped: 2 units that need these, read of 0 first",
    ]


def test_one_skipped_unit_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    _print_failures(Outcome(failed={"toy p": "no"}, skipped=["read p"]))
    assert capsys.readouterr().err.splitlines()[1] == "skipped: 1 unit that needs these, read p"


def test_nothing_is_printed_of_a_call_without_failures(capsys: pytest.CaptureFixture[str]) -> None:
    _print_failures(Outcome(done=3))
    assert capsys.readouterr().err == ""
