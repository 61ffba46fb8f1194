"""Contents of files by their SHA-256, written down when a folder is finished and compared before it is read."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from headscope.errors import InputError

# Python files are the model's own code, which ``trust_remote_code`` runs.
_MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt", ".py")
_NOT_THE_MODEL = re.compile(r"card|recipe|trainer_state|training_args|.*results.*")

_digests: dict[tuple[int, ...], str] = {}


class DamagedError(InputError):
    """A file that does not have the bytes it was written with."""


def file_identity(path: Path) -> tuple[int, ...]:
    """Return what changes whenever a file is written or replaced, so that its content need not be read again.

    Of the file itself and not of its path: a finished folder is renamed after its files were read.
    """
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def model_files(folder: Path) -> list[Path]:
    """Return the files that make a model, sorted: weights, configuration, tokenizer, template and code.

    Cards, logs and results are left out.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in _MODEL_SUFFIXES)
    return [path for path in files if path.suffix != ".json" or not _NOT_THE_MODEL.fullmatch(path.stem)]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; a process reads a file that does not change once."""
    key = file_identity(path)
    if key not in _digests:
        with path.open("rb") as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def describe_files(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file among ``paths`` by its name below ``folder``."""
    files = sorted(path for path in paths if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def find_damage(folder: Path, digests: Mapping[str, object]) -> str:
    """Return what is wrong with the first file that is missing or has other bytes than ``digests`` say; "" if none.

    Raises OSError if one cannot be read now, which says nothing about it.
    """
    for name, digest in digests.items():
        try:
            is_changed = file_sha256(folder / name) != digest
        # Not asked with ``is_file``, which from Python 3.14 on also denies a file that cannot be reached.
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return f"{name} is missing"
        if is_changed:
            return f"{name} has other bytes than it was written with"
    return ""
