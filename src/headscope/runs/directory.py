"""One run directory: ``study.yaml``, ``study.lock.json``, ``units/<kind>/<digest>/`` and ``report/``."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.runs.files import sync_folder, write_json
from headscope.runs.units import Unit
from headscope.storage import check_schema, read_object

SCHEMA_VERSION = 1
DONE = "DONE"


@dataclass(frozen=True)
class RunDirectory:
    """A folder of results. Reading needs neither torch nor the study's models."""

    path: Path

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

    def folder(self, unit: Unit) -> Path:
        """Where a finished unit's files lie."""
        return self.path / "units" / unit.kind / unit.digest

    def partial(self, unit: Unit) -> Path:
        """Where an unfinished unit's files lie."""
        return self.folder(unit).with_name(f".{unit.digest}.partial")

    def is_done(self, unit: Unit) -> bool:
        """Whether the unit's results are there and whole."""
        return (self.folder(unit) / DONE).exists()

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
        if unit.resumable and final.exists() and not partial.exists():
            final.rename(partial)  # killed between the rename and DONE: all the work is there
        for stale in (final, *([] if unit.resumable else [partial])):
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

    def find(self, kind: str, **labels: Any) -> list["Record"]:
        """Finished units of the current plan with these labels, in the plan's order."""
        rows = [row for row in self.lock()["units"] if row["kind"] == kind]
        wanted = [row for row in rows if all(row["labels"].get(key) == value for key, value in labels.items())]
        records = [Record(self.path / "units" / kind / row["digest"], row["labels"]) for row in wanted]
        return [record for record in records if (record.folder / DONE).exists()]

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
