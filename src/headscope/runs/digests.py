"""Digests: of JSON values, files and model folders."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """One JSON text per value: sorted keys, no white space. What digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 16 hex digits; a file that did not change is read once."""
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_digest(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


_OF_A_MODEL = (".safetensors", ".json", ".jinja", ".model", ".txt")
_RESULTS = tuple(f"{part}_results.json" for part in ("all", "train", "eval", "test", "predict"))
_ABOUT_A_MODEL = ("card.json", "recipe.json", "trainer_state.json", "training_args.json", *_RESULTS)


def folder_digest(folder: Path) -> str:
    """One digest of a model folder: names and bytes of its weights, configuration, tokenizer and template.

    Files that only tell about it do not count: a corrected card makes no other model.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in _OF_A_MODEL and path.name not in _ABOUT_A_MODEL)
    return digest({path.name: file_digest(path) for path in files})
