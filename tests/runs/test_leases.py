"""A unit has one owner; that of a dead or silent process has one successor; nobody overwrites what is finished."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.runs.jobs import STEPS_OF_ALL, job, lines, steps_unit, tries_of
from tests.runs.toys import Toy, ToyConfig, finish_again, flip_byte, unit

from headscope.errors import InputError
from headscope.progress import Progress
from headscope.runs import Inputs, RunDirectory, Unit, Work, discarding, execute, presence
from headscope.runs.leases import FinishedElsewhere, holder, lock_folder, take
from headscope.runs.presence import Presence, await_signs, leaders, live_workers
from headscope.runs.silence import SilenceWatch
from headscope.runs.unit_writing import write_unit

TAKE = """
import sys, time
from pathlib import Path
from headscope.runs.leases import take
from headscope.runs.presence import Presence
run, rounds = Path(sys.argv[1]), int(sys.argv[2])
with Presence(run) as presence:
    print("here", flush=True)
    start = float(sys.stdin.readline())
    for number in range(rounds):
        time.sleep(max(0.0, start + 0.005 * number - time.time()))
        lease = take(run / "units" / "job" / f"{number:016x}", presence)
        print(number if lease else "", flush=True)
    sys.stdin.read()
"""


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_of_two_takers_of_a_stale_lock_one_succeeds(tmp_path: Path) -> None:
    rounds = 300
    for number in range(rounds):
        locks = lock_folder(tmp_path / "units" / "job" / f"{number:016x}")
        locks.mkdir(parents=True)
        if number % 3:  # every third is free, the others are those of dead workers, taken over once or twice
            for generation in range(1, number % 3 + 1):
                (locks / str(generation)).write_text(f"dead-{generation}")
    takers = [python(TAKE, tmp_path, rounds) for _ in range(2)]
    for taker in takers:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "here\n"
    start = time.time() + 0.5
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write(f"{start}\n")
        taker.stdin.flush()
    taken = []
    for taker in takers:
        assert taker.stdout is not None
        taken.append([line for line in (taker.stdout.readline().strip() for _ in range(rounds)) if line])
    for taker in takers:
        taker.communicate()
    assert Counter(map(int, taken[0] + taken[1])) == Counter(range(rounds))
    assert all(taken), [len(numbers) for numbers in taken]


def test_threads_that_take_and_release_never_hold_together(tmp_path: Path) -> None:
    folder = tmp_path / "units" / "job" / "0"
    owners: list[Presence] = []
    clashes: list[Presence] = []
    ended: list[int] = []

    def work() -> None:
        with Presence(tmp_path) as here:
            for _ in range(100):
                lease = take(folder, here)
                if lease is not None:
                    owners.append(here)
                    if owners != [here]:
                        clashes.append(here)
                    time.sleep(0.0005)
                    owners.remove(here)
                    lease.release()
        ended.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 4
    assert clashes == []
    assert not lock_folder(folder).exists()


@contextmanager
def stranger(run: Path, **changes: object) -> Iterator[Path]:
    """The file of a worker that is someone else."""
    with Presence(run) as here:
        content = json.loads(here.file.read_text())
    folder = run / ".workers"
    folder.mkdir(exist_ok=True)
    path = folder / "other-1.json"
    path.write_text(json.dumps(content | {"name": "other-1", "host": "other"} | changes))
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is silent for a second is dead."""
    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(presence, "SILENT_SECONDS", 1.0)


def hold(run: Path, owner: str) -> Path:
    """Return the folder of a unit that ``owner`` holds."""
    folder = run / "units" / "job" / "0"
    lock_folder(folder).mkdir(parents=True)
    (lock_folder(folder) / "1").write_text(owner)
    return folder


@pytest.mark.parametrize(
    ("changes", "beats", "dies_after"),
    [
        ({"machine": "another"}, True, None),
        ({"machine": "another"}, False, 1.0),
        ({}, True, None),
        ({}, False, 1.0),  # stopped
        ({"born": "1"}, True, 0.0),  # its number is another process's now
        ({"process": 2**22 + 1}, True, 0.0),
    ],
)
def test_who_is_dead(
    tmp_path: Path, hasty: None, changes: dict[str, object], beats: bool, dies_after: float | None
) -> None:
    with stranger(tmp_path, **changes) as file, Presence(tmp_path) as here:
        os.utime(file, (time.time() - 3600, time.time() - 3600))  # as after a stall of all machines, or of the server
        folder, start, lease = hold(tmp_path, "other-1"), time.monotonic(), None
        while lease is None and time.monotonic() - start < 1.6:
            lease = take(folder, here)
            time.sleep(0.02)
            if beats:
                file.touch()
        if dies_after is None:
            assert lease is None
        else:
            assert lease is not None
            assert dies_after <= time.monotonic() - start < dies_after + 0.4
        owner = holder(folder)
        assert owner is not None
        assert owner[0] == ("other-1" if dies_after is None else here.worker.name)
        shown = [worker.name for worker in live_workers(tmp_path)]
        assert ("other-1" in shown) == (dies_after is None)


def test_nobody_is_dead_while_the_file_server_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stranger(tmp_path, machine="another") as file, Presence(tmp_path) as here:
        folder, open_file = hold(tmp_path, "other-1"), Path.open

        def open_if_reached(path: Path, *args: Any, **options: Any) -> Any:
            if path == file:
                raise OSError(errno.EIO, "Input/output error")
            return open_file(path, *args, **options)

        monkeypatch.setattr(Path, "open", open_if_reached)
        for question in ("is_file", "exists"):  # as they answer from Python 3.14 on, whatever is wrong
            monkeypatch.setattr(Path, question, lambda path: False)
        assert take(folder, here) is None
        monkeypatch.undo()


def test_silence_counts_only_while_this_process_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watch = [0.0], SilenceWatch()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def look(at: float, sign: str) -> float:
        clock[0] = at
        return watch.look("x", sign, 15.0)

    assert [look(1000.0, "a"), look(1010.0, "a"), look(1020.0, "a")] == [0.0, 10.0, 20.0]
    assert look(1035.1, "a") == 0.0  # this process was paused
    assert [look(1045.0, "a"), look(1046.0, "b"), look(1050.0, "b")] == [pytest.approx(9.9), 0.0, 4.0]
    watch.restart()
    assert look(1055.0, "b") == 5.0
    watch.forget("x")
    assert look(1056.0, "b") == 0.0


def test_nobody_is_dead_while_no_beat_can_be_written(tmp_path: Path, hasty: None) -> None:
    with stranger(tmp_path, machine="another"), Presence(tmp_path) as here:
        folder = hold(tmp_path, "other-1")
        assert take(folder, here) is None
        obstacle = here.file.with_suffix(".new")  # as on a full disk, which stops the owner's beats too
        while True:
            try:
                obstacle.mkdir()
                break
            except FileExistsError:  # it is just being written
                continue
        ends = time.monotonic() + 1.5
        while time.monotonic() < ends:
            assert take(folder, here) is None
            time.sleep(0.05)
        obstacle.rmdir()
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends and (lease := take(folder, here)) is None:
            time.sleep(0.05)
        assert lease is not None


def test_nobody_is_dead_while_a_beat_hangs(tmp_path: Path, hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    server_answers, write_text = threading.Event(), Path.write_text
    server_answers.set()
    with stranger(tmp_path, machine="another"), Presence(tmp_path) as here:

        def write_when_it_answers(path: Path, *arguments: Any, **options: Any) -> int:
            if path.parent == here.file.parent:
                server_answers.wait()
            return write_text(path, *arguments, **options)

        monkeypatch.setattr(Path, "write_text", write_when_it_answers)
        folder = hold(tmp_path, "other-1")
        assert take(folder, here) is None
        server_answers.clear()  # reads go on, and the owner's beats hang as this process's do
        ends = time.monotonic() + 2.0
        leases = []
        while time.monotonic() < ends:
            leases.append(take(folder, here))
            time.sleep(0.05)
        server_answers.set()
        assert leases == [None] * len(leases)
        start = time.monotonic()
        while time.monotonic() < start + 2.0 and (lease := take(folder, here)) is None:
            time.sleep(0.05)
        assert lease is not None
        assert time.monotonic() - start > 0.9  # the owner has as long as ever


@pytest.mark.parametrize(
    ("number", "kind", "sentence"),
    [
        (errno.ENOSPC, OSError, "No space left"),
        (errno.EROFS, InputError, r"cannot be written \(Read-only file system\), so .* whether process .* on other"),
    ],
)
def test_who_cannot_write_takes_no_silence_for_death(
    tmp_path: Path, hasty: None, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], sentence: str
) -> None:
    def refuse(path: Path, *arguments: Any, **options: Any) -> int:
        raise OSError(number, os.strerror(number))

    with stranger(tmp_path, machine="another", plan="another") as file:
        os.utime(file, (time.time() - 3600, time.time() - 3600))
        monkeypatch.setattr(Path, "write_text", refuse)
        with pytest.raises(kind, match=sentence):
            await_signs(tmp_path, "mine")
        assert file.exists()


def test_who_does_another_plan_is_waited_for_until_it_is_seen_to_live_or_be_silent(tmp_path: Path, hasty: None) -> None:
    with stranger(tmp_path, machine="another", plan="another") as file:
        old = (time.time() - 3600, time.time() - 3600)
        os.utime(file, old)
        await_signs(tmp_path, "another")
        assert file.exists()
        threading.Timer(0.4, file.touch).start()
        await_signs(tmp_path, "mine")
        assert [worker.name for worker in leaders(tmp_path)] == ["other-1"]
        os.utime(file, old)
        start = time.monotonic()
        await_signs(tmp_path, "mine")
        assert time.monotonic() - start > 0.9
        assert not file.exists()


def test_what_a_killed_process_wrote_to_read_the_clock_goes_with_the_next_one(tmp_path: Path) -> None:
    probe = tmp_path / presence.FOLDER / "12345678.now"
    with Presence(tmp_path):
        probe.touch()
    assert probe.exists()  # of a process that is just reading it
    os.utime(probe, (time.time() - 2, time.time() - 2))
    with Presence(tmp_path):
        pass
    assert not probe.parent.exists()


def test_a_lock_whose_writer_was_killed_before_it_named_itself_is_taken_once_it_is_old(
    tmp_path: Path, hasty: None
) -> None:
    folder, start = hold(tmp_path, ""), time.monotonic()
    with Presence(tmp_path) as here:
        while (lease := take(folder, here)) is None:
            time.sleep(0.02)
        assert time.monotonic() - start >= 1.0
        lease.release()
        assert not lock_folder(folder).exists()


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    test_threads_that_take_and_release_never_hold_together(tmp_path)


SLOW = """
import sys
from pathlib import Path
from tests.runs.jobs import job
from headscope.runs import RunDirectory, execute, presence
presence.BEAT_SECONDS, presence.SILENT_SECONDS = 0.1, 1.0
units = [job(number, Path(sys.argv[1]), seconds=float(sys.argv[2])) for number in range(int(sys.argv[3]))]
outcome = execute(units, RunDirectory(Path(sys.argv[1]) / "run"))
print(outcome.done, outcome.reused, len(outcome.failed), len(outcome.warnings))
"""


def result_of(process: "subprocess.Popen[str]") -> list[int]:
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return [int(number) for number in printed.split()]


def wait_for_tries(place: Path, count: int) -> None:
    while len(tries_of(place)) < count:
        time.sleep(0.02)


def test_a_second_run_helps_and_every_unit_is_computed_once(tmp_path: Path) -> None:
    runs = [python(SLOW, tmp_path, 0.3, 8) for _ in range(2)]
    results = [result_of(run) for run in runs]
    assert sum(done for done, *_ in results) == 8
    assert all(done + reused == 8 for done, reused, *_ in results)
    assert sorted(tries_of(tmp_path)) == list(range(8))
    assert not [*(tmp_path / "run").glob("units/*/.*"), *(tmp_path / "run").glob(".workers")]


def test_a_paused_owner_throws_its_work_away(tmp_path: Path, hasty: None) -> None:
    paused = python(SLOW, tmp_path, 1.0, 1)
    wait_for_tries(tmp_path, 1)
    paused.send_signal(signal.SIGSTOP)
    run = RunDirectory(tmp_path / "run")
    unit = job(0, tmp_path, seconds=1.0)
    assert execute([unit], run).done == 1
    record = (run.folder(unit) / "unit.json").read_bytes()
    paused.send_signal(signal.SIGCONT)
    assert result_of(paused) == [0, 1, 0, 0]
    assert lines(tmp_path / "ended") == ["0"]  # it stopped at its next step
    assert (run.folder(unit) / "unit.json").read_bytes() == record
    assert not [*run.path.glob("units/*/.*"), *run.path.glob(".workers")]


def test_the_unit_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    code = SLOW.replace("seconds=float(sys.argv[2])", "trouble='slow', times=1")
    killed = python(code, tmp_path, 0, 1)
    wait_for_tries(tmp_path, 1)
    assert [worker.process for worker in leaders(tmp_path / "run")] == [killed.pid]
    killed.kill()  # and nobody has asked yet how it ended
    start = time.monotonic()
    assert execute([job(0, tmp_path, trouble="slow", times=1)], RunDirectory(tmp_path / "run")).done == 1
    assert time.monotonic() - start < 30
    killed.communicate()
    assert not [*(tmp_path / "run").glob("units/*/.*"), *(tmp_path / "run").glob(".workers")]


def test_work_that_goes_on_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def go_on(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
        seen.append(sorted(path.name for path in inputs.scratch.iterdir()))
        (inputs.scratch / f"step-{len(seen)}").touch()
        return Toy(1, 1)

    trained = Work("train", ToyConfig, go_on, resumable=True).unit(ToyConfig(), {"name": "x"})
    run = RunDirectory(tmp_path)
    for owner in ("dead-2", "dead-1"):  # the first went on after it had lost the unit
        partial = run.folder(trained).with_name(f".{trained.digest}.{owner}.partial")
        partial.mkdir(parents=True)
        (partial / owner).touch()
    lock_folder(run.folder(trained)).mkdir()
    for generation, owner in enumerate(("dead-1", "dead-2"), start=1):
        (lock_folder(run.folder(trained)) / str(generation)).write_text(owner)
    assert execute([trained], run).done == 1
    assert seen == [["dead-2"]]
    assert {path.name for path in run.folder(trained).iterdir()} >= {"dead-2", "step-1", "DONE"}
    assert not list(tmp_path.glob("units/*/.*"))


STEPS = """
import sys
from pathlib import Path
from tests.runs.jobs import steps_unit
from headscope.runs import RunDirectory, execute, presence
presence.BEAT_SECONDS, presence.SILENT_SECONDS = 0.1, 1.0
outcome = execute([steps_unit(Path(sys.argv[1]))], RunDirectory(Path(sys.argv[1]) / "run"))
print(outcome.done, outcome.reused, len(outcome.failed))
"""


def test_a_paused_owner_of_a_training_stops_when_it_wakes(tmp_path: Path, hasty: None) -> None:
    paused = python(STEPS, tmp_path)
    while len(lines(tmp_path / "steps")) < 3:
        time.sleep(0.02)
    paused.send_signal(signal.SIGSTOP)
    run, trained = RunDirectory(tmp_path / "run"), steps_unit(tmp_path)
    before = len(lines(tmp_path / "steps"))

    def wake() -> None:
        while len(lines(tmp_path / "steps")) < before + 3:
            time.sleep(0.02)
        paused.send_signal(signal.SIGCONT)

    waker = threading.Thread(target=wake)
    waker.start()
    assert execute([trained], run).done == 1
    waker.join()
    assert result_of(paused) == [0, 1, 0]
    processes = [line.split()[1] for line in lines(tmp_path / "steps")]
    assert processes.count(str(paused.pid)) <= before + 1  # the step it was in
    assert processes.count(str(os.getpid())) <= STEPS_OF_ALL - before + 1
    assert sorted(path.name for path in run.folder(trained).glob("step-*")) == sorted(
        f"step-{step}" for step in range(STEPS_OF_ALL)
    )
    assert not [*run.path.glob("units/*/.*"), *run.path.glob(".workers")]


def test_of_several_partial_folders_the_one_that_got_furthest_is_gone_on_from(tmp_path: Path) -> None:
    run, trained = RunDirectory(tmp_path / "run"), steps_unit(tmp_path)
    for owner, reached in (("dead-1", 3), ("dead-2", 15), ("dead-3", 7)):
        partial = run.folder(trained).with_name(f".{trained.digest}.{owner}.partial")
        partial.mkdir(parents=True)
        for step in range(reached):
            (partial / f"step-{step}").touch()
    lock_folder(run.folder(trained)).mkdir()
    (lock_folder(run.folder(trained)) / "1").write_text("dead-3")
    assert execute([trained], run).done == 1
    assert len(lines(tmp_path / "steps")) == STEPS_OF_ALL - 15
    assert not [*run.path.glob("units/*/.*")]


def test_a_half_deleted_folder_is_nothing_to_go_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, trained = RunDirectory(tmp_path / "run"), steps_unit(tmp_path)
    for owner in ("dead-1", "dead-2"):
        partial = run.folder(trained).with_name(f".{trained.digest}.{owner}.partial")
        partial.mkdir(parents=True)
        for step in range(3 if owner == "dead-1" else 5):
            (partial / f"step-{step}").touch()
    monkeypatch.setattr(shutil, "rmtree", lambda *arguments, **options: None)  # killed before anything was deleted
    with Presence(run.path) as here:
        lease = take(run.folder(trained), here)
        assert lease is not None
        with pytest.raises(KeyboardInterrupt), write_unit(run, trained, lease):
            raise KeyboardInterrupt
    assert run.partial(trained).name == f".{trained.digest}.partial"
    assert [*run.path.glob("units/*/.*.partial")] == [run.partial(trained)]
    monkeypatch.undo()
    assert execute([trained], run).done == 1
    assert not [*run.path.glob("units/*/.*")]


@pytest.mark.parametrize(("number", "warnings"), [(1, 0), (2, 1)])
def test_who_comes_second_says_so_if_its_bytes_are_others(tmp_path: Path, number: int, warnings: int) -> None:
    run = RunDirectory(tmp_path)

    def compute(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
        other = unit(a=1)  # someone finishes it meanwhile, as after a pause that nobody saw
        (lock,) = lock_folder(run.folder(other)).iterdir()
        aside = lock.rename(tmp_path / "lock")
        lock.parent.rmdir()
        execute([other], run)
        lock.parent.mkdir()
        aside.rename(lock)
        return Toy(1, number)

    one = Work("toy", ToyConfig, compute).unit(ToyConfig(a=1), {"name": "x"})
    outcome = execute([one], run)
    assert (outcome.done, outcome.reused, len(outcome.warnings)) == (0, 1, warnings)
    assert Toy.load(run.folder(one)) == Toy(1, 1)
    assert all("two processes finished it with different bytes" in warning for warning in outcome.warnings)


def finish_elsewhere(run: RunDirectory, unit: Unit, place: Path) -> bytes:
    """Have another process finish a unit whose lock this one holds, as after a pause that nobody saw."""
    (lock,) = lock_folder(run.folder(unit)).iterdir()
    aside = lock.rename(place / "lock")
    lock.parent.rmdir()
    execute([unit], run)
    lock.parent.mkdir()
    aside.rename(lock)
    return (run.folder(unit) / "unit.json").read_bytes()


@pytest.mark.parametrize(
    ("before", "after_a_look"),
    [("nothing", False), ("unfinished", False), ("unfinished", True), ("outdated", False), ("outdated", True)],
)
def test_a_unit_that_another_finishes_before_it_is_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after_a_look: bool
) -> None:
    run, needed = RunDirectory(tmp_path), unit(a=1)
    reader = unit(a=2, inputs={"one": needed})
    execute([needed], run)
    if before == "unfinished":  # as older versions left it
        run.folder(reader).mkdir(parents=True)
    elif before == "outdated":
        execute([reader], run)
        Toy(1, 5).save(run.folder(needed))
        finish_again(run.folder(needed))
    record, is_current = b"", RunDirectory.is_current

    def look_and_pause(run: RunDirectory, unit: Unit) -> bool:
        nonlocal record
        current = is_current(run, unit)
        monkeypatch.setattr(RunDirectory, "is_current", is_current)
        record = finish_elsewhere(run, reader, tmp_path)
        return current

    with Presence(tmp_path) as here:
        lease = take(run.folder(reader), here)
        assert lease is not None
        if after_a_look:
            monkeypatch.setattr(RunDirectory, "is_current", look_and_pause)
        else:
            record = finish_elsewhere(run, reader, tmp_path)
        with pytest.raises(FinishedElsewhere), write_unit(run, reader, lease):
            pass
        lease.release()
    assert (run.folder(reader) / "unit.json").read_bytes() == record
    assert not [*run.path.glob("units/*/.*")]


def test_a_damaged_unit_that_another_makes_again_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, damaged = RunDirectory(tmp_path), unit(a=1)
    execute([damaged], run)
    flip_byte(run.folder(damaged) / "value.json")
    find_unit_damage, looks, record = discarding.find_unit_damage, 0, b""

    def look_and_pause(folder: Path) -> str:
        nonlocal looks, record
        problem, looks = find_unit_damage(folder), looks + 1
        if looks == 2:
            shutil.rmtree(folder)
            record = finish_elsewhere(run, damaged, tmp_path)
        return problem

    monkeypatch.setattr(discarding, "find_unit_damage", look_and_pause)
    assert discarding.discard_damaged(run) == {}
    assert (run.folder(damaged) / "unit.json").read_bytes() == record
    assert not [*run.path.glob("units/*/.*")]


def test_outdated_units_are_deleted_unless_another_holds_them(tmp_path: Path) -> None:
    run, units = RunDirectory(tmp_path), [unit(a=1), unit(a=2), unit(a=3)]
    outdated, held, _ = units
    execute([outdated, held], run)
    with Presence(tmp_path) as other:
        lease = take(run.folder(held), other)
        assert lease is not None
        discarding.discard(run, map(run.folder, units))
        assert [run.is_done(one) for one in units] == [False, True, False]
        lease.release()
    assert not [*run.path.glob("units/*/.*")]


def test_what_a_killed_process_had_set_aside_is_put_back(tmp_path: Path) -> None:
    run, finished = RunDirectory(tmp_path), unit(a=1)
    execute([finished], run)
    record = (run.folder(finished) / "unit.json").read_bytes()
    run.folder(finished).rename(run.folder(finished).with_name(f".{finished.digest}.0123.aside"))
    assert execute([finished], run).reused == 1
    assert (run.folder(finished) / "unit.json").read_bytes() == record
