"""One run directory: ``study.yaml``, ``study.lock.json``, ``units/<kind>/<digest>/`` and ``report/``.

Finished runs are read from anywhere (``runs.remote``) and written on a disk.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from headscope.errors import InputError
from headscope.results.claim import Claims
from headscope.results.codec import Json
from headscope.results.frames import records
from headscope.runs import frames, provenance
from headscope.runs.failures import Failure, failure_file
from headscope.runs.lock import SCHEMA_VERSION, read_lock
from headscope.runs.records import (
    Finished,
    Record,
    contents_of,
    done_mark,
    recorded_inputs,
)
from headscope.runs.remote import RemoteRun, fetch_small_files, is_url
from headscope.runs.unit_files import DONE
from headscope.runs.units import Inputs, Unit
from headscope.storage import Result, write_json

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", bound=Result)

# Files of models and trainings, and the user's own study.yaml, which a run would write over: next to a run's is a lock.
_FOREIGN_FILES = (
    "config.json",
    "adapter_config.json",
    "*.safetensors",
    "checkpoint-*",
    "trainer_state.json",
    "study.yaml",
)


@dataclass(frozen=True, init=False)
class RunDirectory:
    """A folder of results. Reading needs neither torch nor the study's models.

    path: of the folder; of the copy of a run elsewhere, which ``RunDirectory("s3://bucket/run")`` reads.
    units: those whose results are read; None for the units of the plan that was run last.
    url: of a run elsewhere, "" for a folder.
    """

    path: Path
    units: Sequence[Unit] | None
    url: str = field(init=False)

    def __init__(self, path: Path | str, units: Sequence[Unit] | None = None) -> None:
        remote = RemoteRun(path) if is_url(path) else None
        object.__setattr__(self, "path", Path(path) if remote is None else remote.folder)
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "url", "" if remote is None else remote.url)
        if remote is not None:
            remote.fetch([self.lock_file.name])
            if self.lock_file.exists():
                remote.fetch([Claims.file], may_be_refused=True)
                remote.fetch_marks(self.lock()["units"])

    def __str__(self) -> str:
        """Return what messages call it."""
        return self.url or str(self.path)

    @classmethod
    def open(cls, path: Path | str) -> "RunDirectory":
        """Return an existing run directory.

        Raises InputError if there is none, or if it is damaged or was made by a newer headscope.
        """
        run = cls(path)
        if not run.lock_file.exists():
            raise InputError(_not_a_run(run))
        run.check_lock()
        return run

    @property
    def lock_file(self) -> Path:
        """Return the path of ``study.lock.json``: resolved study, provenance, and the units of the current plan."""
        return self.path / "study.lock.json"

    @property
    def report(self) -> Path:
        """Return the path of the page: ``report/report.html``, or ``NAME-report.html`` in the working folder.

        The second is that of a run elsewhere, or in a folder that cannot be written.
        """
        if self.url or not os.access(self.path, os.W_OK):
            return Path(f"{PurePosixPath(self.url or self.path.resolve()).name}-report.html")
        return self.path / "report" / "report.html"

    def check_lock(self) -> None:
        """Raise InputError if the directory has a lock that cannot be read."""
        if self.lock_file.exists():
            self.lock()

    def check_free(self, study: str) -> None:
        """Raise InputError if a run of ``study`` that begins here would lie among other files or another study's."""
        names = sorted(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else []
        if self.lock_file.name in names:
            owner = self.lock()["study"].get("name", study)
            if owner != study:
                raise InputError(
                    f"run directory {self.path} is that of study {owner}, and this study is {study}, which would take "
                    f"the place of its report; name another with --out, or go on with --set name={owner}"
                )
        if self.lock_file.name in names or "units" in names:
            return
        foreign = [name for name in names if any(fnmatch(name, pattern) for pattern in _FOREIGN_FILES)]
        if foreign:
            raise InputError(
                f"{self.path} is no run directory: it holds {foreign[0]}, which no run wrote; give the run a folder of "
                "its own (--out)"
            )

    def lock(self) -> dict[str, Json]:
        """Return the content of ``study.lock.json``. Raises InputError if it cannot be read."""
        return read_lock(self.lock_file)

    def write_lock(
        self, study: dict[str, Json], rows: list[dict[str, Json]], models: Mapping[str, str] | None = None
    ) -> None:
        """Write ``study.lock.json``: the resolved study, what it ran with, and the units of the plan (``Unit.row``).

        models: what base and finished variants are called; two models may have one name.
        """
        made_with = {
            "versions": provenance.versions(),
            "source": provenance.commit(),
            "hardware": provenance.hardware(),
            "models": dict(models or {}),
        }
        content = {"schema_version": SCHEMA_VERSION, "study": study, "provenance": made_with, "units": rows}
        write_json(self.lock_file, content, shared=True)

    def folder(self, unit: Unit) -> Path:
        """Return the folder of a finished unit."""
        return self.path / "units" / unit.kind / unit.digest

    def partial(self, unit: Unit) -> Path:
        """Return the folder of an unfinished unit: the one its owner writes, or an interrupted try left."""
        return next(iter(self.partials(unit)), self.free_partial(unit))

    def free_partial(self, unit: Unit) -> Path:
        """Return where an interrupted try leaves an unfinished unit for whoever goes on with it."""
        return self.folder(unit).with_name(f".{unit.digest}.partial")

    def partials(self, unit: Unit) -> list[Path]:
        """Return all partial folders of a unit: one at most, unless a paused process went on after it lost its unit."""
        # Folders: a process that was killed while it wrote why the unit failed left a file that is called like one.
        return sorted(path for path in self.folder(unit).parent.glob(f".{unit.digest}*.partial") if path.is_dir())

    def is_done(self, unit: Unit) -> bool:
        """Return whether the unit was finished."""
        return (self.folder(unit) / DONE).exists()

    def is_current(self, unit: Unit) -> bool:
        """Return whether a unit was finished, and its inputs have not been made again with other bytes since."""
        if not self.is_done(unit):
            return False
        recorded = recorded_inputs(self.folder(unit))
        current = self.input_contents(unit)
        return all(not current[name] or current[name] == recorded[name] for name in current.keys() & recorded.keys())

    def input_contents(self, unit: Unit) -> dict[str, str]:
        """Return what a unit's readers and ``is_current`` compare: the digests of its inputs' contents, by name."""
        return {name: contents_of(self.folder(needed)) for name, needed in unit.inputs.items()}

    def input_marks(self, unit: Unit) -> dict[str, tuple[int, int] | None]:
        """Return the mark of each input by name, None for an absent one; it changes when an input is made again, even
        with the same bytes."""
        return {name: done_mark(self.folder(needed)) for name, needed in unit.inputs.items()}

    def inputs(self, unit: Unit, scratch: Path) -> Inputs:
        """Return what a unit's function reads; it works in ``scratch``."""
        return Inputs({name: self.folder(needed) for name, needed in unit.inputs.items()}, scratch)

    def failure(self, unit: Unit) -> Failure | None:
        """Return why the last try failed; None if it did not."""
        return Failure.read(self.folder(unit))

    def failed_at(self, unit: Unit) -> float:
        """Return when the last try failed, by the file server's clock; 0 if it did not."""
        try:
            return failure_file(self.folder(unit)).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def record_failure(self, unit: Unit, record: dict[str, Json]) -> None:
        """Keep why a unit failed, next to where its results would be."""
        path = failure_file(self.folder(unit))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record, shared=True)

    def rows(self) -> list[dict[str, Json]]:
        """Return kind, digest and labels of every unit, in the plan's order."""
        if self.units is None:
            rows: list[dict[str, Json]] = self.lock()["units"]
            return rows
        return [unit.row for unit in self.units]

    def find(self, kind: str, **labels: Json) -> list[Record]:
        """Return the finished units with these labels, in the plan's order; a label that is None may be absent."""
        unit_records = []
        folder_of_kind = self.path / "units" / kind
        for row in self.rows():
            if row["kind"] == kind and frames.carries(row["labels"], labels):
                folder = folder_of_kind / row["digest"]
                if (folder / DONE).exists():
                    unit_records.append(Record(folder, row["labels"]))
        fetch_small_files([record.folder for record in unit_records])
        return unit_records

    def results(self, kind: type[R], unit_kind: str | None = None, **labels: Json) -> list[Finished[R]]:
        """Return the finished results of one kind with these labels, in the plan's order; each is read when asked for.

        unit_kind: of the units, if it is not the result's own (answers of an ablated model are ``Samples`` too).
        """
        unit_records = self.find(unit_kind or kind.kind, **labels)
        return [Finished(record.folder, record.labels, kind) for record in unit_records]

    def frame(self, kind: str, **labels: Json) -> "pd.DataFrame":
        """Return all results of one kind as a DataFrame, in the plan's order.

        kind: of the units (``verdict``, ``measures``, ``comparison``, ``scores`` …); ``train`` has the rows of the
            trainings' logs, ``claims`` the claims as they were judged last.
        labels: only units with these, as ``variant="sft"``.

        Labels are columns. ``results.frames`` says what the others are, and what a row is: a result, or an operator, a
        head, a problem in it. An estimate is six columns: ``effect``, ``effect_low``, ``effect_high``, ``effect_n``,
        ``effect_method``, ``effect_seed``. A unit that could not be made, or failed, is a row with its reason under
        ``not_run``; one that was not reached has no row.

        Raises InputError if there is no such kind, no unit of the kind has one of the labels, or a result is damaged.
        """
        rows = [row for row in self.rows() if frames.carries(row["labels"], labels)]
        if kind == Claims.kind:
            frames.check_labels(kind, labels, [{}])
            claims = Claims.load(self.path) if (self.path / Claims.file).is_file() else Claims(())
            return frames.join(kind, [({}, records(claims), None)] if claims.claims else [])
        kind_class = frames.find_kind(kind, (row["kind"] for row in self.rows()))
        frames.check_labels(kind, labels, [row["labels"] for row in self.rows() if row["kind"] == kind])
        units = []
        self.find(kind, **labels)  # fetches those of a run elsewhere together
        for row in (row for row in rows if row["kind"] == kind):
            folder = self.path / "units" / kind / row["digest"]
            unit = Finished(folder, row["labels"], kind_class or Result)
            if (folder / DONE).exists():
                units.append(frames.log_rows(unit) if kind_class is None else frames.unit_rows(unit))
            elif (failure := Failure.read(folder)) is not None:
                units.append(frames.failed_rows(row["labels"], failure))
        return frames.join(kind, units)


def _not_a_run(run: RunDirectory) -> str:
    """Return a sentence on a path that is no run directory: what is there, and how a run is begun."""
    path = run.path
    if run.url:
        return f"{run} is not a run directory: it has no study.lock.json"
    if path.is_file():
        return f"{path} is not a run directory: it is a file; a study's runs are in runs/ unless --out says otherwise"
    if not path.exists():
        return f"{path} is not a run directory: nothing is there; `headscope run STUDY --out {path}` begins a run there"
    return f"{path} is not a run directory: it has no study.lock.json, which `headscope run STUDY --out DIR` writes"
