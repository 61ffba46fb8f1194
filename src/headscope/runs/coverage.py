"""Coverage: which units of a run's plan are done, which are being done and where, which are damaged or failed and why,
and which were never reached.
"""

from dataclasses import dataclass
from pathlib import Path

from headscope.errors import InputError
from headscope.progress import SILENT, Bar, Progress
from headscope.results.codec import Json
from headscope.runs.directory import RunDirectory
from headscope.runs.failures import Failure
from headscope.runs.leases import holder, lock_folder
from headscope.runs.presence import Worker, live_workers
from headscope.runs.records import find_unit_damage
from headscope.runs.remote import fetch_small_files
from headscope.runs.unit_files import DONE, RECORD
from headscope.runs.units import unit_name
from headscope.storage import read_object

RECORDS_READ = 20
"""Finished units of a kind whose seconds are read, for a guess at what the others take."""


@dataclass(frozen=True, slots=True)
class Running:
    """A unit that is being done. since: in seconds since 1970, by the file server's clock."""

    name: str
    worker: Worker
    since: float


Problems = tuple[tuple[str, str], ...]
"""Unit name and one-line reason."""


@dataclass(frozen=True, slots=True)
class KindCoverage:
    """Units of one kind: how many are planned and done, and what is wrong with those that are damaged or failed.

    running: those that a living process holds. seconds: that a finished one took on average; None without any.
    """

    kind: str
    planned: int
    done: int
    damages: Problems
    failures: Problems
    running: tuple[Running, ...] = ()
    seconds: float | None = None

    @property
    def missing(self) -> int:
        """Return the number of units that were not reached, or wait for a failed one."""
        return self.planned - self.done - len(self.damages) - len(self.failures) - len(self.running)

    @property
    def waiting(self) -> int:
        """Return the number of units that are still to be done: running, or not reached."""
        return self.missing + len(self.running)


@dataclass(frozen=True, slots=True)
class Coverage:
    """The state of every unit, by kind in the plan's order."""

    kinds: tuple[KindCoverage, ...]

    @property
    def planned(self) -> int:
        """Return the number of units of the plan."""
        return sum(units.planned for units in self.kinds)

    @property
    def done(self) -> int:
        """Return the number of finished units."""
        return sum(units.done for units in self.kinds)

    @property
    def damages(self) -> Problems:
        """Return the finished units with a damaged file."""
        return tuple(damage for units in self.kinds for damage in units.damages)

    @property
    def failures(self) -> Problems:
        """Return the units whose last try failed."""
        return tuple(failure for units in self.kinds for failure in units.failures)

    @property
    def running(self) -> tuple[Running, ...]:
        """Return the units that a living process is computing."""
        return tuple(unit for units in self.kinds for unit in units.running)

    @property
    def seconds_left(self) -> float | None:
        """Return the least seconds that what is left will take with as many processes as are at work now.

        Each unit counts as those of its kind that are finished. None if nobody is at work, or if no kind with units
        left has a finished one; ``unmeasured`` kinds come on top.
        """
        work = sum(units.waiting * (units.seconds or 0.0) for units in self.kinds)
        return work / len(self.running) if self.running and work else None

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Return the kinds with units left and none finished, so that nothing tells how long they take."""
        return tuple(units.kind for units in self.kinds if units.seconds is None and units.waiting)

    @property
    def complete(self) -> bool:
        """Return whether every unit is done."""
        return self.done == self.planned

    def __str__(self) -> str:
        if self.complete:
            return f"all {self.planned} units done"
        failed, damaged = len(self.failures), len(self.damages)
        missing = sum(units.missing for units in self.kinds)
        damaged_part = f"{damaged} damaged, " if damaged else ""
        running_part = f"{len(self.running)} running, " if self.running else ""
        return (
            f"{self.done} of {self.planned} units done, {running_part}{damaged_part}{failed} failed, {missing} missing"
        )


def coverage(run: RunDirectory, *, check_files: bool = False, progress: Progress = SILENT) -> Coverage:
    """Return the state of the run's plan.

    check_files: read every file of every finished unit, and tell damaged ones from whole ones.
    """
    rows = run.rows()
    kinds = []
    if check_files:
        fetch_small_files([run.path / "units" / row["kind"] / row["digest"] for row in rows])
    workers = {worker.name: worker for worker in live_workers(run.path)}
    with progress.bar("checking files", len(rows)) as bar:
        for kind in dict.fromkeys(row["kind"] for row in rows):
            of_kind = [row for row in rows if row["kind"] == kind]
            kinds.append(_kind_coverage(run, kind, of_kind, workers, check_files, bar))
    return Coverage(tuple(kinds))


def _kind_coverage(
    run: RunDirectory,
    kind: str,
    rows: list[dict[str, Json]],
    workers: dict[str, Worker],
    check_files: bool,
    bar: Bar,
) -> KindCoverage:
    finished = 0
    seconds: list[float] = []
    running: list[Running] = []
    damages: list[tuple[str, str]] = []
    failures: list[tuple[str, str]] = []
    for row in rows:
        bar.advance(note=kind)
        folder = run.path / "units" / kind / row["digest"]
        name = unit_name(kind, row["labels"])
        if not (folder / DONE).exists():
            failure = Failure.read(folder)
            held = holder(folder) if workers and lock_folder(folder).exists() else None
            if held is not None and held[0] in workers:
                running.append(Running(name, workers[held[0]], held[1]))
            elif failure is not None:
                failures.append((name, failure.reason))
        elif problem := find_unit_damage(folder) if check_files else "":
            damages.append((name, problem))
        else:
            finished += 1
            if len(seconds) < RECORDS_READ:
                seconds += _seconds_of(folder)
    mean = sum(seconds) / len(seconds) if seconds else None
    return KindCoverage(kind, len(rows), finished, tuple(damages), tuple(failures), tuple(running), mean)


def _seconds_of(folder: Path) -> list[float]:
    """Return what a finished unit took; nothing if its record cannot be read."""
    try:
        return [float(read_object(folder / RECORD)["seconds"])]
    except (InputError, KeyError, TypeError, ValueError):
        return []
