"""Kill workers and drivers of `processes` at random moments, resume by the same command, compare every unit's files.

    python benchmarks/executor_kills.py [--workers-killed 20] [--drivers-killed 5] [--units 200] [--seed 0]

Units are the tests' sums over a grid, each of which reads two of the layer before and takes a tenth of a second. Files
are compared by their SHA-256 with those of one undisturbed process; a unit that was done before a kill must keep its
record, byte for byte, so that none is done twice.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))

from table import markdown_table
from tests.runs.jobs import grid, lines

from headscope.runs import Execution, RunDirectory, Unit, execute
from headscope.runs.pool import Pool
from headscope.runs.presence import live_workers
from headscope.runs.processes import Processes
from headscope.runs.unit_files import DONE, RECORD

WIDTH = 10


def make_units(place: Path, count: int) -> list[Unit]:
    """Return ``count`` units in layers of ten."""
    return grid(place, count // WIDTH, WIDTH, seconds=0.1)


def drive(place: Path, count: int) -> None:
    """Do the units with two workers, and those again that three kills met."""
    run = RunDirectory(place / "run")
    units = make_units(place, count)
    while True:
        with Pool(run, Processes(2, 1)) as pool:
            outcome = execute(units, run, Execution(engine=pool))
        if not outcome.failed:
            return
        assert all("one after the other" in reason for reason in outcome.failed.values()), outcome.failed


def start_driver(place: Path, count: int) -> "subprocess.Popen[bytes]":
    """Begin ``drive`` in a process of its own."""
    return subprocess.Popen([sys.executable, __file__, "--drive", str(place), "--units", str(count)])


def disturb(place: Path, count: int, workers: int, drivers: int, draw: random.Random) -> tuple[int, int, set[str]]:
    """Kill so many workers and drivers while the units are done, then let it end.

    Returns:
        The numbers of workers and drivers that were killed, and the units whose record changed after they were done.
    """
    order = [True] * drivers + [False] * workers
    draw.shuffle(order)
    killed = {True: 0, False: 0}
    records: dict[str, bytes] = {}
    rewritten: set[str] = set()
    driver = start_driver(place, count)
    for is_driver in order:
        before = len(lines(place / "log"))
        while driver.poll() is None and len(lines(place / "log")) == before:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.5))
        victims = [driver.pid] if is_driver else [w.process for w in live_workers(place / "run") if w.leader]
        if driver.poll() is not None or not victims:
            break
        os.kill(draw.choice(victims), signal.SIGKILL)
        killed[is_driver] += 1
        rewritten |= {name for name, record in _records(place / "run").items() if records.get(name, record) != record}
        records = _records(place / "run")
        if is_driver:
            driver.wait()
            driver = start_driver(place, count)
    if driver.wait() != 0:
        raise RuntimeError(f"the last driver ended with {driver.returncode}")
    last = _records(place / "run")
    return killed[False], killed[True], rewritten | {name for name in records if last.get(name) != records[name]}


def _records(run: Path) -> dict[str, bytes]:
    return {mark.parent.name: (mark.parent / RECORD).read_bytes() for mark in run.glob(f"units/*/[!.]*/{DONE}")}


def digests(run: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of every unit but its record, which holds times."""
    files = [path for path in run.glob("units/**/*") if path.is_file() and path.name not in (RECORD, DONE)]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 if no byte differs, nothing was lost and nothing done twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers-killed", type=int, default=20)
    parser.add_argument("--drivers-killed", type=int, default=5)
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.drive is not None:
        drive(options.drive, options.units)
        return 0
    with TemporaryDirectory(prefix="headscope-kills-") as scratch:
        whole, place = Path(scratch) / "whole", Path(scratch) / "killed"
        for folder in (whole, place):
            folder.mkdir()
        execute(make_units(whole, options.units), RunDirectory(whole / "run"))
        draw = random.Random(options.seed)
        workers, drivers, rewritten = disturb(
            place, options.units, options.workers_killed, options.drivers_killed, draw
        )
        expected, actual = digests(whole / "run"), digests(place / "run")
        differing = [name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name)]
        leftovers = [*(place / "run").glob("units/*/.*"), *(place / "run").glob(".workers/*")]
        names = ("workers killed", "drivers killed", "units", "files differing", "done twice", "leftovers")
        numbers = (workers, drivers, len(_records(place / "run")), len(differing), len(rewritten), len(leftovers))
        print(markdown_table(names, [tuple(map(str, numbers))]))
    return 1 if differing or rewritten or leftovers else 0


if __name__ == "__main__":
    sys.exit(main())
