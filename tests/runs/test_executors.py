"""What every executor promises: the same bytes, each unit once, whatever happens to the workers."""

import errno
import hashlib
import os
import random
import signal
import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.runs.jobs import JOB, VARIABLE, JobConfig, grid, job, lines, memory_shares, processes_of, tries_of
from tests.runs.test_leases import python
from tests.runs.toys import Toy

from headscope.errors import InputError, MachineError
from headscope.runs import Execution, Outcome, RunDirectory, Unit, execute, provenance, worker_process
from headscope.runs.coverage import coverage
from headscope.runs.messages import Setup
from headscope.runs.pool import Pool
from headscope.runs.presence import Presence, live_workers
from headscope.runs.processes import Processes
from headscope.runs.ray_workers import Node, RayCluster, check_versions, share_out
from headscope.storage import write_json


@dataclass(frozen=True)
class Executor:
    """Runs units by one executor. address: of the Ray cluster."""

    kind: str
    address: str = ""

    def __call__(self, units: list[Unit], out: Path, workers: int = 2, **options: Any) -> Outcome:
        run = RunDirectory(out)
        out.mkdir(exist_ok=True)
        write_json(run.lock_file, {"schema_version": 1, "units": [unit.row for unit in units]})
        if self.kind == "local":
            return execute(units, run, Execution(**options))
        transport = Processes(workers, 1) if self.kind == "processes" else RayCluster(self.address, workers, 1)
        models = lambda unit: frozenset(filter(None, [unit.config.model]))  # noqa: E731
        with closing(transport), Pool(run, transport, models=models) as pool:
            return execute(units, run, Execution(engine=pool, **options))


@pytest.fixture(params=["local", "processes", "ray"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return Executor(request.param, request.getfixturevalue("ray_address") if request.param == "ray" else "")


@pytest.fixture(params=["processes", "ray"])
def pool(request: pytest.FixtureRequest) -> Executor:
    return Executor(request.param, request.getfixturevalue("ray_address") if request.param == "ray" else "")


def result_bytes(run: Path) -> dict[str, bytes]:
    files = [path for path in run.glob("units/**/*") if path.is_file()]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.name not in ("unit.json", "DONE")}


def leftovers(run: Path) -> list[Path]:
    return [*run.glob("units/*/.*"), *run.glob(".workers/*")]


def test_workers_write_the_bytes_of_one_process(tmp_path: Path, pool: Executor) -> None:
    units = grid(tmp_path, 3, 4)
    execute(units, RunDirectory(tmp_path / "local"))
    outcome = pool(units, tmp_path / "pool")
    assert (outcome.done, outcome.failed, outcome.skipped) == (12, {}, [])
    assert result_bytes(tmp_path / "pool") == result_bytes(tmp_path / "local")
    assert os.getpid() not in processes_of(tmp_path)[12:]
    assert coverage(RunDirectory(tmp_path / "pool"), check_files=True).complete
    assert leftovers(tmp_path / "pool") == []
    assert pool(units, tmp_path / "pool").reused == 12


def test_two_workers_compute_at_the_same_time(tmp_path: Path, pool: Executor) -> None:
    outcome = pool([job(number, tmp_path, company=2) for number in range(2)], tmp_path / "run")
    assert outcome.done == 2
    assert len(set(processes_of(tmp_path)) - {os.getpid()}) == 2


def test_a_failure_is_recorded_named_and_skips_its_readers(tmp_path: Path, executor: Executor) -> None:
    broken = job(1, tmp_path, trouble="failing", times=1)
    units = [broken, job(2, tmp_path, broken), job(3, tmp_path)]
    outcome = executor(units, tmp_path / "run")
    assert (outcome.failed, outcome.skipped) == ({"job 1": "it is bad"}, ["job 2"])
    assert (outcome.done, outcome.exit_code) == (1, 2)
    assert "failed before" in executor(units, tmp_path / "run").failed["job 1"]
    again = executor(units, tmp_path / "run", retry=True)
    assert (again.done, again.reused, again.failed) == (2, 1, {})


def test_the_unit_of_a_killed_worker_is_tried_again_and_at_last_fails_by_the_machines_fault(
    tmp_path: Path, pool: Executor
) -> None:
    twice, always = (job(number, tmp_path, trouble="killed", times=times) for number, times in ((1, 2), (2, 99)))
    units = [twice, always, job(3, tmp_path, always), *(job(number, tmp_path) for number in range(4, 8))]
    outcome = pool(units, tmp_path / "run")
    assert list(outcome.failed) == ["job 2"]
    assert outcome.failed["job 2"].startswith("3 worker processes ended one after the other while they did it")
    assert "SIGKILL" in outcome.failed["job 2"]
    assert (outcome.done, outcome.skipped, outcome.exit_code) == (5, ["job 3"], 1)
    assert tries_of(tmp_path).count(1) == tries_of(tmp_path).count(2) == 3
    failure = RunDirectory(tmp_path / "run").failure(always)
    assert failure is not None
    assert failure.passing
    assert not list((tmp_path / "run").glob(".workers/*"))
    assert memory_shares(tmp_path, 1) == memory_shares(tmp_path, 2) == [1.0, 1.0, 0.5]
    assert {share for number in range(4, 8) for share in memory_shares(tmp_path, number)} == {1.0}


def test_what_runs_out_of_memory_is_tried_again_alone_with_less(tmp_path: Path, pool: Executor) -> None:
    others = [job(number, tmp_path, seconds=0.2) for number in range(10, 14)]
    once, always = (job(number, tmp_path, trouble="memory", times=times) for number, times in ((1, 1), (2, 99)))
    outcome = pool([once, always, *others], tmp_path / "run")
    assert outcome.failed == {"job 2": "MemoryError: no memory"}
    assert outcome.done == 5
    tries = list(zip(tries_of(tmp_path), processes_of(tmp_path), strict=True))
    first, second = [process for number, process in tries if number == 1]
    assert first != second
    assert memory_shares(tmp_path, 1) == memory_shares(tmp_path, 2) == [1.0, 0.5]
    assert {share for number in range(10, 14) for share in memory_shares(tmp_path, number)} == {1.0}
    started = {
        number: float(line.split()[2]) for number, line in zip(tries_of(tmp_path), lines(tmp_path / "log"), strict=True)
    }
    for number in range(10, 14):  # none of the others ran meanwhile
        assert not started[number] < started[1] < started[number] + 0.2


def test_a_worker_that_lost_its_gpu_does_no_other_unit(tmp_path: Path) -> None:
    units = [job(1, tmp_path, trouble="gpu", times=1), job(2, tmp_path), job(3, tmp_path)]
    processes = Executor("processes")
    outcome = processes(units, tmp_path / "run", workers=1)
    assert outcome.failed == {"job 1": "RuntimeError: CUDA error: unspecified launch failure"}
    first, second, third = processes_of(tmp_path)
    assert first != second == third
    assert processes(units, tmp_path / "run", workers=1).done == 1  # without --retry: it was the machine's fault


def test_units_go_where_their_model_is_loaded(tmp_path: Path, pool: Executor) -> None:
    # The first two wait for each other, so that both workers have begun before units are left for one of them alone.
    units = [
        job(number, tmp_path, model="ab"[number % 2], seconds=0.05, company=2 if number < 2 else 0)
        for number in range(12)
    ]
    pool(units, tmp_path / "run")
    loaded = {(process, number % 2) for number, process in zip(tries_of(tmp_path), processes_of(tmp_path), strict=True)}
    assert len(loaded) <= 3  # a model each, and one of them on both where the last units are shared


class NoPlace:
    """A worker that a cluster has no place for."""

    lost = ""

    def send(self, message: bytes) -> None:
        raise AssertionError(message)

    def receive(self) -> list[object]:
        return []

    def interrupt(self) -> None:
        raise AssertionError("it holds nothing")

    def kill(self, patience: float) -> None:
        assert patience == 0.0


class OnePlace(Processes):
    """Has a place for the second worker alone."""

    def start(self, place: int, setup: Setup) -> Any:
        return NoPlace() if place == 0 else super().start(place, setup)


def test_the_unit_of_a_worker_that_finds_no_place_goes_to_another(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    with Pool(run, OnePlace(2, 1)) as pool:
        outcome = execute([job(number, tmp_path) for number in range(4)], run, Execution(engine=pool))
    assert outcome.done == 4
    assert len(set(processes_of(tmp_path))) == 1
    assert sorted(tries_of(tmp_path)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("nodes", "workers", "threads", "expected"),
    [
        ([Node(8, 4, 0)], None, None, (4, 2, 1.0)),
        ([Node(8, 4, 0)], 8, None, (8, 1, 0.5)),
        ([Node(4, 4, 0)], 8, None, (4, 1, 0.5)),  # eight have no cores
        ([Node(8, 4, 0)], 8, 2, (4, 2, 0.5)),
        ([Node(64, 1, 0), Node(64, 1, 0)], 14, None, (14, 9, 0.1428)),
        ([Node(16, 0, 0), Node(3, 0, 0)], None, 4, (4, 4, None)),
        ([Node(16, 0, 0), Node(3, 0, 0)], 2, None, (2, 1, None)),
        ([Node(0, 0, 0)], 3, None, (3, 1, None)),  # its nodes are still to come
    ],
)
def test_a_cluster_gets_as_many_workers_as_it_holds(
    nodes: list[Node], workers: int | None, threads: int | None, expected: tuple[int, int, float | None]
) -> None:
    count, resources = share_out(nodes, workers, threads, None)
    assert (count, resources["num_cpus"], resources.get("num_gpus")) == expected


def test_workers_larger_than_any_node_are_refused() -> None:
    with pytest.raises(InputError, match="can hold a worker of 32 threads; the largest has 16 cores"):
        share_out([Node(16, 0, 0), Node(8, 0, 0)], None, 32, None)
    assert share_out([Node(16, 0, 100), Node(16, 0, 50)], None, 1, 30)[0] == 3 + 1


def test_more_workers_than_a_cluster_holds_do_not_wait_for_ever(tmp_path: Path, ray_address: str) -> None:
    units = [job(number, tmp_path) for number in range(4)]
    assert Executor("ray", ray_address)(units, tmp_path / "run", workers=20).done == 4
    with pytest.raises(InputError, match="can hold a worker of 9 threads; the largest has 8 cores"):
        RayCluster(ray_address, 1, 9)
    with closing(RayCluster(ray_address, 20, 3)) as cluster:  # and nothing is left of the refused one
        assert cluster.workers == 2


def test_workers_have_the_variables_of_the_command(
    tmp_path: Path, pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("HF_OF_THIS_TEST", "HEADSCOPE_OF_THIS_TEST")
    units = []
    for number, name in enumerate(names, start=1):
        monkeypatch.setenv(name, str(number))
        units.append(VARIABLE.unit(JobConfig(number=number, place=name), {"name": name}))
    assert pool(units, tmp_path / "run").done == 2
    run = RunDirectory(tmp_path / "run")
    assert [Toy.load(run.folder(unit)).total for unit in units] == [1, 2]


def test_a_node_with_other_versions_is_named(tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = provenance.versions()
    check_versions({**versions, "torch": f"{versions['torch'].partition('+')[0]}+another.build"})
    monkeypatch.setattr(provenance, "versions", lambda: {**versions, "headscope": "0.0.1"})
    with pytest.raises(MachineError, match=f"has headscope {versions['headscope']} instead of 0.0.1; install"):
        Executor("ray", ray_address)([job(1, tmp_path)], tmp_path / "run")


class NeverReady(Processes):
    """Its workers end at their first import."""

    started = 0

    def start(self, place: int, setup: Setup) -> Any:
        self.started += 1
        worker = super().start(place, setup)
        worker._process.kill()
        return worker


def test_workers_that_end_before_they_begin_end_the_command_and_fail_no_unit(tmp_path: Path) -> None:
    run, transport = RunDirectory(tmp_path / "run"), NeverReady(2, 1)
    run.path.mkdir()
    units = [job(number, tmp_path) for number in range(9)]
    with (
        pytest.raises(MachineError, match="6 workers in a row ended before they took a unit"),
        Pool(run, transport) as pool,
    ):
        execute(units, run, Execution(engine=pool))
    assert transport.started <= 7
    assert not any(run.failure(unit) for unit in units)


def test_a_machine_that_does_not_see_the_storage_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "CACHE_SECONDS", 0.3)
    with Presence(tmp_path) as leader:
        setup = Setup(tmp_path, tmp_path, "", leader.worker.name, "", ())
        assert worker_process.find_missing_storage(setup) == ""
        elsewhere = worker_process.find_missing_storage(replace(setup, run=tmp_path / "other"))
        assert "must lie on storage that all machines share" in elsewhere
        assert "is not there on" in worker_process.find_missing_storage(replace(setup, folder=tmp_path / "other"))


def test_random_kills_of_workers_lose_nothing_and_do_nothing_twice(tmp_path: Path, pool: Executor) -> None:
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
    outcome = pool(units, tmp_path / "run", workers=3)
    while outcome.failed:  # three of the kills met one unit
        assert all("one after the other" in reason for reason in outcome.failed.values()), (seed, outcome.failed)
        outcome = pool(units, tmp_path / "run", workers=3)
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
from tests.runs.test_executors import Executor
place = Path(sys.argv[1])
outcome = Executor('processes')(grid(place, 3, 4, seconds=0.1), place / "run")
print(outcome.done + outcome.reused, len(outcome.failed), len(outcome.skipped))
"""


@pytest.mark.slow
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


def test_a_full_disk_ends_the_call_and_fails_no_unit(tmp_path: Path, pool: Executor) -> None:
    full = job(1, tmp_path, trouble="full", times=1)
    with pytest.raises(OSError, match="No space left on device") as raised:
        pool([full, job(2, tmp_path, full)], tmp_path / "run")
    assert raised.value.errno == errno.ENOSPC
    assert RunDirectory(tmp_path / "run").failure(full) is None
    assert pool([full, job(2, tmp_path, full)], tmp_path / "run").done == 2


def test_ctrl_c_ends_the_workers_and_leaves_a_directory_that_resumes(tmp_path: Path, executor: Executor) -> None:
    units = [job(number, tmp_path, seconds=30) for number in range(2)]
    at_once = 1 if executor.kind == "local" else 2
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell began the tests behind it

    def interrupt() -> None:
        while len(tries_of(tmp_path)) < at_once:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        executor(units, tmp_path / "run")
    signal.signal(signal.SIGINT, before)
    thread.join()
    for process in set(processes_of(tmp_path)) - {os.getpid()}:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    assert all(path.suffix == ".partial" for path in leftovers(tmp_path / "run"))
    assert JOB.kind not in [path.parent.name for path in (tmp_path / "run").rglob("DONE")]
