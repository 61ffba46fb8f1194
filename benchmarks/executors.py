"""What a run directory of many units costs: per unit and executor, to resume, and to ask for its status.

    python benchmarks/executors.py [--units 1000] [--large 10000] [--workers 2] [--ray]

Units are arithmetic on one number, so that what is measured is everything around them: locks, records, messages. The
workers' start, which is once per run, is given apart. ``two workers`` are independent units of one thread that compute
for a while; on a busy machine the ratio says more of the machine.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

sys.path.append(str(Path(__file__).parents[1]))

from dataclasses import dataclass

from pydantic import BaseModel
from table import markdown_table

from headscope.progress import Progress
from headscope.results.result import JsonResult
from headscope.runs import Execution, Inputs, RunDirectory, Unit, Work, execute
from headscope.runs.attempt import unit_record
from headscope.runs.coverage import coverage
from headscope.runs.pool import Pool
from headscope.runs.processes import Processes
from headscope.runs.ray_workers import RayCluster
from headscope.runs.records import mark_done, write_record
from headscope.storage import synced_later, write_json


class NumberConfig(BaseModel):
    """A number, and how many times it is multiplied."""

    number: int
    rounds: int = 0


@dataclass(frozen=True)
class Number(JsonResult):
    """A number."""

    kind: ClassVar[str] = "number"
    file: ClassVar[str] = "number.json"

    number: int


def compute(config: NumberConfig, inputs: Inputs, progress: Progress) -> Number:
    """Return the number after ``rounds`` multiplications."""
    number = config.number
    for _ in range(config.rounds):
        number = number * 48271 % 2147483647
    return Number(number)


# As workers import it: in this script it is ``__main__``'s.
def work() -> "Work[NumberConfig]":
    """Return the kind of work, by a name that other processes find it under."""
    import executors

    return Work("number", executors.NumberConfig, executors.compute)


def make_units(count: int, rounds: int = 0) -> list[Unit]:
    """Return independent units, with a reader for every tenth."""
    import executors

    kind, units = work(), []
    for number in range(count):
        inputs = {"before": units[-1]} if number % 10 == 9 else {}
        config = executors.NumberConfig(number=number, rounds=rounds)
        units.append(kind.unit(config, {"name": number}, inputs))
    return units


def timed_run(units: list[Unit], out: Path, workers: int, kind: str = "processes") -> tuple[float, float]:
    """Return the seconds until the first worker has answered and of the rest; ``workers`` 0 is this process."""
    run = RunDirectory(out)
    out.mkdir()
    write_json(run.lock_file, {"schema_version": 1, "units": [unit.row for unit in units]})
    start = time.perf_counter()
    if not workers:
        assert execute(units, run).done == len(units)
        return 0.0, time.perf_counter() - start
    transport = RayCluster("local", workers, 1) if kind == "ray" else Processes(workers, 1)
    with closing(transport), Pool(run, transport) as pool:
        first = execute(units[:workers], run, Execution(engine=pool))
        begun = time.perf_counter()
        outcome = execute(units, run, Execution(engine=pool))
        ended = time.perf_counter()
    assert first.done + outcome.done == len(units)
    return begun - start, ended - begun


def write_finished(units: list[Unit], out: Path) -> None:
    """Write records of finished units without computing them; how they are written is not measured."""
    run = RunDirectory(out)
    out.mkdir()
    write_json(run.lock_file, {"schema_version": 1, "units": [unit.row for unit in units]})
    with synced_later():
        for unit in units:
            run.folder(unit).mkdir(parents=True)
            inputs = {"input_contents": run.input_contents(unit)}
            write_record(run.folder(unit), unit_record(unit, 0.0) | inputs, "*")
            mark_done(run.folder(unit))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="also Ray, on a cluster of this machine")
    parser.add_argument("--rounds", type=int, default=5_000_000)
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(Path(__file__).parent))
    with TemporaryDirectory(prefix="headscope-executors-") as scratch:
        folder, units = Path(scratch), make_units(options.units)
        rows = []
        pools = ["processes", "ray"] if options.ray else ["processes"]
        for kind in ["local", *pools]:
            workers = 0 if kind == "local" else options.workers
            start, seconds = timed_run(units, folder / kind, workers, kind)
            name = f"{kind}, {workers} workers" if workers else kind
            rows.append((name, str(len(units)), f"{start:.2f} s", f"{1000 * seconds / len(units):.2f} ms"))
        print(markdown_table(("executor", "units", "start", "overhead per unit"), rows), flush=True)
        busy = make_units(8, options.rounds)
        for kind in pools:
            one = timed_run(busy, folder / f"{kind}-one", 1, kind)[1]
            two = timed_run(busy, folder / f"{kind}-two", 2, kind)[1]
            ratio = f"{one / two:.2f} times one on 8 units of one thread ({one:.2f} s, {two:.2f} s)"
            print(f"{kind}, two workers: {ratio}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print()
        large = make_units(options.large)
        write_finished(large, folder / "large")
        start = time.perf_counter()
        assert coverage(RunDirectory(folder / "large")).complete
        asked = time.perf_counter()
        assert execute(make_units(options.large), RunDirectory(folder / "large")).reused == len(large)
        print(f"{len(large)} units: status {asked - start:.2f} s, resume {time.perf_counter() - asked:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
