"""One run directory: ``study.yaml``, ``study.lock.json``, ``units/<kind>/<digest>/`` and ``report/``."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from headscope.errors import InputError
from headscope.results.not_run import NotRun, load_result
from headscope.runs import provenance
from headscope.runs.units import Inputs, Unit
from headscope.storage import Result, check_schema, read_object, sync_folder, write_json

SCHEMA_VERSION = 1
DONE = "DONE"

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class RunDirectory:
    """A folder of results. Reading needs neither torch nor the study's models."""

    path: Path
    units: Sequence[Unit] | None = None
    """Whose results are read; None for those of the plan that was run last."""

    @classmethod
    def open(cls, path: Path | str) -> "RunDirectory":
        """An existing run directory; InputError where it is none or was made by a newer schema."""
        run = cls(Path(path))
        if not run.lock_file.exists():
            raise InputError(f"{run.path} is not a run directory: it has no study.lock.json")
        run.check_schema()
        return run

    @property
    def lock_file(self) -> Path:
        """``study.lock.json``: resolved study, provenance, and the units of the current plan."""
        return self.path / "study.lock.json"

    @property
    def report(self) -> Path:
        """Where the page goes."""
        return self.path / "report" / "report.html"

    def check_schema(self) -> None:
        """InputError when the directory was written by a newer headscope, or its lock is not ours."""
        if self.lock_file.exists():
            check_schema(self.lock(), str(self.lock_file), SCHEMA_VERSION)

    def lock(self) -> dict[str, Any]:
        """The content of ``study.lock.json``; InputError where it is no JSON object."""
        return read_object(self.lock_file)

    def write_lock(
        self, study: dict[str, Any], rows: list[dict[str, Any]], models: Mapping[str, str] | None = None
    ) -> None:
        """Write ``study.lock.json``: the resolved study, what it ran with, and the units of the plan (``Unit.row``).

        models: what base and finished variants are called; one name may stand for one of two models.
        """
        made_with = {
            "versions": provenance.versions(),
            "source": provenance.commit(),
            "hardware": provenance.hardware(),
            "models": dict(models or {}),
        }
        content = {"schema_version": SCHEMA_VERSION, "study": study, "provenance": made_with, "units": rows}
        write_json(self.lock_file, content)

    def folder(self, unit: Unit) -> Path:
        """Where a finished unit's files lie."""
        return self.path / "units" / unit.kind / unit.digest

    def partial(self, unit: Unit) -> Path:
        """Where an unfinished unit's files lie."""
        return self.folder(unit).with_name(f".{unit.digest}.partial")

    def is_done(self, unit: Unit) -> bool:
        """Whether the unit's results are there and whole."""
        return (self.folder(unit) / DONE).exists()

    def inputs(self, unit: Unit, scratch: Path) -> Inputs:
        """Return what a unit's function reads; it works in ``scratch``."""
        return Inputs({role: self.folder(needed) for role, needed in unit.inputs.items()}, scratch)

    def failure(self, unit: Unit) -> dict[str, Any] | None:
        """The record of the last failed try, or None."""
        path = failure_file(self.folder(unit))
        return read_object(path) if path.exists() else None

    @contextmanager
    def writing(self, unit: Unit) -> Iterator[Path]:
        """A folder to write ``unit`` into; it becomes the unit's when the block ends well, with ``DONE`` last.

        The folder of an interrupted try is thrown away, or handed out again where the unit can resume in it.
        """
        final = self.folder(unit)
        partial = self.partial(unit)
        if unit.work.resumable and final.exists() and not partial.exists():
            final.rename(partial)  # killed between the rename and DONE: all the work is there
        for stale in (final, *([] if unit.work.resumable else [partial])):
            shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        sync_folder(partial)
        partial.rename(final)
        (final / DONE).touch()
        sync_folder(final)
        failure_file(self.folder(unit)).unlink(missing_ok=True)

    def record_failure(self, unit: Unit, record: dict[str, Any]) -> None:
        """Keep why a unit failed, beside where its results would be."""
        path = failure_file(self.folder(unit))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)

    def rows(self) -> list[dict[str, Any]]:
        """Return kind, digest and labels of every unit, in the plan's order."""
        if self.units is None:
            rows: list[dict[str, Any]] = self.lock()["units"]
            return rows
        return [unit.row for unit in self.units]

    def find(self, kind: str, **labels: Any) -> list["Record"]:
        """Return the finished units with these labels, in the plan's order."""
        records = []
        for row in self.rows():
            folder = self.path / "units" / kind / row["digest"]
            if row["kind"] == kind and labels.items() <= row["labels"].items() and (folder / DONE).exists():
                records.append(Record(folder, row["labels"]))
        return records

    def results(self, kind: type[R], unit_kind: str | None = None, **labels: Any) -> list["Finished[R]"]:
        """Return the finished results of one kind with these labels, in the plan's order; each is read when asked for.

        unit_kind: of the units, if it is not the result's own (answers of an ablated model are ``Samples`` too).
        """
        records = self.find(unit_kind or kind.kind, **labels)
        return [Finished(record.folder, record.labels, kind) for record in records]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the directory for one writer; InputError names the process that already does, or why it cannot be
        written. Freed also by kill -9.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            writer = (self.path / ".writer").open("a+")
        except OSError as error:
            raise InputError(
                f"run directory {self.path} cannot be written ({error.strerror}); name another with --out"
            ) from None
        with writer as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise InputError(
                    f"run directory {self.path} is in use by process {file.read().strip() or 'unknown'}; "
                    "wait for it or name another with --out"
                ) from None
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield


def failure_file(folder: Path) -> Path:
    """Beside where a unit's results would be: why its last try failed."""
    return folder.with_name(f"{folder.name}.failed.json")


@dataclass(frozen=True)
class Record:
    """A finished unit as its readers see it."""

    folder: Path
    labels: dict[str, Any]

    @property
    def unit(self) -> dict[str, Any]:
        """The content of ``unit.json``: config, inputs, seconds, memory, versions."""
        return read_object(self.folder / "unit.json")


@dataclass(frozen=True)
class Finished(Record, Generic[R]):
    """A finished unit with its result."""

    kind: type[R]

    @cached_property
    def result(self) -> R | NotRun:
        """The result, or why there is none. Raises InputError if its files are damaged or of a newer headscope."""
        return load_result(self.kind, self.folder)

    @property
    def whole(self) -> R:
        """The result. Raises InputError if there is none, with the reason."""
        result = self.result
        if isinstance(result, NotRun):
            raise InputError(result.reason)
        return result
