"""The record of a finished unit, ``unit.json``: what it was made from, and the bytes of its files.

``unit.json`` holds the SHA-256 of every other file, ``DONE`` that of ``unit.json``. Units that were finished before
digests were kept have an empty ``DONE`` and are read unchecked.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from headscope.contents import DamagedError, describe_files, file_identity, file_sha256, find_damage
from headscope.errors import InputError
from headscope.results.codec import Json
from headscope.results.not_run import NotRun, load_result
from headscope.runs.digests import digest
from headscope.runs.remote import fetch_unit
from headscope.runs.unit_files import DONE, RECORD
from headscope.runs.units import address_of, unit_name
from headscope.storage import Result, read_object, synced_later, write_json, write_text

R = TypeVar("R", bound=Result)

_compared: dict[tuple[int, ...], dict[str, Json]] = {}


def write_record(folder: Path, record: Mapping[str, Json], compared: str) -> None:
    """Write ``unit.json`` with the digests of all other files; like ``DONE``, it is synced with its folder.

    compared: pattern of the files that are the same whenever the unit is computed; readers depend on their bytes alone.
    """
    records = {folder / RECORD, folder / DONE}
    files = describe_files(folder, {*folder.rglob("*")} - records)
    contents = digest(describe_files(folder, {*folder.glob(compared)} - records))
    with synced_later():
        write_json(folder / RECORD, {**record, "contents": contents, "files": files})


def mark_done(folder: Path) -> None:
    """Write ``DONE``, the last file of a unit."""
    with synced_later():
        write_text(folder / DONE, f"{file_sha256(folder / RECORD)}\n")


def contents_of(folder: Path) -> str:
    """Return the digest of what a finished unit's readers depend on; "" if it was not kept."""
    return str(_try_record(folder).get("contents", ""))


def done_mark(folder: Path) -> tuple[int, int] | None:
    """Return the identity of the unit's ``DONE``, another each time it is finished; None if it is not there."""
    try:
        status = (folder / DONE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def recorded_inputs(folder: Path) -> Mapping[str, Json]:
    """Return what ``contents_of`` a unit's inputs was when it read them, by name; empty if it was not kept."""
    recorded = _try_record(folder).get("input_contents", {})
    return recorded if isinstance(recorded, dict) else {}


def _try_record(folder: Path) -> dict[str, Json]:
    """Return what a unit's readers compare; a record that does not change is read once, it is large and often asked."""
    try:
        key = file_identity(folder / RECORD)
        if key not in _compared:
            record = read_object(folder / RECORD)
            _compared[key] = {name: record[name] for name in ("contents", "input_contents") if name in record}
            _compared[key] |= {"files": {}} if "files" in record else {}
        return _compared[key]
    except (InputError, OSError):
        return {}


def find_unit_damage(folder: Path, names: Collection[str] | None = None) -> str:
    """Return what is wrong with a finished unit's files, or with those of ``names`` alone; "" if nothing is.

    Raises OSError if one cannot be read now, which says nothing about it.
    """
    fetch_unit(folder, names)
    try:
        sealed = (folder / DONE).read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return f"{DONE} is missing"
    if not sealed:
        return f"{DONE} is empty" if "files" in _try_record(folder) else ""
    if find_damage(folder, {RECORD: sealed}):
        return f"{RECORD} is not the one that {DONE} was written for"
    record = read_object(folder / RECORD)
    address = address_of(record)
    if address != f"{folder.parent.name}/{folder.name}":
        return f"{RECORD} is that of {address}"
    files = record.get("files", {})
    return find_damage(folder, {name: files[name] for name in files if names is None or name in names})


def check_unit(folder: Path, name: str, names: Collection[str] | None = None) -> None:
    """Raise DamagedError, naming the unit and the file, if a file of ``find_unit_damage`` is damaged."""
    if problem := find_unit_damage(folder, names):
        raise DamagedError(f"{name} is damaged: {problem} in {folder}; run the study with --retry to do it again")


@dataclass(frozen=True)
class Record:
    """A finished unit as its readers see it."""

    folder: Path
    labels: dict[str, Json]

    @property
    def name(self) -> str:
        """Return what messages call the unit: its kind and labels."""
        return unit_name(self.folder.parent.name, self.labels)

    @property
    def unit(self) -> dict[str, Json]:
        """Return the content of ``unit.json``: config, inputs, seconds, memory, versions."""
        check_unit(self.folder, self.name, ())
        return read_object(self.folder / RECORD)

    def file(self, name: str) -> Path:
        """Return the path of one file. Raises DamagedError if its bytes are not those it was written with."""
        check_unit(self.folder, self.name, (name,))
        return self.folder / name


@dataclass(frozen=True)
class Finished(Record, Generic[R]):
    """A finished unit with its result."""

    kind: type[R]

    @cached_property
    def result(self) -> R | NotRun:
        """Return the result, or why there is none.

        Raises InputError if its files are damaged or of a newer headscope.
        """
        return self.load()

    def load(self) -> R | NotRun:
        """Return ``result`` without keeping it."""
        check_unit(self.folder, self.name)
        return load_result(self.kind, self.folder)

    @property
    def whole(self) -> R:
        """Return the result. Raises InputError, with the reason, if there is none."""
        if isinstance(self.result, NotRun):
            raise InputError(self.result.reason)
        return self.result

    def read(self) -> R:
        """Return ``whole`` without keeping it: all samples or scores of a study may not fit in memory."""
        return replace(self).whole
