"""One run directory: ``study.yaml``, ``study.lock.json``, ``units/<kind>/<digest>/`` and ``report/``.

Finished runs are read from anywhere (``runs.remote``) and written on a disk.
"""

import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, TypeVar

from headscope.errors import InputError
from headscope.results.claim import Claims
from headscope.results.codec import Json
from headscope.results.frames import records
from headscope.runs import frames, provenance
from headscope.runs.failures import Failure, failure_file
from headscope.runs.leases import FinishedElsewhere, Lease, take
from headscope.runs.lock import SCHEMA_VERSION, read_lock
from headscope.runs.presence import Presence
from headscope.runs.records import (
    Finished,
    Record,
    contents_of,
    done_mark,
    find_unit_damage,
    mark_done,
    recorded_inputs,
)
from headscope.runs.remote import RemoteRun, fetch_small_files, is_url, local_folder
from headscope.runs.unit_files import DONE
from headscope.runs.units import Inputs, Unit
from headscope.storage import Result, rename_synced, sync_folder, write_json

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", bound=Result)

DELETED = ".damaged"
"""Suffix of folders that are being deleted."""
ASIDE = ".aside"
"""Suffix of folders that are looked at once more before they are deleted."""
PATIENCE = 30.0
"""Seconds that a writer of the study and its plan waits for one and the same other, who needs much less. When many jobs
start at once, each waits as long as they take turns."""


def _delete(folder: Path) -> None:
    """Delete a unit's folder, or a partial one."""
    # Renamed first: a kill while it is deleted must not leave a part that looks like an unfinished unit.
    digest = folder.name.removeprefix(".").partition(".")[0]
    aside = folder.with_name(f".{digest}.{secrets.token_hex(4)}{DELETED}")
    with suppress(FileNotFoundError):  # another has taken it
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _set_aside(folder: Path, mark: tuple[int, int] | None) -> Path | None:
    """Move a unit's folder aside and return where to; None if it is another's by now, which then stays.

    A process that pauses between a look and a deletion may have lost the unit, and another may have finished it.

    mark: ``done_mark`` of what was looked at; None if it was not finished.
    """
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{ASIDE}")
    with suppress(FileNotFoundError):
        folder.rename(aside)
        if done_mark(aside) == mark:
            return aside
        _put_back(aside)
    return None


def _put_back(aside: Path) -> None:
    """Move a folder that was set aside back to its unit, unless another has finished that meanwhile."""
    folder = aside.with_name(aside.name[1:].partition(".")[0])
    try:
        aside.rename(folder)
    except FileNotFoundError:  # put back by another
        return
    except OSError:  # there is another
        _delete(aside)


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
        """Return an existing run directory. Raises InputError if it is none, damaged, or made by a newer headscope."""
        run = cls(path)
        if not run.lock_file.exists():
            raise InputError(_not_a_run(run))
        run.check_lock()
        return run

    @property
    def lock_file(self) -> Path:
        """``study.lock.json``: resolved study, provenance, and the units of the current plan."""
        return self.path / "study.lock.json"

    @property
    def report(self) -> Path:
        """Path of the page; of a run elsewhere, ``NAME-report.html`` in the working folder."""
        if self.url:
            return Path(f"{PurePosixPath(self.url).name}-report.html")
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
        """Return the folder of an unfinished unit: the one its owner writes, or an interrupted try left."""
        free = self._unowned(unit)
        return next(iter(self._partials(unit)), free)

    def _unowned(self, unit: Unit) -> Path:
        return self.folder(unit).with_name(f".{unit.digest}.partial")

    def _partials(self, unit: Unit) -> list[Path]:
        """Return all partial folders of a unit: one at most, unless a paused process went on after it lost its unit."""
        return sorted(self.folder(unit).parent.glob(f".{unit.digest}*.partial"))

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

    def input_marks(self, unit: Unit) -> dict[str, tuple[int, int] | None]:
        """Return what is another after an input was deleted and made again, even of the same bytes, by role; None for
        one that is not there."""
        return {role: done_mark(self.folder(needed)) for role, needed in unit.inputs.items()}

    def inputs(self, unit: Unit, scratch: Path) -> Inputs:
        """Return what a unit's function reads; it works in ``scratch``."""
        return Inputs({role: self.folder(needed) for role, needed in unit.inputs.items()}, scratch)

    def failure(self, unit: Unit) -> Failure | None:
        """Return why the last try failed; None if it did not."""
        return Failure.read(self.folder(unit))

    def failed_at(self, unit: Unit) -> float:
        """Return when the last try failed, by the file server's clock; 0 if it did not."""
        path = failure_file(self.folder(unit))
        return path.stat().st_mtime if path.exists() else 0.0

    @contextmanager
    def write(self, unit: Unit, lease: Lease, *, anew: bool = False) -> Iterator[Path]:
        """Yield a folder to write ``unit`` into; if the block succeeds, it becomes the unit's in one step.

        The folder has the owner's name, so that no two processes write one. That of an interrupted try is thrown away,
        or taken over if the unit can resume in it. Raises FinishedElsewhere if the unit is another's by the end.

        anew: throw it away in any case.
        """
        partial = self._take_partial(unit, lease, resumes=unit.work.resumable and not anew)
        try:
            yield partial
            mark_done(partial)
            self._commit(unit, lease, partial)
        except FinishedElsewhere:
            _delete(partial)
            raise
        except BaseException:
            if lease.is_held():
                with suppress(OSError):
                    partial.rename(self._unowned(unit))
            else:  # written after the successor had taken what was there
                _delete(partial)
            raise
        failure_file(self.folder(unit)).unlink(missing_ok=True)

    def _take_partial(self, unit: Unit, lease: Lease, *, resumes: bool) -> Path:
        """Return this owner's own folder, with what is there already if the unit ``resumes``.

        Of several partial folders it is the one that got furthest (``Work.reached``), among equals the last owner's: an
        earlier owner may have gone on after it had lost the unit. Raises FinishedElsewhere if it has finished it.
        """
        final, own = self.folder(unit), self.folder(unit).with_name(f".{unit.digest}.{lease.name}.partial")
        left = self._partials(unit)
        if final.exists():
            mark = done_mark(final)
            aside = None if self.is_current(unit) else _set_aside(final, mark)
            if aside is None:
                raise FinishedElsewhere("")
            if mark is None:  # older versions wrote DONE after the rename
                left.insert(0, aside)
            else:  # its inputs have been made again since
                _delete(aside)
        if resumes and left:
            furthest = max(left, key=lambda path: (unit.work.reached(path), lease.previous in path.name))
            left.remove(furthest)
            furthest.rename(own)
        for stale in left:
            _delete(stale)
        own.mkdir(parents=True, exist_ok=True)
        return own

    def _commit(self, unit: Unit, lease: Lease, partial: Path) -> None:
        final = self.folder(unit)
        sync_folder(partial)  # before it is asked whose the unit is: this may take long
        if not lease.is_held():
            raise FinishedElsewhere(self._difference(partial, final))
        try:
            rename_synced(partial, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise FinishedElsewhere(self._difference(partial, final)) from None

    def _difference(self, partial: Path, final: Path) -> str:
        """Return a sentence if a unit that was finished twice has other bytes; "" if not, or if it was not."""
        if not (final / DONE).exists() or contents_of(partial) == contents_of(final):
            return ""
        return f"two processes finished it with different bytes; the first one's are kept in {final}"

    def record_failure(self, unit: Unit, record: dict[str, Json]) -> None:
        """Keep why a unit failed, next to where its results would be."""
        path = failure_file(self.folder(unit))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)

    def discard_damaged(self, plan: str = "") -> dict[str, str]:
        """Delete every finished unit with a damaged file; return what was wrong, by address.

        plan: as in ``presence.Worker``, by which others tell whether they may join.
        """
        problems: dict[str, str] = {}
        if not (self.path / "units").is_dir():
            return problems
        with Presence(self.path, plan=plan) as presence:
            for leftover in self.path.glob(f"units/*/.*{DELETED}"):
                shutil.rmtree(leftover, ignore_errors=True)
            for folder in sorted(mark.parent for mark in self.path.glob(f"units/*/[!.]*/{DONE}")):
                try:
                    lease = take(folder, presence) if find_unit_damage(folder) else None
                except FileNotFoundError:  # another has deleted it
                    continue
                if lease is None:
                    continue
                # Again, as its owner: another may have mended or deleted it since.
                mark = done_mark(folder)
                problem = "" if mark is None else find_unit_damage(folder)
                aside = _set_aside(folder, mark) if problem else None
                if aside is not None:
                    problems[f"{folder.parent.name}/{folder.name}"] = problem
                    _delete(aside)
                lease.release()
        return problems

    def clear_leftovers(self, presence: Presence) -> None:
        """Delete what killed processes left of units that are finished: locks, and folders that were being deleted.

        A folder that was set aside is put back.
        """
        for leftover in self.path.glob("units/*/.*"):
            digest = leftover.name[1:].partition(".")[0]
            folder = leftover.with_name(digest)
            if leftover.suffix in (DELETED, ASIDE) or (folder / DONE).exists():
                lease = take(folder, presence)
                if lease is not None:
                    if leftover.suffix == ASIDE:
                        _put_back(leftover)
                    elif leftover != lease.folder:
                        shutil.rmtree(leftover, ignore_errors=True)
                    lease.release()

    def rows(self) -> list[dict[str, Json]]:
        """Return kind, digest and labels of every unit, in the plan's order."""
        if self.units is None:
            rows: list[dict[str, Json]] = self.lock()["units"]
            return rows
        return [unit.row for unit in self.units]

    def find(self, kind: str, **labels: Json) -> list[Record]:
        """Return the finished units with these labels, in the plan's order; a label that is None may be absent."""
        records = []
        folder_of_kind = self.path / "units" / kind
        for row in self.rows():
            if row["kind"] == kind and carries(row["labels"], labels):
                folder = folder_of_kind / row["digest"]
                if (folder / DONE).exists():
                    records.append(Record(folder, row["labels"]))
        fetch_small_files([record.folder for record in records])
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

        Raises InputError if there is no such kind, no unit of the kind has one of the labels, or a result is damaged.
        """
        rows = [row for row in self.rows() if carries(row["labels"], labels)]
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

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the directory while the study and its plan are written, which takes a moment.

        Raises InputError if another process holds it for long, with its number, or if it cannot be written.
        """
        local_folder(self.url or self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            writer = (self.path / ".writer").open("a+", encoding="ascii", errors="replace")
        except (OSError, ValueError) as error:  # ValueError: a path with a lone surrogate or a null character
            reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
            raise InputError(
                f"run directory {self.path} cannot be written ({reason}); name another with --out"
            ) from None
        with writer as file:
            if not _lock(file):
                holder = _holder_of(file)
                raise InputError(
                    f"run directory {self.path} is in use by process {holder if holder.isdigit() else 'unknown'}; "
                    "wait for it or name another with --out"
                )
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield


def carries(own: Mapping[str, Json], asked: Mapping[str, Json]) -> bool:
    """Return whether a unit has these labels; one that is None may be absent."""
    return all(own.get(name) == label for name, label in asked.items())


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


def _holder_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read(20).strip()


def _lock(file: IO[str]) -> bool:
    """Lock a file; return False if one process keeps it locked, as older versions did for a whole run."""
    holder, gives_up = "", 0.0
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            current = _holder_of(file)
            if current != holder or not gives_up:
                holder, gives_up = current, time.monotonic() + PATIENCE
            if time.monotonic() > gives_up:
                return False
        except OSError:  # a file system without locks: two writers at once write the same, each file whole
            return True
        time.sleep(0.05)
