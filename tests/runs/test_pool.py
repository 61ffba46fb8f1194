"""Units computed by worker processes: the same bytes, each once, whatever happens to the workers."""

import errno
import hashlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.runs.jobs import JOB, grid, job, lines, processes_of, tries_of
from tests.runs.test_leases import python

from headscope.runs import Outcome, RunDirectory, Unit, execute
from headscope.runs.coverage import coverage
from headscope.runs.pool import Pool
from headscope.runs.presence import live_workers
from headscope.runs.processes import Processes
from headscope.storage import write_json


def run_pool(units: list[Unit], out: Path, workers: int = 2, **options: object) -> Outcome:
    run = RunDirectory(out)
    out.mkdir(exist_ok=True)
    write_json(run.lock_file, {"schema_version": 1, "units": [unit.row for unit in units]})
    with Pool(run, Processes(workers, 1), models=lambda unit: frozenset(filter(None, [unit.config.model]))) as pool:
        return execute(units, run, engine=pool, **options)


def result_bytes(run: Path) -> dict[str, bytes]:
    files = [path for path in run.glob("units/**/*") if path.is_file()]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.name not in ("unit.json", "DONE")}


def leftovers(run: Path) -> list[Path]:
    return [*run.glob("units/*/.*"), *run.glob(".workers/*")]


def test_workers_write_the_bytes_of_one_process(tmp_path: Path) -> None:
    units = grid(tmp_path, 3, 4)
    execute(units, RunDirectory(tmp_path / "local"))
    outcome = run_pool(units, tmp_path / "pool")
    assert (outcome.done, outcome.failed, outcome.skipped) == (12, {}, [])
    assert result_bytes(tmp_path / "pool") == result_bytes(tmp_path / "local")
    assert len(set(processes_of(tmp_path))) == 3  # this process and two workers
    assert os.getpid() not in processes_of(tmp_path)[12:]
    assert coverage(RunDirectory(tmp_path / "pool"), check_files=True).complete
    assert leftovers(tmp_path / "pool") == []
    assert run_pool(units, tmp_path / "pool").reused == 12


def test_failures_are_kept_told_and_skipped_for_as_by_one_process(tmp_path: Path) -> None:
    broken = job(1, tmp_path, trouble="failing", times=1)
    units = [broken, job(2, tmp_path, broken), job(3, tmp_path)]
    outcome = run_pool(units, tmp_path / "run")
    assert (outcome.failed, outcome.skipped) == ({"job 1": "it is bad"}, ["job 2"])
    assert (outcome.done, outcome.exit_code) == (1, 2)
    assert "failed before" in run_pool(units, tmp_path / "run").failed["job 1"]
    again = run_pool(units, tmp_path / "run", retry=True)
    assert (again.done, again.reused, again.failed) == (2, 1, {})


def test_the_unit_of_a_killed_worker_is_tried_again_and_at_last_fails_by_the_machines_fault(tmp_path: Path) -> None:
    twice, always = (job(number, tmp_path, trouble="killed", times=times) for number, times in ((1, 2), (2, 99)))
    units = [twice, always, job(3, tmp_path, always), *(job(number, tmp_path) for number in range(4, 8))]
    outcome = run_pool(units, tmp_path / "run")
    assert list(outcome.failed) == ["job 2"]
    assert outcome.failed["job 2"].startswith("3 worker processes ended one after the other while they did it")
    assert "SIGKILL" in outcome.failed["job 2"]
    assert (outcome.done, outcome.skipped, outcome.exit_code) == (5, ["job 3"], 1)
    assert tries_of(tmp_path).count(1) == tries_of(tmp_path).count(2) == 3
    failure = RunDirectory(tmp_path / "run").failure(always)
    assert failure is not None
    assert failure.passing
    assert not list((tmp_path / "run").glob(".workers/*"))


def test_what_runs_out_of_memory_is_tried_again_alone(tmp_path: Path) -> None:
    others = [job(number, tmp_path, seconds=0.2) for number in range(10, 14)]
    once, always = (job(number, tmp_path, trouble="memory", times=times) for number, times in ((1, 1), (2, 99)))
    outcome = run_pool([once, always, *others], tmp_path / "run")
    assert outcome.failed == {"job 2": "MemoryError: no memory"}
    assert outcome.done == 5
    tries = list(zip(tries_of(tmp_path), processes_of(tmp_path), strict=True))
    first, second = [process for number, process in tries if number == 1]
    assert first != second
    assert [number for number, _ in tries].count(2) == 2
    started = {
        number: float(line.split()[2]) for number, line in zip(tries_of(tmp_path), lines(tmp_path / "log"), strict=True)
    }
    for number in range(10, 14):  # none of the others ran meanwhile
        assert not started[number] < started[1] < started[number] + 0.2


def test_units_go_where_their_model_is_loaded(tmp_path: Path) -> None:
    units = [job(number, tmp_path, model="ab"[number % 2], seconds=0.05) for number in range(12)]
    run_pool(units, tmp_path / "run")
    by_process: dict[int, set[str]] = {}
    for number, process in zip(tries_of(tmp_path), processes_of(tmp_path), strict=True):
        by_process.setdefault(process, set()).add("ab"[number % 2])
    assert sum(len(models) for models in by_process.values()) <= 3


def test_random_kills_of_workers_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    seed = int(time.time())
    units = grid(tmp_path, 5, 8, seconds=0.05)
    kills: list[int] = []
    is_over = threading.Event()

    def kill_workers() -> None:
        draw = random.Random(seed)
        while not is_over.wait(draw.uniform(0.2, 0.8)) and len(kills) < 20:
            workers = [worker for worker in live_workers(tmp_path / "run") if worker.leader]
            if workers:
                victim = draw.choice(workers).process
                os.kill(victim, signal.SIGKILL)
                kills.append(victim)

    thread = threading.Thread(target=kill_workers)
    thread.start()
    outcome = run_pool(units, tmp_path / "run", workers=3)
    while outcome.failed:  # three of the kills met one unit
        assert all("one after the other" in reason for reason in outcome.failed.values()), (seed, outcome.failed)
        outcome = run_pool(units, tmp_path / "run", workers=3)
    is_over.set()
    thread.join()
    assert kills
    execute(units, RunDirectory(tmp_path / "local"))
    assert result_bytes(tmp_path / "run") == result_bytes(tmp_path / "local"), seed
    ended = [int(number) for number in lines(tmp_path / "ended")][: -len(units)]
    assert len(ended) - len(units) <= len(kills), seed  # a kill between the end of its work and DONE
    assert leftovers(tmp_path / "run") == []


DRIVER = """
import sys
from pathlib import Path
from tests.runs.jobs import grid
from tests.runs.test_pool import run_pool
place = Path(sys.argv[1])
outcome = run_pool(grid(place, 3, 4, seconds=0.1), place / "run")
print(outcome.done + outcome.reused, len(outcome.failed), len(outcome.skipped))
"""


def test_a_killed_driver_is_resumed_by_the_same_command(tmp_path: Path) -> None:
    run = tmp_path / "run"
    records: dict[Path, bytes] = {}
    for ended in (0, 5):
        with python(DRIVER, tmp_path) as driver:
            while len(lines(tmp_path / "ended")) < ended or not tries_of(tmp_path):
                assert driver.poll() is None
                time.sleep(0.01)
            driver.kill()
        records |= {mark.parent / "unit.json": b"" for mark in run.glob("units/*/[!.]*/DONE")}
        for path, record in records.items():
            assert record in (b"", path.read_bytes())
        records = {path: path.read_bytes() for path in records}
    with python(DRIVER, tmp_path) as driver:
        assert driver.communicate(timeout=120)[0] == "12 0 0\n"
    assert all(path.read_bytes() == record for path, record in records.items())  # what was done is not done twice
    assert len(lines(tmp_path / "ended")) - 12 <= 2 * 2  # a kill between the end of a worker's work and DONE
    execute(grid(tmp_path, 3, 4, seconds=0.1), RunDirectory(tmp_path / "local"))
    assert result_bytes(run).keys() == result_bytes(tmp_path / "local").keys()
    for name, content in result_bytes(tmp_path / "local").items():
        assert hashlib.sha256(result_bytes(run)[name]).digest() == hashlib.sha256(content).digest(), name
    assert leftovers(run) == []


def test_a_full_disk_ends_the_call_and_fails_no_unit(tmp_path: Path) -> None:
    full = job(1, tmp_path, trouble="full", times=1)
    with pytest.raises(OSError, match="No space left on device") as raised:
        run_pool([full, job(2, tmp_path, full)], tmp_path / "run")
    assert raised.value.errno == errno.ENOSPC
    assert RunDirectory(tmp_path / "run").failure(full) is None
    assert run_pool([full, job(2, tmp_path, full)], tmp_path / "run").done == 2


def test_ctrl_c_ends_the_workers_and_leaves_a_directory_that_resumes(tmp_path: Path) -> None:
    units = [job(number, tmp_path, seconds=30) for number in range(2)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell began the tests behind it

    def interrupt() -> None:
        while len(tries_of(tmp_path)) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_pool(units, tmp_path / "run")
    signal.signal(signal.SIGINT, before)
    thread.join()
    for process in processes_of(tmp_path):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    assert all(path.suffix == ".partial" for path in leftovers(tmp_path / "run"))
    assert JOB.kind not in [path.parent.name for path in (tmp_path / "run").rglob("DONE")]
