"""``study.lock.json`` as it is read: the study, what it ran with, and the units of its plan."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headscope.contents import file_identity
from headscope.errors import InputError
from headscope.results.codec import Json
from headscope.storage import check_schema, read_object

SCHEMA_VERSION = 1

_locks_read: dict[Path, tuple[tuple[int, ...], dict[str, Json]]] = {}
"""By path, the identity of the file that was read and its content: reports ask for it once per kind of result."""


class Labels(dict[str, Json]):
    """Labels that a unit is called by: variant, step, task …"""

    def __missing__(self, key: str) -> Json:
        raise InputError(f"unit {dict(self)} in study.lock.json lacks the label {key!r}; run the study again")


class _Row(BaseModel):
    """One unit of the plan."""

    model_config = ConfigDict(strict=True)

    kind: str = Field(pattern=r"^[\w-]+$")
    digest: str = Field(pattern=r"^[0-9a-f]{16}$")
    labels: dict[str, str | int | float | bool | None]


class _Variant(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str


class _Discover(BaseModel):
    fraction: float | None = None


class _Study(BaseModel):
    """Part of the study that reports read; the rest is shown as it is."""

    name: str = ""
    variants: list[_Variant] = []
    discover: _Discover = _Discover()


class _Lock(BaseModel):
    units: list[_Row]
    study: _Study = _Study()
    provenance: dict[str, Any] = {}


def read_lock(path: Path) -> dict[str, Json]:
    """Read ``study.lock.json``; one that does not change is read once, and nobody may change what is returned.

    Raises InputError if it is absent, damaged, odd, or of a newer headscope.
    """
    identity = file_identity(path) if path.is_file() else ()
    if path not in _locks_read or _locks_read[path][0] != identity:
        _locks_read[path] = identity, _read(path)
    return _locks_read[path][1]


def _read(path: Path) -> dict[str, Json]:
    content = read_object(path)
    check_schema(content, str(path), SCHEMA_VERSION)
    try:
        _Lock.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        problem = f"lacks {place}" if first["type"] == "missing" else f"has an odd {place} ({first['msg']})"
        raise InputError(
            f"{path} {problem}; delete it and run the study again, which keeps the units that are finished"
        ) from None
    for row in content["units"]:
        row["labels"] = Labels(row["labels"])
    return {"study": {}, "provenance": {}} | content
