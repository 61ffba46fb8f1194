"""A result on disk: arrays in ``name.safetensors``, everything else in ``name.json`` next to it.

Whoever loads a file gets what was saved or an ``InputError`` that says what is wrong with it: absent, cut short, not
ours, or made by a newer headscope.
"""

import errno
import glob
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from headscope import __version__
from headscope.errors import InputError

TRAINING_LOG = "log.jsonl"
"""The file of a training with a JSON object per optimiser step."""

R = TypeVar("R")
OWN_BYTES = 4
"""Of the name under which one of several processes writes a file."""
LITTER_SECONDS = 3600.0
"""After which a file under such a name is that of a killed process."""
_synced_later = ContextVar("synced_later", default=False)


def user_cache() -> Path:
    """Return the folder for what is kept between runs: ``HEADSCOPE_CACHE``, or headscope's in the user's cache."""
    root = os.environ.get("HEADSCOPE_CACHE")
    return Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headscope"


class Result:
    """A kind of result, which owns its files.

    kind: of the units that make it, and the name of their folder. schema: version of its files, raised when they
        change.
    """

    kind: ClassVar[str]
    schema: ClassVar[int]

    def save(self, folder: Path) -> None:
        """Write its files into ``folder``, which is made if absent."""
        raise NotImplementedError

    @classmethod
    def load(cls: type[R], folder: Path) -> R:
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        raise NotImplementedError


Arrays = dict[str, "np.ndarray[Any, np.dtype[Any]]"]


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to; if the block succeeds, sync the file and rename it to ``path``.

    A reader finds the old file or the new one, whole.

    shared: several processes may write it at once, each under a temporary name of its own; the last one's stays. Else
        whoever comes after a killed process writes over what that left; here it deletes that once it is old.
    """
    own = f".{secrets.token_hex(OWN_BYTES)}" if shared else ""
    partial = path.with_name(f".{path.name}{own}.partial")
    try:
        yield partial
        _sync(partial)
        rename(partial, path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)
    if shared:
        _delete_litter(path)


def _delete_litter(path: Path) -> None:
    """Delete what killed processes left of a shared file, which was just written."""
    name = glob.escape(f".{path.name}.")
    with suppress(OSError):  # it does no harm, and another may be deleting it
        latest = path.stat().st_mtime - LITTER_SECONDS  # by the clock of the file server, as the times of the others
        for partial in path.parent.glob(f"{name}{'[0-9a-f]' * 2 * OWN_BYTES}.partial"):
            if partial.stat().st_mtime < latest:
                partial.unlink()


def write_text(path: Path, text: str, *, shared: bool = False) -> None:
    """Write a file whole: under a temporary name, synced, renamed. shared: as of ``replacing``."""
    with replacing(path, shared=shared) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any, *, shared: bool = False) -> None:
    """Write indented JSON whole. Raises ValueError for NaN and infinity, which JSON does not have.

    shared: as of ``replacing``.
    """
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", shared=shared)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``path``; if the block succeeds, sync it and rename it to ``path``.

    What had the name before is deleted after that, and has it again if the new one cannot get it.
    """
    temporary, former = (path.with_name(f".{path.name}.{kind}") for kind in ("tmp", "former.tmp"))
    if former.exists() and not path.exists():  # killed between the two renames
        rename(former, path)
    for folder in (temporary, former):
        shutil.rmtree(folder, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    sync_folder(temporary)
    if path.exists():
        rename(path, former)
    try:
        rename_synced(temporary, path)
    except OSError:
        if former.exists() and not path.exists():
            rename(former, path)
        raise
    shutil.rmtree(former, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring all of a folder to the disk, which may take minutes."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def rename_synced(folder: Path, target: Path) -> None:
    """Rename a folder that is synced, and sync its parent."""
    rename(folder, target)
    _sync(target.parent)


def rename(path: Path, target: Path) -> None:
    """Rename a file or folder; also one that a file server has renamed although it says that there is nothing.

    A client of NFS that gets no answer asks again, and the server may have forgotten that it has done it.
    """
    number = path.stat().st_ino
    try:
        path.replace(target)
    except FileNotFoundError:
        if not target.exists() or target.stat().st_ino != number:
            raise


def is_occupied(error: OSError) -> bool:
    """Return whether ``error`` says that a folder cannot be renamed because there is one of the new name."""
    return error.errno in (errno.ENOTEMPTY, errno.EEXIST)


@contextmanager
def synced_later() -> Iterator[None]:
    """Leave out every sync in the block: the files lie in a folder that is synced as a whole before its final name."""
    token = _synced_later.set(True)
    try:
        yield
    finally:
        _synced_later.reset(token)


def _sync(path: Path) -> None:
    if _synced_later.get():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing_described(data: Path, description: str) -> Iterator[Path]:
    """Yield a temporary path for ``data``, which is replaced together with the JSON file of the same name.

    Whoever is killed meanwhile leaves the old two files, the new ones, or data without its JSON, which nobody takes for
    a result; never the data of one next to the JSON of another.
    """
    json_file = data.with_suffix(".json")
    with replacing(json_file) as new:
        new.write_text(description + "\n", encoding="utf-8")
        with replacing(data) as partial:
            yield partial
            json_file.unlink(missing_ok=True)


def save(folder: str | Path, name: str, version: int, arrays: Arrays, description: Mapping[str, Any]) -> None:
    """Write both files into ``folder``, which is made if absent, in place of those that are there.

    version: the schema's. description: plain JSON values, written after the schema's and headscope's version.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    versions = {"schema_version": version, "headscope": __version__}
    # One key: safetensors writes several in an order that changes from call to call, and with it the file's bytes.
    metadata = {"headscope": json.dumps({"content": name} | versions)}
    # First of all: a description that is no JSON leaves no file behind.
    text = json.dumps(versions | dict(description), indent=2, allow_nan=False)
    with replacing_described(folder / f"{name}.safetensors", text) as partial:
        save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, partial, metadata=metadata)


def load(
    folder: str | Path,
    name: str,
    version: int,
    *,
    keys: Iterable[str],
    arrays: Iterable[str],
    left_out: Collection[str] = (),
) -> tuple[dict[str, Any], Arrays]:
    """Read what ``save`` wrote: the JSON object and the arrays, which hold at least ``keys`` and ``arrays``.

    left_out: arrays that stay on disk, because they are large and not asked for.
    """
    path = Path(folder) / f"{name}.json"
    description = read_head(path, name, version, keys)
    array_file = path.with_suffix(".safetensors")
    values = _read_arrays(array_file, left_out)
    check_keys(values, arrays, array_file)
    return description, values


def read_object(path: str | Path, title: str = "result") -> dict[str, Any]:
    """Read the JSON object in a file. Raises InputError if there is no file, or no JSON object in it.

    title: what the message calls the file's content.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no {title} at {path.parent}: {path.name} is missing")
    return parse_object(path.read_bytes(), str(path))


def parse_object(text: str | bytes, origin: str) -> dict[str, Any]:
    """Parse a JSON object. Raises InputError, naming ``origin``, if it is no object, no JSON, or nested too deeply."""
    try:
        content = json.loads(text)
    except ValueError as error:  # no JSON, or no text at all
        raise InputError(f"{origin} is not whole JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{origin} is nested too deeply; headscope's own JSON has a few levels") from None
    if not isinstance(content, dict):
        raise InputError(f"{origin} holds a {type(content).__name__}; a JSON object is needed")
    return content


def check_schema(content: Mapping[str, Any], origin: str, newest: int) -> None:
    """Raise InputError unless ``content`` has a ``schema_version`` from 1 to ``newest``."""
    version = content.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{origin} has schema_version {version!r}; a whole number from 1 to {newest} is needed")
    if version > newest:
        limit = f"this headscope reads up to {newest}; update headscope"
        raise InputError(f"{origin} has schema_version {version}, {limit}")


def check_keys(content: Mapping[str, Any], keys: Iterable[str], path: str | Path) -> None:
    """Raise InputError unless ``content``, read from ``path``, holds all ``keys``."""
    missing = [key for key in keys if key not in content]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; it is damaged or not headscope's")


def read_head(path: Path, title: str, newest: int, keys: Iterable[str]) -> dict[str, Any]:
    """Read the JSON object that describes a result's other files.

    Raises InputError if it is missing (``title`` says of what), of a schema after ``newest``, or lacks one of ``keys``.
    """
    head = read_object(path, title)
    check_schema(head, str(path), newest)
    check_keys(head, keys, path)
    return head


def _read_arrays(path: Path, left_out: Collection[str]) -> Arrays:
    if not path.is_file():
        raise InputError(f"{path.name} is missing next to its JSON in {path.parent}")
    try:
        with safe_open(path, framework="numpy") as file:
            arrays: Arrays = {key: file.get_tensor(key) for key in file.keys() if key not in left_out}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {error}") from None
    return arrays
