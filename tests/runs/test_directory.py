"""A unit's folder is whole or absent, whatever happens while it is written."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runs.toys import Toy, ToyConfig, add_up, unit, write_lock

from headscope import storage
from headscope.errors import InputError
from headscope.progress import Progress
from headscope.report import page_file
from headscope.results.claim import Claims
from headscope.results.not_run import NotRun
from headscope.runs import Execution, Inputs, Outcome, RunDirectory, Work, discarding, execute
from headscope.runs.coverage import coverage
from headscope.runs.digests import folder_digest
from headscope.runs.presence import Presence
from headscope.runs.records import done_mark
from headscope.runs.units import closure
from headscope.storage import read_object, write_json


def test_digest_covers_config_inputs_and_version_but_no_label() -> None:
    one = unit(a=1)
    assert unit(a=1).digest == one.digest
    assert unit(a=2).digest != one.digest
    assert unit(a=1, inputs={"base": one}).digest != unit(a=1, inputs={"base": unit(a=2)}).digest
    assert unit(a=1, labels={"name": "y"}).digest == one.digest
    assert unit(a=1, place="another machine").digest == one.digest
    assert unit(a=1, version=2).digest != one.digest


def test_closure_puts_inputs_first_and_holds_each_unit_once() -> None:
    base = unit(a=1)
    reader, other = unit("read", inputs={"base": base}, b=1), unit("read", inputs={"base": unit(a=1)}, b=2)
    ordered = closure([other, reader])
    assert [unit.config for unit in ordered] == [ToyConfig(a=1), ToyConfig(b=2), ToyConfig(b=1)]


def test_a_finished_unit_is_reused_and_found(tmp_path: Path) -> None:
    run, one = RunDirectory(tmp_path), unit(a=1)
    write_lock(run, [one])
    assert execute([one], run).done == 1
    again = execute([one], run)
    assert (again.done, again.reused, again.exit_code) == (0, 1, 0)
    (record,) = run.find("toy", name="x")
    assert Toy.load(record.folder) == Toy(1, 1)
    assert record.unit["config"] == {"a": 1, "b": None, "place": ""}
    assert record.unit["peak_memory_gib"] > 0
    assert run.find("toy", name="y") == []


class Notes:
    """A bar that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.told.append((steps, note))


def test_a_unit_is_named_before_it_begins_and_counted_after(tmp_path: Path) -> None:
    first, second = unit(a=1), unit(a=2)
    run, bar = RunDirectory(tmp_path), Notes()
    execute([first], run)
    execute([first, second], run, bar=bar)
    assert bar.told == [(1, first.name), (0, second.name), (1, second.name)]


def test_a_failure_is_kept_told_and_tried_again_only_on_request(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    broken = unit(fail=InputError("file x is empty"), a=1)
    needs = unit("read", inputs={"toy": broken}, b=1)
    free = unit("read", b=2)
    write_lock(run, [broken, needs, free])
    outcome = execute([broken, needs, free], run)
    assert outcome.failed == {"toy x": "file x is empty"}
    assert outcome.skipped == ["read x"]
    assert (outcome.done, outcome.exit_code) == (1, 2)
    assert coverage(run).failures == (("toy x", "file x is empty"),)
    assert "failed before" in execute([broken], run).failed["toy x"]
    again = execute([broken], run, Execution(retry=True), earlier=Outcome(failed={"toy x": "file x is empty"}))
    assert again.failed == {"toy x": "file x is empty"}
    assert again.seconds == {}  # not tried a second time
    mended = unit(a=1)
    assert execute([mended, needs], run, Execution(retry=True)).done == 2
    assert coverage(run).failures == ()


def test_an_error_that_is_no_input_error_exits_with_1_and_keeps_its_traceback(tmp_path: Path) -> None:
    run, broken = RunDirectory(tmp_path), unit(fail=ZeroDivisionError("oh"), a=1)
    outcome = execute([broken], run)
    assert outcome.exit_code == 1
    record = run.failure(broken)
    assert record is not None
    assert "ZeroDivisionError" in record.traceback
    assert not run.is_done(broken)


@pytest.mark.parametrize("file", ["study.lock.json", "failure", "claims.json", "report.html"])
def test_processes_that_write_one_file_at_once_are_not_in_each_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    run, one, sync = RunDirectory(tmp_path), unit(a=1), storage._sync
    monkeypatch.setattr(page_file, "RunResults", lambda run: run)
    monkeypatch.setattr(page_file, "page_html", lambda results, responses: "page")

    def write() -> None:
        if file == "study.lock.json":
            run.write_lock({"name": "x"}, [one.row])
        elif file == "failure":
            run.record_failure(one, {"reason": "no", "bad_input": True})
        elif file == "claims.json":
            Claims(()).save(run.path)
        else:
            page_file.render(run)

    def sync_while_another_writes(path: Path) -> None:
        monkeypatch.setattr(storage, "_sync", sync)
        write()
        sync(path)

    monkeypatch.setattr(storage, "_sync", sync_while_another_writes)
    write()
    assert not [*run.path.rglob("*.partial")]


def test_a_rename_whose_answer_was_lost_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, one, replace = RunDirectory(tmp_path), unit(a=1), Path.replace
    asked_twice: list[str] = []

    def replace_twice(path: Path, target: Path) -> Path:
        replaced = replace(path, target)
        if target.name not in asked_twice and path.suffix == ".partial":  # as a client of NFS does without an answer
            asked_twice.append(target.name)
            replace(path, target)
        return replaced

    monkeypatch.setattr(Path, "replace", replace_twice)
    outcome = execute([one], run)
    monkeypatch.undo()
    assert (outcome.done, outcome.failed) == (1, {})
    assert asked_twice == ["value.json", "unit.json", "DONE", one.digest]
    assert run.failure(one) is None
    assert [path.name for path in run.folder(one).parent.iterdir()] == [one.digest]


@pytest.fixture
def every_rename_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every folder renamed a second time, as by a client of NFS that got no answer."""

    def twice(call: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def call_twice(path: Path, target: Path) -> Path:
            is_folder = path.is_dir()
            renamed = call(path, target)
            return call(path, target) if is_folder else renamed

        return call_twice

    for name in ("replace", "rename"):
        monkeypatch.setattr(Path, name, twice(getattr(Path, name)))


@pytest.mark.usefixtures("every_rename_twice")
def test_a_partial_folder_whose_rename_had_no_answer_is_gone_on_from(tmp_path: Path) -> None:
    run, tries = RunDirectory(tmp_path), []

    def go_on(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
        tries.append([path.name for path in inputs.scratch.iterdir()])
        (inputs.scratch / "step-1").touch()
        if len(tries) == 1:
            raise KeyboardInterrupt
        return Toy(1, 1)

    trained = Work("train", ToyConfig, go_on, resumable=True).unit(ToyConfig(), {})
    with pytest.raises(KeyboardInterrupt):
        execute([trained], run)
    assert run.free_partial(trained).is_dir()
    assert execute([trained], run).done == 1
    assert tries == [[], ["step-1"]]
    assert not [*run.path.glob("units/*/.*")]


@pytest.mark.usefixtures("every_rename_twice")
def test_units_whose_renames_had_no_answer_are_deleted_and_put_back(tmp_path: Path) -> None:
    run, outdated, aside = RunDirectory(tmp_path), unit(a=1), unit(a=2)
    execute([outdated, aside], run)
    discarding.discard(run, [run.folder(outdated)])
    assert not run.is_done(outdated)
    moved = discarding.set_aside(run.folder(aside), done_mark(run.folder(aside)))
    assert moved is not None
    assert not run.is_done(aside)
    assert execute([aside], run).reused == 1
    assert not [*run.path.glob("units/*/.*")]


def test_a_unit_that_cannot_be_put_back_now_is_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, finished = RunDirectory(tmp_path), unit(a=1)
    execute([finished], run)
    assert discarding.set_aside(run.folder(finished), done_mark(run.folder(finished))) is not None

    def fail(path: Path, target: Path) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    with Presence(run.path) as here, monkeypatch.context() as patch:
        for name in ("replace", "rename"):
            patch.setattr(Path, name, fail)
        discarding.clear_leftovers(run, here)
    assert not run.is_done(finished)
    assert execute([finished], run).reused == 1


def test_ctrl_c_leaves_nothing_half_done(tmp_path: Path) -> None:
    run, broken = RunDirectory(tmp_path), unit(fail=KeyboardInterrupt(), a=1)
    with pytest.raises(KeyboardInterrupt):
        execute([broken], run)
    assert not run.is_done(broken)
    assert run.failure(broken) is None


def test_a_folder_without_done_is_written_anew(tmp_path: Path) -> None:
    run, one = RunDirectory(tmp_path), unit(a=1)
    folder = run.folder(one)
    folder.mkdir(parents=True)
    (folder / "value.json").write_text("half")
    assert not run.is_done(one)
    execute([one], run)
    assert Toy.load(folder) == Toy(1, 1)


def test_a_resumable_unit_gets_its_folder_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    seen: list[bool] = []

    def compute(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
        seen.append((inputs.scratch / "step").exists())
        (inputs.scratch / "step").touch()
        if len(seen) == 1:
            raise KeyboardInterrupt
        return Toy(1, 1)

    one = Work("train", ToyConfig, compute, resumable=True).unit(ToyConfig(), {})
    with pytest.raises(KeyboardInterrupt):
        execute([one], run)
    execute([one], run)
    assert seen == [False, True]
    (run.folder(one) / "DONE").unlink()  # killed between the rename and DONE
    execute([one], run)
    assert seen == [False, True, True]


@pytest.mark.parametrize("resumable", [True, False])
def test_half_a_record_of_a_failure_is_nothing_to_go_on_from(tmp_path: Path, resumable: bool) -> None:
    run, one = RunDirectory(tmp_path), Work("train", ToyConfig, add_up, resumable=resumable).unit(ToyConfig(a=1), {})
    run.folder(one).parent.mkdir(parents=True)
    # As versions before named it, and as it is named now.
    for name in (f".{one.digest}.failed.json.partial", f".{one.digest}.failed.json.0123abcd.partial"):
        run.folder(one).with_name(name).write_text("{")
    outcome = execute([one], run)
    assert (outcome.done, outcome.failed) == (1, {})
    assert [path.name for path in run.folder(one).parent.iterdir()] == [one.digest]


def test_what_reads_a_result_that_could_not_be_made_is_not_run_either(tmp_path: Path) -> None:
    def give_up(config: ToyConfig, inputs: Inputs, progress: Progress) -> NotRun:
        return NotRun("there is nothing to add")

    nothing = Work("toy", ToyConfig, give_up).unit(ToyConfig(), {"name": "x"})
    reader = unit(inputs={"nothing": nothing}, b=1, labels={"name": "y"})
    run = RunDirectory(tmp_path)
    write_lock(run, [nothing, reader])
    assert execute([nothing, reader], run).exit_code == 0
    for name in ("x", "y"):
        (finished,) = run.results(Toy, name=name)
        assert finished.result == NotRun("there is nothing to add")
        with pytest.raises(InputError, match="there is nothing to add"):
            _ = finished.whole


def test_a_newer_schema_and_a_folder_that_is_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a run directory"):
        RunDirectory.open(tmp_path)
    write_lock(RunDirectory(tmp_path), [], schema=99)
    with pytest.raises(InputError, match="schema_version 99, this headscope reads up to 1"):
        RunDirectory.open(tmp_path)


def test_folder_digest_sees_weights_and_template_not_other_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    before = folder_digest(tmp_path)
    for name in ("log.jsonl", "card.json", "trainer_state.json"):
        (tmp_path / name).write_text("x")
    assert folder_digest(tmp_path) == before
    (tmp_path / "chat_template.jinja").write_text("x")
    assert folder_digest(tmp_path) != before


def test_json_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.json is missing"):
        read_object(tmp_path / "x.json")
    for broken in (b"{", b"\xff\xfe\x00"):
        (tmp_path / "x.json").write_bytes(broken)
        with pytest.raises(InputError, match=r"x\.json is not whole JSON"):
            read_object(tmp_path / "x.json")
    write_json(tmp_path / "x.json", {"a": "\u2028 \ud800"})
    assert json.loads((tmp_path / "x.json").read_text())["a"].startswith("\u2028")
