"""A result on disk: arrays in ``name.safetensors`` beside everything else in ``name.json``, both checked on reading.

Whoever loads a file gets what was saved or an ``InputError`` that says what is wrong with it: absent, cut short, not
ours, or made by a newer headscope.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from headscope import __version__
from headscope.errors import InputError

R = TypeVar("R")


class Result:
    """A kind of result, which owns its files.

    kind: of the units that make it, and their folder. schema: version of its files, raised when they change.
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
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to; if the block succeeds, it is synced and renamed to ``path``: a reader finds the
    old file or the new one, whole."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole: under a temporary name, synced, renamed."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON whole. Raises ValueError for NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; if the block succeeds, sync it and rename it to ``path``."""
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    sync_folder(temporary)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
    _sync(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync every file below ``folder`` and the folders themselves, so that a rename that follows cannot outrun them."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def described(data: Path, description: str) -> Iterator[Path]:
    """As ``replacing``, for ``data`` and a JSON file of the same name beside it.

    Whoever is killed meanwhile leaves the old two files, the new ones, or data without its JSON, which nobody takes for
    a result; never the data of one beside the JSON of another.
    """
    about = data.with_suffix(".json")
    with replacing(about) as new:
        new.write_text(description + "\n", encoding="utf-8")
        with replacing(data) as partial:
            yield partial
            about.unlink(missing_ok=True)


def save(folder: str | Path, name: str, version: int, arrays: Arrays, about: Mapping[str, Any]) -> None:
    """Write both files into ``folder``, which is made if absent; what was there is replaced (``described``).

    version: the schema's. about: plain JSON values, written after the schema's and headscope's version.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    versions = {"schema_version": version, "headscope": __version__}
    # One key: safetensors writes several in an order that changes from call to call, and with it the file's bytes.
    metadata = {"headscope": json.dumps({"content": name} | versions)}
    text = json.dumps(versions | dict(about), indent=2, allow_nan=False)  # first: what is no JSON leaves no file behind
    with described(folder / f"{name}.safetensors", text) as partial:
        save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, partial, metadata=metadata)


def load(
    folder: str | Path, name: str, version: int, *, keys: Iterable[str], arrays: Iterable[str]
) -> tuple[dict[str, Any], Arrays]:
    """What ``save`` wrote: the JSON object and the arrays, which hold at least ``keys`` and ``arrays``."""
    path = Path(folder) / f"{name}.json"
    about = read_object(path, name)
    check_schema(about, str(path), version)
    check_keys(about, keys, path)
    found = _read_arrays(path.with_suffix(".safetensors"))
    check_keys(found, arrays, path.with_suffix(".safetensors"))
    return about, found


def read_object(path: str | Path, what: str = "result") -> dict[str, Any]:
    """The JSON object in a file; InputError where there is no file, or no JSON object in it.

    what: is looked for, in words for the message.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no {what} at {path.parent}: {path.name} is missing")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # no JSON, or no text at all
        raise InputError(f"{path} is not whole JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; a JSON object is needed")
    return content


def check_schema(about: Mapping[str, Any], what: str, known: int) -> None:
    """Raise InputError unless ``about`` carries a ``schema_version`` from 1 to ``known``."""
    version = about.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{what} has schema_version {version!r}; a whole number from 1 to {known} is needed")
    if version > known:
        raise InputError(f"{what} has schema_version {version}, this headscope reads up to {known}; update headscope")


def check_keys(content: Mapping[str, Any], keys: Iterable[str], path: str | Path) -> None:
    """Raise InputError unless ``content``, read from ``path``, holds all ``keys``."""
    missing = [key for key in keys if key not in content]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; it is damaged or not headscope's")


def _read_arrays(path: Path) -> Arrays:
    if not path.is_file():
        raise InputError(f"{path.name} is missing beside its JSON in {path.parent}")
    try:
        arrays: Arrays = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {error}") from None
    return arrays
