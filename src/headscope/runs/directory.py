"""One run directory: ``study.yaml``, ``study.lock.json``, ``units/<kind>/<digest>/`` and ``report/``."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from headscope.errors import InputError
from headscope.results.claim import Claims
from headscope.results.codec import Json
from headscope.results.frames import records
from headscope.runs import frames, provenance
from headscope.runs.failures import Failure, failure_file
from headscope.runs.lock import SCHEMA_VERSION, read_lock
from headscope.runs.records import (
    DONE,
    Finished,
    Record,
    contents_of,
    find_unit_damage,
    mark_done,
    recorded_inputs,
)
from headscope.runs.units import Inputs, Unit
from headscope.storage import Result, rename_folder, write_json

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class RunDirectory:
    """A folder of results. Reading needs neither torch nor the study's models.

    units: those whose results are read; None for the units of the plan that was run last.
    """

    path: Path
    units: Sequence[Unit] | None = None

    @classmethod
    def open(cls, path: Path | str) -> "RunDirectory":
        """Return an existing run directory. Raises InputError if it is none, damaged, or made by a newer headscope."""
        run = cls(Path(path))
        if not run.lock_file.exists():
            place = (
                "; it is a study, and its runs are in runs/ unless --out says otherwise" if run.path.is_file() else ""
            )
            raise InputError(f"{run.path} is not a run directory: it has no study.lock.json{place}")
        run.check_lock()
        return run

    @property
    def lock_file(self) -> Path:
        """``study.lock.json``: resolved study, provenance, and the units of the current plan."""
        return self.path / "study.lock.json"

    @property
    def report(self) -> Path:
        """Path of the page."""
        return self.path / "report" / "report.html"

    def check_lock(self) -> None:
        """Raise InputError if the directory has a lock that cannot be read."""
        if self.lock_file.exists():
            self.lock()

    def lock(self) -> dict[str, Json]:
        """Return the content of ``study.lock.json``. Raises InputError if it cannot be read."""
        return read_lock(self.lock_file)

    def write_lock(
        self, study: dict[str, Json], rows: list[dict[str, Json]], models: Mapping[str, str] | None = None
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
        """Return the folder of a finished unit."""
        return self.path / "units" / unit.kind / unit.digest

    def partial(self, unit: Unit) -> Path:
        """Return the folder of an unfinished unit."""
        return self.folder(unit).with_name(f".{unit.digest}.partial")

    def is_done(self, unit: Unit) -> bool:
        """Return whether the unit was finished."""
        return (self.folder(unit) / DONE).exists()

    def is_current(self, unit: Unit) -> bool:
        """Return whether a unit was finished, and its inputs have not been made again with other bytes since."""
        if not self.is_done(unit):
            return False
        recorded = recorded_inputs(self.folder(unit))
        current = self.input_contents(unit)
        return all(not current[role] or current[role] == recorded[role] for role in current.keys() & recorded.keys())

    def input_contents(self, unit: Unit) -> dict[str, str]:
        """Return what a unit's readers and ``is_current`` compare: the digests of its inputs' contents, by role."""
        return {role: contents_of(self.folder(needed)) for role, needed in unit.inputs.items()}

    def inputs(self, unit: Unit, scratch: Path) -> Inputs:
        """Return what a unit's function reads; it works in ``scratch``."""
        return Inputs({role: self.folder(needed) for role, needed in unit.inputs.items()}, scratch)

    def failure(self, unit: Unit) -> Failure | None:
        """Return why the last try failed; None if it did not."""
        return Failure.read(self.folder(unit))

    @contextmanager
    def write(self, unit: Unit) -> Iterator[Path]:
        """Yield a folder to write ``unit`` into; if the block succeeds, it becomes the unit's, with ``DONE`` last.

        The folder of an interrupted try is thrown away, or handed out again if the unit can resume in it.
        """
        final = self.folder(unit)
        partial = self.partial(unit)
        if unit.work.resumable and final.exists() and not self.is_done(unit) and not partial.exists():
            final.rename(partial)  # killed between the rename and DONE: all the work is there
        for stale in (final, *([] if unit.work.resumable else [partial])):
            shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        rename_folder(partial, final)
        mark_done(final)
        failure_file(final).unlink(missing_ok=True)

    def record_failure(self, unit: Unit, record: dict[str, Json]) -> None:
        """Keep why a unit failed, next to where its results would be."""
        path = failure_file(self.folder(unit))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)

    def discard_damaged(self) -> dict[str, str]:
        """Delete every finished unit with a damaged file; return what was wrong, by address."""
        if not (self.path / "units").is_dir():
            return {}
        with self.exclusive():
            return self._discard_damaged()

    def _discard_damaged(self) -> dict[str, str]:
        problems: dict[str, str] = {}
        for leftover in self.path.glob("units/*/.*.damaged"):
            shutil.rmtree(leftover)
        for folder in sorted(mark.parent for mark in self.path.glob(f"units/*/[!.]*/{DONE}")):
            if problem := find_unit_damage(folder):
                problems[f"{folder.parent.name}/{folder.name}"] = problem
                # Renamed first: a kill while it is deleted must not leave a part that looks like an unfinished unit.
                shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.damaged")))
        return problems

    def rows(self) -> list[dict[str, Json]]:
        """Return kind, digest and labels of every unit, in the plan's order."""
        if self.units is None:
            rows: list[dict[str, Json]] = self.lock()["units"]
            return rows
        return [unit.row for unit in self.units]

    def find(self, kind: str, **labels: Json) -> list[Record]:
        """Return the finished units with these labels, in the plan's order; a label that is None may be absent."""
        records = []
        for row in self.rows():
            folder = self.path / "units" / kind / row["digest"]
            is_asked = row["kind"] == kind and _carries(row["labels"], labels)
            if is_asked and (folder / DONE).exists():
                records.append(Record(folder, row["labels"]))
        return records

    def results(self, kind: type[R], unit_kind: str | None = None, **labels: Json) -> list[Finished[R]]:
        """Return the finished results of one kind with these labels, in the plan's order; each is read when asked for.

        unit_kind: of the units, if it is not the result's own (answers of an ablated model are ``Samples`` too).
        """
        records = self.find(unit_kind or kind.kind, **labels)
        return [Finished(record.folder, record.labels, kind) for record in records]

    def frame(self, kind: str, **labels: Json) -> "pd.DataFrame":
        """Return all results of one kind as a DataFrame, in the plan's order.

        kind: of the units (``verdict``, ``measures``, ``comparison``, ``scores`` …); ``train`` has the rows of the
            trainings' logs, ``claims`` the claims as they were judged last.
        labels: only units with these, as ``variant="sft"``.

        Labels are columns. ``results.frames`` says what the others are, and what a row is: a result, or an operator, a
        head, a problem in it. An estimate is six columns: ``effect``, ``effect_low``, ``effect_high``, ``effect_n``,
        ``effect_method``, ``effect_seed``. A unit that could not be made, or failed, is a row with its reason under
        ``not_run``; one that was not reached is none.

        Raises InputError if there is no such kind, or a result is damaged.
        """
        rows = [row for row in self.rows() if _carries(row["labels"], labels)]
        if kind == Claims.kind:
            claims = Claims.load(self.path) if (self.path / Claims.file).is_file() else Claims(())
            return frames.join(kind, [({}, records(claims), None)] if claims.claims else [])
        kind_class = frames.find_kind(kind, (row["kind"] for row in self.rows()))
        units = []
        for row in (row for row in rows if row["kind"] == kind):
            folder = self.path / "units" / kind / row["digest"]
            unit = Finished(folder, row["labels"], kind_class or Result)
            if (folder / DONE).exists():
                units.append(frames.log_rows(unit) if kind_class is None else frames.unit_rows(unit))
            elif (failure := Failure.read(folder)) is not None:
                units.append(frames.failed_rows(row["labels"], failure))
        return frames.join(kind, units)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the directory for one writer, until it is done or killed.

        Raises InputError if another process holds it, with its number, or if it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            writer = (self.path / ".writer").open("a+", encoding="ascii", errors="replace")
        except (OSError, ValueError) as error:  # ValueError: a path with a lone surrogate or a null character
            reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
            raise InputError(
                f"run directory {self.path} cannot be written ({reason}); name another with --out"
            ) from None
        with writer as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = file.read(20).strip()
                raise InputError(
                    f"run directory {self.path} is in use by process {holder if holder.isdigit() else 'unknown'}; "
                    "wait for it or name another with --out"
                ) from None
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield


def _carries(own: Mapping[str, Json], asked: Mapping[str, Json]) -> bool:
    """Return whether a unit has these labels; one that is None may be absent."""
    return all(own.get(name) == label for name, label in asked.items())
