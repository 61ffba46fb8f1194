"""Coverage: which units of a run's plan are done, which failed and why, and which were never reached."""

from dataclasses import dataclass

from headscope.runs.directory import DONE, RunDirectory, failure_file
from headscope.storage import read_object


@dataclass(frozen=True, slots=True)
class KindCoverage:
    """Units of one kind. failures: unit name and one-line reason."""

    kind: str
    planned: int
    done: int
    failures: tuple[tuple[str, str], ...]

    @property
    def failed(self) -> int:
        """Units whose last try failed."""
        return len(self.failures)

    @property
    def missing(self) -> int:
        """Neither done nor failed: not reached, or waiting for a failed unit."""
        return self.planned - self.done - self.failed


@dataclass(frozen=True, slots=True)
class Coverage:
    """The state of every unit, by kind in the plan's order."""

    kinds: tuple[KindCoverage, ...]

    @property
    def planned(self) -> int:
        """All units of the plan."""
        return sum(units.planned for units in self.kinds)

    @property
    def done(self) -> int:
        """Finished units."""
        return sum(units.done for units in self.kinds)

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Unit name and one-line reason of all that failed."""
        return tuple(failure for units in self.kinds for failure in units.failures)

    @property
    def complete(self) -> bool:
        """Whether nothing failed and nothing is missing."""
        return self.done == self.planned

    def __str__(self) -> str:
        if self.complete:
            return f"all {self.planned} units done"
        failed = len(self.failures)
        missing = self.planned - self.done - failed
        return f"{self.done} of {self.planned} units done, {failed} failed, {missing} missing"


def coverage(run: RunDirectory) -> Coverage:
    """The state of the run's plan as its files say it."""
    rows = run.lock()["units"]
    kinds = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        folders = [run.path / "units" / kind / row["digest"] for row in rows if row["kind"] == kind]
        pending = [folder for folder in folders if not (folder / DONE).exists()]
        records = [read_object(failure_file(folder)) for folder in pending if failure_file(folder).exists()]
        failures = tuple((_name(record), str(record["reason"])) for record in records)
        kinds.append(KindCoverage(kind, len(folders), len(folders) - len(pending), failures))
    return Coverage(tuple(kinds))


def _name(record: "dict[str, object]") -> str:
    labels = record["labels"]
    return " ".join([str(record["kind"]), *map(str, labels.values() if isinstance(labels, dict) else ())])
