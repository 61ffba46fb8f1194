"""Units that take several devices: which they get, and what the others do meanwhile. The devices are names."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.runs.jobs import devices_seen, job, memory_shares

from headscope.progress import SILENT
from headscope.runs import Execution, Outcome, RunDirectory, Unit, execute, pool
from headscope.runs.attempt import Report
from headscope.runs.messages import END, READY, Setup
from headscope.runs.pool import Pool, PoolWorker
from headscope.runs.processes import Processes

DEVICES = ("a", "b", "c", "d")
WIDE = 1


def devices(unit: Unit) -> int:
    return int(unit.config.devices)  # type: ignore[attr-defined]


class StandIn:
    """A worker that does nothing until it is told."""

    def __init__(self, place: int, setup: Setup) -> None:
        self.lost = ""
        self.places = (place, *setup.others)
        self.words: list[object] = []
        self.unit: Unit | None = None
        self.has_ended = False

    def send(self, message: bytes) -> None:
        assert not self.has_ended
        self.has_ended = message == END
        self.unit = None if self.has_ended else pickle.loads(message)

    def receive(self) -> list[object]:
        words, self.words = self.words, []
        return words

    def interrupt(self) -> None:
        raise AssertionError("it was told to end")

    def kill(self, patience: float) -> None:
        self.has_ended = True


class StandIns:
    """Begins such workers. has_room: whether those with several places are ready at once, as the others are."""

    def __init__(self, workers: int, *, has_room: bool = True) -> None:
        self.workers, self.has_room = workers, has_room
        self.all: list[StandIn] = []

    def start(self, place: int, setup: Setup) -> StandIn:
        worker = StandIn(place, setup)
        assert not {place for other in self.living for place in other.places} & set(worker.places)
        if self.has_room or not setup.others:
            worker.words.append(READY)
        self.all.append(worker)
        return worker

    @property
    def living(self) -> list[StandIn]:
        return [worker for worker in self.all if not worker.has_ended]

    def doing(self) -> dict[int, tuple[int, ...]]:
        """Return the places of every unit being done, by its number."""
        return {worker.unit.config.number: worker.places for worker in self.living if worker.unit is not None}  # type: ignore[attr-defined]

    def finish(self, *numbers: int, report: Report = Report("done")) -> None:
        for worker in self.living:
            if worker.unit is not None and worker.unit.config.number in numbers:  # type: ignore[attr-defined]
                worker.words.append(report)
                worker.unit = None

    def wait(self, workers: Sequence[PoolWorker], seconds: float) -> None:
        pass

    def close(self) -> None:
        pass


def go_on(engine: Pool, ready: list[Unit]) -> list[Unit]:
    """Begin what can be begun of ``ready``, and return what is left."""
    engine.wait(0.0, SILENT, lambda note: None)
    left = list(ready)
    while (choice := engine.choose(left)) is not None:
        engine.begin(left.pop(choice))
    engine.wait(0.0, SILENT, lambda note: None)
    return left


@pytest.fixture
def transport() -> StandIns:
    return StandIns(4)


def test_free_workers_wait_for_a_unit_of_several_devices_while_others_go_on(
    tmp_path: Path, transport: StandIns
) -> None:
    engine = Pool(RunDirectory(tmp_path), transport, devices=devices)
    ready = go_on(engine, [job(number, tmp_path) for number in (10, 11, 12, 13, 14, 15, 16)])
    assert transport.doing() == {10: (0,), 11: (1,), 12: (2,), 13: (3,)}
    ready.append(job(WIDE, tmp_path, devices=2))
    transport.finish(11)
    ready = go_on(engine, ready)
    assert set(transport.doing()) == {10, 12, 13}  # one is free, and waits for a second
    transport.finish(13)
    ready = go_on(engine, ready)
    assert transport.doing() == {10: (0,), 12: (2,), WIDE: (1, 3)}
    transport.finish(10)
    ready = go_on(engine, ready)
    assert transport.doing() == {12: (2,), 14: (0,), WIDE: (1, 3)}
    transport.finish(WIDE, 12, 14)
    ready = go_on(engine, ready)
    assert set(transport.doing()) == {15, 16}
    assert ready == []
    assert all(len(worker.places) == 1 for worker in transport.living)  # the one of several devices has ended


def test_what_loads_no_model_goes_first_where_it_is_first_and_else_a_loaded_model_is_used_again(tmp_path: Path) -> None:
    """A training must not wait for every unit of a model that a worker has by chance."""

    def models(unit: Unit) -> frozenset[str]:
        number = unit.config.number  # type: ignore[attr-defined]
        return frozenset() if number < 10 else frozenset({f"model {number % 2}"})

    transport = StandIns(2)
    engine = Pool(RunDirectory(tmp_path), transport, models=models)
    ready = go_on(engine, [job(number, tmp_path) for number in (10, 1, 12, 11, 14)])
    assert transport.doing() == {10: (0,), 1: (1,)}
    transport.finish(10)
    ready = go_on(engine, [job(2, tmp_path), *ready])
    assert transport.doing() == {2: (0,), 1: (1,)}
    transport.finish(2)
    ready = go_on(engine, ready)
    assert transport.doing() == {12: (0,), 1: (1,)}  # which has model 0
    transport.finish(1)
    go_on(engine, ready)
    assert transport.doing() == {12: (0,), 11: (1,)}  # 14 can wait for model 0


def test_a_unit_that_ran_out_of_memory_has_its_devices_again_and_nothing_beside_it(
    tmp_path: Path, transport: StandIns
) -> None:
    engine = Pool(RunDirectory(tmp_path), transport, devices=devices)
    narrow = [job(number, tmp_path) for number in (10, 11, 12)]
    ready = go_on(engine, [job(WIDE, tmp_path, devices=2), *narrow])
    assert transport.doing() == {WIDE: (0, 1), 10: (2,), 11: (3,)}
    transport.finish(WIDE, report=Report("failed", out_of_memory=True))
    ready = go_on(engine, ready)
    assert set(transport.doing()) == {10, 11}
    transport.finish(10, 11)
    ready = go_on(engine, ready)
    assert transport.doing() == {WIDE: (0, 1)}
    transport.finish(WIDE)
    assert go_on(engine, ready) == []
    assert set(transport.doing()) == {12}


def test_idle_workers_make_room_on_a_cluster_whose_free_devices_are_scattered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = StandIns(4, has_room=False)
    engine = Pool(RunDirectory(tmp_path), transport, devices=devices)
    ready = [job(WIDE, tmp_path, devices=2), *(job(number, tmp_path) for number in (10, 11, 12, 13))]
    ready = go_on(engine, ready)
    transport.finish(10)
    ready = go_on(engine, ready)
    assert set(transport.doing()) == {11, 12}  # it may still begin
    monkeypatch.setattr(pool, "PLACE_SECONDS", 0.0)
    transport.finish(11, 12)
    ready = go_on(engine, ready)
    assert transport.doing() == {}
    (pending,) = transport.living
    assert pending.places == (0, 1)
    assert go_on(engine, []) == []  # nor if nothing else is ready
    assert transport.living == [pending]
    pending.words.append(READY)
    ready = go_on(engine, ready)
    assert transport.doing() == {WIDE: (0, 1), 13: (2,)}
    assert ready == []


def run_units(units: list[Unit], out: Path) -> Outcome:
    run = RunDirectory(out)
    out.mkdir(exist_ok=True)
    with Pool(run, Processes(4, 1, DEVICES), devices=devices) as engine:
        return execute(units, run, Execution(engine=engine))


def test_processes_see_the_devices_of_their_unit(tmp_path: Path) -> None:
    units = [job(number, tmp_path, seconds=2.0, devices=2) for number in (1, 2)]
    assert run_units(units, tmp_path / "run").done == 2
    assert devices_seen(tmp_path, 1)[0] | devices_seen(tmp_path, 2)[0] == set(DEVICES)
    assert run_units([*units, job(3, tmp_path, devices=4), job(4, tmp_path)], tmp_path / "run").done == 2
    assert devices_seen(tmp_path, 3) == [set(DEVICES)]
    assert len(devices_seen(tmp_path, 4)[0]) == 1


def test_the_unit_of_a_killed_worker_has_as_many_devices_again(tmp_path: Path) -> None:
    wide = job(WIDE, tmp_path, trouble="killed", times=2, devices=3)
    others = [job(number, tmp_path) for number in range(10, 13)]
    outcome = run_units([wide, *others], tmp_path / "run")
    assert (outcome.done, outcome.failed) == (4, {})
    assert [len(devices) for devices in devices_seen(tmp_path, WIDE)] == [3, 3, 3]
    assert memory_shares(tmp_path, WIDE) == [1.0, 1.0, 0.5]


def test_workers_that_share_gpus_give_no_unit_several() -> None:
    assert Processes(4, 1, DEVICES).most_devices == 4
    assert Processes(4, 1, DEVICES[:2]).most_devices == 1
    assert Processes(3, 1).most_devices == 3
