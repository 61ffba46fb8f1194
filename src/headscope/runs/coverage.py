"""Coverage: which units of a run's plan are done, which are damaged or failed and why, and which were never reached."""

from dataclasses import dataclass

from headscope.progress import SILENT, Bar, Progress
from headscope.results.codec import Json
from headscope.runs.directory import RunDirectory
from headscope.runs.failures import Failure
from headscope.runs.records import DONE, find_unit_damage
from headscope.runs.units import unit_name

Problems = tuple[tuple[str, str], ...]
"""Unit name and one-line reason."""


@dataclass(frozen=True, slots=True)
class KindCoverage:
    """Units of one kind: how many are planned and done, and what is wrong with those that are damaged or failed."""

    kind: str
    planned: int
    done: int
    damages: Problems
    failures: Problems

    @property
    def missing(self) -> int:
        """Units that were not reached, or wait for a failed one."""
        return self.planned - self.done - len(self.damages) - len(self.failures)


@dataclass(frozen=True, slots=True)
class Coverage:
    """The state of every unit, by kind in the plan's order."""

    kinds: tuple[KindCoverage, ...]

    @property
    def planned(self) -> int:
        """Number of units of the plan."""
        return sum(units.planned for units in self.kinds)

    @property
    def done(self) -> int:
        """Number of finished units."""
        return sum(units.done for units in self.kinds)

    @property
    def damages(self) -> Problems:
        """Finished units with a damaged file."""
        return tuple(damage for units in self.kinds for damage in units.damages)

    @property
    def failures(self) -> Problems:
        """Units whose last try failed."""
        return tuple(failure for units in self.kinds for failure in units.failures)

    @property
    def complete(self) -> bool:
        """Return whether every unit is done."""
        return self.done == self.planned

    def __str__(self) -> str:
        if self.complete:
            return f"all {self.planned} units done"
        failed, damaged = len(self.failures), len(self.damages)
        missing = self.planned - self.done - failed - damaged
        damaged_part = f"{damaged} damaged, " if damaged else ""
        return f"{self.done} of {self.planned} units done, {damaged_part}{failed} failed, {missing} missing"


def coverage(run: RunDirectory, *, check_files: bool = False, progress: Progress = SILENT) -> Coverage:
    """Return the state of the run's plan.

    check_files: read every file of every finished unit, and tell damaged ones from whole ones.
    """
    rows = run.rows()
    kinds = []
    with progress.bar("checking files", len(rows)) as bar:
        for kind in dict.fromkeys(row["kind"] for row in rows):
            of_kind = [row for row in rows if row["kind"] == kind]
            kinds.append(_kind_coverage(run, kind, of_kind, check_files, bar))
    return Coverage(tuple(kinds))


def _kind_coverage(
    run: RunDirectory, kind: str, rows: list[dict[str, Json]], check_files: bool, bar: Bar
) -> KindCoverage:
    finished = 0
    damages: list[tuple[str, str]] = []
    failures: list[tuple[str, str]] = []
    for row in rows:
        bar.advance(note=kind)
        folder = run.path / "units" / kind / row["digest"]
        name = unit_name(kind, row["labels"])
        if not (folder / DONE).exists():
            failure = Failure.read(folder)
            if failure is not None:
                failures.append((name, failure.reason))
        elif problem := find_unit_damage(folder) if check_files else "":
            damages.append((name, problem))
        else:
            finished += 1
    return KindCoverage(kind, len(rows), finished, tuple(damages), tuple(failures))
