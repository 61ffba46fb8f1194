"""Digests of JSON values, files and model folders, as units and their addresses use them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from headscope.contents import file_sha256


def canonical(value: Any) -> str:
    """Return the one JSON text of a value that digests are taken of: sorted keys, no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file's bytes."""
    return file_sha256(path)[:16]


_MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt")
_RESULTS = tuple(f"{part}_results.json" for part in ("all", "train", "eval", "test", "predict"))
_NOT_THE_MODEL = ("card.json", "recipe.json", "trainer_state.json", "training_args.json", *_RESULTS)


def folder_digest(folder: Path) -> str:
    """Return the digest of a model folder: names and bytes of its weights, configuration, tokenizer and template.

    Cards, logs and results do not count: a corrected card makes no other model.
    """
    names = sorted(path.name for path in folder.iterdir() if path.suffix in _MODEL_SUFFIXES)
    return digest({name: file_digest(folder / name) for name in names if name not in _NOT_THE_MODEL})
