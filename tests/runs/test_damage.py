"""Files that changed after their unit was finished are named and done again on request; the machine's failures pass."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.runs.toys import Toy, ToyConfig, add_up, flip_byte, overwrite, unit, write_lock

from headscope.contents import DamagedError
from headscope.errors import InputError, MachineError
from headscope.progress import Progress
from headscope.runs import Execution, Inputs, RunDirectory, Unit, Work, execute
from headscope.runs.coverage import coverage
from headscope.runs.discarding import discard_damaged
from headscope.runs.records import done_mark, find_unit_damage
from headscope.storage import parse_object, write_json


@pytest.fixture
def chain(tmp_path: Path) -> tuple[RunDirectory, list[Unit]]:
    """A run of a unit, its reader, and one that reads neither; all finished."""
    base = unit(a=1)
    units = [base, unit("read", inputs={"base": base}, b=2), unit("free", b=3)]
    run = RunDirectory(tmp_path)
    write_lock(run, units)
    assert execute(units, run).done == 3
    return run, units


def test_whole_units_are_not_damaged(chain: tuple[RunDirectory, list[Unit]]) -> None:
    run, units = chain
    assert coverage(run, check_files=True).complete
    assert discard_damaged(run) == {}
    assert run.find("read")[0].unit["files"].keys() == {"value.json"}
    assert execute(units, run).reused == 3


@pytest.mark.parametrize("name", ["value.json", "unit.json", "DONE"])
@pytest.mark.parametrize("change", ["flipped", "cut", "emptied", "swapped"])
def test_every_change_of_every_file_is_told(chain: tuple[RunDirectory, list[Unit]], name: str, change: str) -> None:
    run, (base, _, free) = chain
    path = run.folder(base) / name
    if change == "flipped":
        flip_byte(path)
    elif change == "swapped":
        overwrite(path, (run.folder(free) / name).read_bytes())
    else:
        overwrite(path, path.read_bytes()[: 0 if change == "emptied" else -1])
    if (change, name) == ("cut", "DONE"):  # the line break at its end
        assert coverage(run, check_files=True).complete
        return
    ((damaged, reason),) = coverage(run, check_files=True).damages
    assert damaged == "toy x"
    assert name in reason
    with pytest.raises(DamagedError, match=r"toy x is damaged: .*--retry"):
        _ = run.results(Toy)[0].whole


@contextmanager
def unreadable(lost: Path) -> Iterator[None]:
    """Have a file server answer with an error whatever is asked of one file."""
    stat, open_file = os.stat, Path.open

    def is_away(path: object) -> None:
        if str(path) == str(lost):
            raise OSError(errno.EIO, "Input/output error")

    def stat_if_reached(path: Any, *args: Any, **options: Any) -> Any:
        is_away(path)
        return stat(path, *args, **options)

    def open_if_reached(path: Path, *args: Any, **options: Any) -> Any:
        is_away(path)
        return open_file(path, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "stat", stat_if_reached)
        patch.setattr(Path, "open", open_if_reached)
        for question, answer in (("is_file", os.path.isfile), ("exists", os.path.exists)):  # as of Python 3.14
            patch.setattr(Path, question, lambda path, answer=answer: answer(path))
        yield


@pytest.mark.parametrize("name", ["value.json", "unit.json", "DONE"])
def test_a_file_that_cannot_be_read_now_is_not_damaged(chain: tuple[RunDirectory, list[Unit]], name: str) -> None:
    run, units = chain
    folder = run.folder(units[0])
    mark = done_mark(folder)
    with unreadable(folder / name):
        with pytest.raises(OSError, match="Input/output error"):
            find_unit_damage(folder)
        with suppress(OSError):  # it need not come to an end
            discard_damaged(run)
    assert done_mark(folder) == mark
    assert coverage(run, check_files=True).complete


def test_who_cannot_read_an_input_now_is_tried_again_without_being_asked(
    chain: tuple[RunDirectory, list[Unit]],
) -> None:
    run, (base, _, free) = chain
    reader, other = unit("again", inputs={"base": base}, b=5), unit("again", inputs={"base": free}, b=6)
    with unreadable(run.folder(base) / "value.json"):
        outcome = execute([base, free, reader, other], run)
    assert outcome.failed == {"again x": f"OSError: [Errno {errno.EIO}] Input/output error"}
    assert (outcome.exit_code, outcome.done, outcome.skipped) == (1, 1, [])
    assert execute([base, free, reader, other], run).done == 1


def test_what_failed_while_an_input_could_not_be_read_keeps_its_own_reason(
    chain: tuple[RunDirectory, list[Unit]],
) -> None:
    run, (base, _, _) = chain

    with ExitStack() as stack:

        def fail(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
            stack.enter_context(unreadable(run.folder(base) / "value.json"))
            raise InputError("file x is empty")

        reader = Work("again", ToyConfig, fail).unit(ToyConfig(b=5), {"name": "x"}, {"base": base})
        outcome = execute([base, reader], run)
    assert (outcome.failed, outcome.exit_code) == ({"again x": "file x is empty"}, 2)


def test_a_folder_that_is_another_units_is_told(chain: tuple[RunDirectory, list[Unit]]) -> None:
    run, (base, _, free) = chain
    shutil.rmtree(run.folder(base))
    shutil.copytree(run.folder(free), run.folder(base))
    ((_, reason),) = coverage(run, check_files=True).damages
    assert reason == f"unit.json is that of {free.address}"


def test_a_missing_file_is_told_and_one_too_many_is_not(chain: tuple[RunDirectory, list[Unit]]) -> None:
    run, (base, reader, _) = chain
    (run.folder(reader) / "notes.txt").touch()
    (run.folder(base) / "value.json").unlink()
    assert coverage(run, check_files=True).damages == (("toy x", "value.json is missing"),)


def test_no_unit_reads_a_damaged_one(chain: tuple[RunDirectory, list[Unit]]) -> None:
    run, (base, _, free) = chain
    flip_byte(run.folder(base) / "value.json")
    another = unit("again", inputs={"base": base, "free": free}, b=5)
    outcome = execute([base, free, another], run)
    assert list(outcome.failed) == ["toy x"]
    assert outcome.failed["toy x"].startswith("value.json has other bytes")
    assert (outcome.skipped, outcome.exit_code) == (["again x"], 2)
    assert run.failure(another) is None
    assert discard_damaged(run).keys() == {base.address}
    mended = execute([base, free, another], run)
    assert (mended.done, mended.reused, mended.failed) == (2, 1, {})


@pytest.mark.parametrize("remade", [False, True], ids=["deleted", "made again"])
def test_an_input_that_is_deleted_under_its_reader_is_no_failure_of_the_reader(tmp_path: Path, remade: bool) -> None:
    run, base, tries = RunDirectory(tmp_path), unit(a=1), []

    def read(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
        tries.append(1)
        if len(tries) == 1:  # another process finds damage, with --retry
            flip_byte(inputs.folders["base"] / "value.json")
            discard_damaged(run)
            if remade:
                with pytest.raises(InputError) as missing:
                    inputs.load("base", Toy)
                execute([base], run)
                raise missing.value
        return Toy(2, inputs.load("base", Toy).total)

    reader = Work("read", ToyConfig, read).unit(ToyConfig(b=2), {"name": "x"}, {"base": base})
    assert execute([base], run).done == 1
    outcome = execute([base, reader], run)
    assert (outcome.failed, outcome.skipped, outcome.reused) == ({}, [], 1)
    assert outcome.done == (1 if remade else 2)
    assert run.failure(reader) is None
    assert Toy.load(run.folder(reader)) == Toy(2, 1)
    assert execute([base, reader], run).reused == 2


def test_what_was_computed_from_bytes_that_were_replaced_meanwhile_is_computed_again(tmp_path: Path) -> None:
    run, totals = RunDirectory(tmp_path), [10, 20]
    base_work = Work("toy", ToyConfig, lambda config, inputs, progress: Toy(1, totals[0]))
    base = base_work.unit(ToyConfig(a=1), {"name": "x"})
    read_totals = []

    def read(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
        read_totals.append(inputs.load("base", Toy).total)
        if len(read_totals) == 1:
            flip_byte(inputs.folders["base"] / "value.json")
            discard_damaged(run)
            totals.pop(0)
            execute([base], run)
        return Toy(2, read_totals[-1])

    reader = Work("read", ToyConfig, read).unit(ToyConfig(b=2), {"name": "x"}, {"base": base})
    outcome = execute([base, reader], run)
    assert (read_totals, outcome.failed) == ([10, 20], {})
    assert Toy.load(run.folder(reader)) == Toy(2, 20)


def test_an_input_that_is_damaged_under_its_reader_is_the_failure(tmp_path: Path) -> None:
    run, base = RunDirectory(tmp_path), unit(a=1)

    def read(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
        overwrite(inputs.folders["base"] / "value.json", b"{")
        return Toy(2, inputs.load("base", Toy).total)

    reader = Work("read", ToyConfig, read).unit(ToyConfig(b=2), {"name": "y"}, {"base": base})
    outcome = execute([base, reader], run)
    assert outcome.failed.keys() == {"toy x"}
    assert outcome.failed["toy x"] == (
        f"value.json has other bytes than it was written with in {run.folder(base)}; run the study with --retry to do "
        "it again"
    )
    assert (outcome.skipped, run.failure(reader)) == (["read y"], None)


def test_an_input_that_is_missing_and_not_planned_is_named(tmp_path: Path) -> None:
    run, base = RunDirectory(tmp_path), unit(a=1)
    reader = unit("read", inputs={"base": base}, b=2)
    outcome = execute([reader], run)
    assert outcome.failed == {"toy x": f"it is missing in {run.folder(base)}; run the whole study to do it"}
    assert outcome.skipped == ["read x"]


def test_readers_are_done_again_if_the_bytes_are_others_now_and_only_then(
    chain: tuple[RunDirectory, list[Unit]],
) -> None:
    run, (base, reader, free) = chain
    flip_byte(run.folder(base) / "value.json")
    discard_damaged(run)
    assert execute([base, reader, free], run).done == 1

    def other(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
        return Toy(1, 100)

    flip_byte(run.folder(base) / "value.json")
    discard_damaged(run)
    changed = Work("toy", ToyConfig, other).unit(base.config, base.labels)  # type: ignore[arg-type]
    outcome = execute([changed, reader, free], run)
    assert (outcome.done, outcome.reused) == (2, 1)
    assert Toy.load(run.folder(reader)) == Toy(2, 102)


def test_units_without_digests_are_read(chain: tuple[RunDirectory, list[Unit]]) -> None:
    run, units = chain
    for finished in units:
        folder = run.folder(finished)
        record = json.loads((folder / "unit.json").read_text())
        for key in ("files", "contents", "input_contents"):
            del record[key]
        write_json(folder / "unit.json", record)
        (folder / "DONE").write_text("")
    assert coverage(run, check_files=True).complete
    assert execute(units, run).reused == 3
    assert run.results(Toy, "read")[0].whole == Toy(2, 3)


def test_a_kill_while_a_damaged_unit_is_deleted_leaves_nothing_to_go_on_from(tmp_path: Path) -> None:
    work = Work("train", ToyConfig, add_up, resumable=True)
    trained = work.unit(ToyConfig(a=1), {})
    run = RunDirectory(tmp_path)
    execute([trained], run)
    run.folder(trained).rename(run.folder(trained).with_name(f".{trained.digest}.damaged"))
    assert discard_damaged(run) == {}
    assert list(run.folder(trained).parent.iterdir()) == []


def test_a_damaged_state_is_thrown_away_on_retry(tmp_path: Path) -> None:
    def go_on(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
        if (inputs.scratch / "state").exists():
            raise DamagedError("the state has other bytes; with --retry it starts again")
        return Toy(1, 1)

    trained = Work("train", ToyConfig, go_on, resumable=True).unit(ToyConfig(a=1), {})
    run = RunDirectory(tmp_path)
    run.partial(trained).mkdir(parents=True)
    (run.partial(trained) / "state").touch()
    for _ in range(2):
        assert execute([trained], run).exit_code == 2
    assert execute([trained], run, Execution(retry=True)).done == 1


def wrapped(cause: Exception, error: Exception) -> Exception:
    error.__cause__ = cause
    return error


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


@pytest.mark.parametrize(
    "error",
    [
        MachineError("the engine ended with status -9"),
        RuntimeError("DataLoader worker (pid 123) is killed by signal: Killed."),
        MemoryError(),
        OutOfMemoryError("CUDA out of memory"),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.EIO, "Input/output error"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        OSError(errno.EADDRINUSE, "Address already in use"),
        ValueError("Error while deserializing: Input/output error (os error 5)"),
        wrapped(OSError(errno.EMFILE, "Too many open files"), InputError("model m cannot be loaded")),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 40 bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_machine_did_is_tried_again_without_being_asked(tmp_path: Path, error: Exception) -> None:
    run = RunDirectory(tmp_path)
    outcome = execute([unit(fail=error, a=1)], run)
    assert (list(outcome.failed), outcome.exit_code) == (["toy x"], 1)
    assert execute([unit(a=1)], run).done == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        InputError("no"),
        wrapped(
            RuntimeError("CUDA error: no kernel image"), InputError("attention x does not run here (CUDA error: no)")
        ),
    ],
    ids=["ValueError", "InputError", "kernel"],
)
def test_what_it_did_not_do_is_not(tmp_path: Path, error: Exception) -> None:
    run = RunDirectory(tmp_path)
    execute([unit(fail=error, a=1)], run)
    assert "failed before" in execute([unit(a=1)], run).failed["toy x"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("No space left on device (os error 28)"),
        wrapped(OSError(errno.ENOSPC, "No space left on device"), ValueError("the file could not be written")),
    ],
    ids=["Python", "safetensors", "wrapped"],
)
def test_a_full_disk_ends_the_run_and_fails_no_unit(tmp_path: Path, error: Exception) -> None:
    run = RunDirectory(tmp_path)
    with pytest.raises(type(error)):
        execute([unit(fail=error, a=1), unit(b=2)], run)
    assert run.failure(unit(a=1)) is None
    assert execute([unit(a=1), unit(b=2)], run).done == 2


def test_an_error_of_the_gpu_ends_the_run_in_this_process(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    error = RuntimeError("CUDA error: unspecified launch failure\nCompile with `TORCH_USE_CUDA_DSA`")
    first, reader, other = unit(fail=error, a=1), unit("read", inputs={"base": unit(a=1)}, b=2), unit("free", b=3)
    words = (
        "^toy x failed: RuntimeError: CUDA error: unspecified launch failure; this process can use its GPU no more, "
        "and the same command goes on$"
    )
    with pytest.raises(MachineError, match=words):
        execute([first, reader, other], run)
    assert not run.is_done(other)
    assert execute([unit(a=1), reader, other], run).done == 3


def test_an_error_of_the_gpu_in_the_last_unit_is_its_failure(tmp_path: Path) -> None:
    reader = unit("read", inputs={"base": unit(a=1)}, b=2)
    outcome = execute([unit(fail=RuntimeError("CUDA error: misaligned"), a=1), reader], RunDirectory(tmp_path))
    assert (outcome.failed, outcome.skipped) == ({"toy x": "RuntimeError: CUDA error: misaligned"}, ["read x"])


def test_a_failure_whose_record_is_damaged_is_still_one(tmp_path: Path) -> None:
    run, broken = RunDirectory(tmp_path), unit(fail=InputError("no"), a=1)
    write_lock(run, [broken])
    execute([broken], run)
    next(tmp_path.rglob("*.failed.json")).write_text("{")
    ((name, reason),) = coverage(run).failures
    assert (name, "not known why" in reason) == ("toy x", True)
    assert execute([unit(a=1)], run).exit_code == 2
    assert execute([unit(a=1)], run, Execution(retry=True)).done == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"units": None}, "an odd units"),
        ({"units": [3]}, r"an odd units\.0"),
        ({"units": [{"digest": 16 * "0", "labels": {}}]}, r"lacks units\.0\.kind"),
        ({"units": [{"kind": "toy", "digest": "../../elsewhere", "labels": {}}]}, r"an odd units\.0\.digest"),
        ({"units": [{"kind": "toy", "digest": 16 * "0", "labels": {"step": [1]}}]}, r"an odd units\.0\.labels\.step"),
        ({"study": []}, "an odd study"),
        ({"study": {"variants": [{"nom": "a"}]}}, r"lacks study\.variants\.0\.name"),
        ({"study": {"discover": {"fraction": "much"}}}, r"an odd study\.discover\.fraction"),
        ({"provenance": 3}, "an odd provenance"),
    ],
)
def test_a_lock_with_missing_or_odd_keys_is_one_sentence(tmp_path: Path, change: dict[str, object], words: str) -> None:
    run = RunDirectory(tmp_path)
    write_lock(run, [])
    RunDirectory.open(tmp_path)
    write_json(run.lock_file, json.loads(run.lock_file.read_text()) | change)
    with pytest.raises(InputError, match=rf"study\.lock\.json (has )?{words}.*; delete it and run the study again"):
        RunDirectory.open(tmp_path)


def test_a_label_that_a_lock_lacks_is_one_sentence(chain: tuple[RunDirectory, list[Unit]]) -> None:
    with pytest.raises(InputError, match="lacks the label 'variant'"):
        _ = chain[0].results(Toy)[0].labels["variant"]


def test_json_of_a_hundred_thousand_brackets_is_one_sentence() -> None:
    assert parse_object('{"a": [[1]]}', "x.json") == {"a": [[1]]}
    with pytest.raises(InputError, match=r"x\.json is nested too deeply"):
        parse_object(100_000 * "[", "x.json")
