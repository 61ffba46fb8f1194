"""Digests of JSON values, files and model folders, as units and their addresses use them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from headscope.contents import file_sha256, model_files


def canonical(value: Any) -> str:
    """Return the one JSON text of a value that digests are taken of: sorted keys, no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file's bytes."""
    return file_sha256(path)[:16]


def folder_digest(folder: Path) -> str:
    """Return the digest of a model folder: names and bytes of the files that make it (``model_files``).

    Cards, logs and results do not count: a corrected card makes no other model.
    """
    return digest({path.name: file_digest(path) for path in model_files(folder)})
