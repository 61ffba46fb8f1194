"""Units of work: a kind of work, its settings, and the units whose results it reads.

A unit's function is a plain function of its module. It sees its settings and its inputs, and nothing else, so that
the digest of both says which result it is, and another process can compute it again from its record.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from headscope.progress import Progress
from headscope.results.codec import Json
from headscope.results.not_run import NotRun, load_result
from headscope.runs.digests import digest
from headscope.storage import Result, synced_later

C = TypeVar("C", bound=BaseModel)
R = TypeVar("R", bound=Result)

PLACE = "place"
"""Settings under this key are paths on this machine; the digest of what lies there is a setting next to them."""


class NothingToRead(Exception):  # noqa: N818 - not an error: it ends the unit's function early
    """An input could not be made; the unit that reads it is not run either, for the same reason."""

    def __init__(self, missing: NotRun) -> None:
        super().__init__(missing.reason)
        self.missing = missing


@dataclass(frozen=True)
class Inputs:
    """The inputs of a unit's function.

    folders: of the finished units it reads, by the names that it gives them.
    scratch: an empty folder to write to; for resumable work, the one that an interrupted try left.
    """

    folders: Mapping[str, Path]
    scratch: Path

    def load(self, name: str, kind: type[R]) -> R:
        """Return an input's result. A function that asks for one that could not be made ends there."""
        result = self.result(name, kind)
        if isinstance(result, NotRun):
            raise NothingToRead(result)
        return result

    def result(self, name: str, kind: type[R]) -> R | NotRun:
        """Return an input's result, or why there is none."""
        return load_result(kind, self.folders[name])

    def __contains__(self, name: str) -> bool:
        return name in self.folders


def _nowhere(folder: Path) -> int:
    return 0


@dataclass(frozen=True)
class Work(Generic[C]):
    """A kind of work.

    kind: the folder its units lie under. config: the class of its settings.
    compute: the function, of settings, inputs and progress; it returns one result or several, which are saved together.
    version: raised when the same settings would give another result.
    resumable: whether an interrupted try goes on, in ``Inputs.scratch``.
    reached: of a folder that an interrupted try left, how far a new one would go on from; of several the furthest is
        taken.
    compared: files that are the same, byte for byte, when a unit is computed again; the others tell of times.
    """

    kind: str
    config: type[C]
    compute: Callable[[C, Inputs, Progress], "Result | tuple[Result, ...]"]
    version: int = 1
    resumable: bool = False
    reached: Callable[[Path], int] = _nowhere
    compared: str = "*"

    def unit(self, config: C, labels: dict[str, Json], inputs: "Mapping[str, Unit] | None" = None) -> "Unit":
        """Return the unit of these settings and inputs."""
        return Unit(self, config, labels, inputs or {})

    def run(self, config: C, inputs: Inputs, progress: Progress) -> None:
        """Compute a result and save it in the scratch folder."""
        try:
            results = self.compute(config, inputs, progress)
        except NothingToRead as early:
            results = early.missing
        with synced_later():  # an interrupted try computes its results again
            for result in results if isinstance(results, tuple) else (results,):
                result.save(inputs.scratch)


@dataclass(frozen=True, eq=False)
class Unit:
    """One content-addressed unit.

    config: resolved settings. inputs: upstream units by the names that it gives them.
    labels: its variant, step, task …, for people and the report; not part of the digest.
    """

    work: Work[Any]
    config: BaseModel
    labels: dict[str, Json]
    inputs: "Mapping[str, Unit]" = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Return the kind of work."""
        return self.work.kind

    @cached_property
    def settings(self) -> dict[str, Json]:
        """Return the settings as plain JSON values."""
        return self.config.model_dump(mode="json")

    @cached_property
    def digest(self) -> str:
        """Return 16 hex digits over kind, version, settings and the inputs' digests; no timestamp, label or place."""
        inputs = {name: unit.digest for name, unit in self.inputs.items()}
        return _digest_of(self.kind, self.work.version, self.settings, inputs)

    @property
    def row(self) -> dict[str, Json]:
        """Return the unit as ``study.lock.json`` lists it."""
        return {"kind": self.kind, "digest": self.digest, "labels": self.labels}

    @property
    def address(self) -> str:
        """Return ``kind/digest``, below ``units/``."""
        return f"{self.kind}/{self.digest}"

    @property
    def name(self) -> str:
        """Return what bars and messages call the unit: its kind and labels."""
        return unit_name(self.kind, self.labels)

    def for_worker(self) -> "Unit":
        """Return the unit as a worker needs it to compute it: its inputs know where they lie, and not their own inputs.

        Work and settings are sent by the names of their modules.
        """
        inputs = {}
        for name, needed in self.inputs.items():
            inputs[name] = Unit(needed.work, needed.config, needed.labels)
            inputs[name].__dict__["digest"] = needed.digest
        unit = Unit(self.work, self.config, self.labels, inputs)
        unit.__dict__["digest"] = self.digest
        return unit


def unit_name(kind: str, labels: Mapping[str, Json]) -> str:
    """Return what people call a unit: its kind and its labels."""
    return " ".join([kind, *(str(value) for value in labels.values() if value not in (None, "none"))])


def address_of(record: Mapping[str, Json]) -> str:
    """Return the address that a unit's record, the content of ``unit.json``, belongs to."""
    inputs = {name: address.rpartition("/")[2] for name, address in record["inputs"].items()}
    kind = record["kind"]
    return f"{kind}/{_digest_of(kind, record['version'], record['config'], inputs)}"


def _digest_of(kind: str, version: int, settings: Json, inputs: dict[str, str]) -> str:
    return digest([kind, version, without_places(settings), inputs])


def without_places(settings: Json) -> Json:
    """Return settings without paths on this machine."""
    if isinstance(settings, dict):
        return {key: without_places(value) for key, value in settings.items() if key != PLACE}
    return [without_places(value) for value in settings] if isinstance(settings, list) else settings


def closure(units: Iterable[Unit]) -> list[Unit]:
    """Return ``units`` and all they need, each once, inputs before the units that read them."""
    ordered: dict[str, Unit] = {}

    def visit(unit: Unit) -> None:
        if unit.address not in ordered:
            for needed in unit.inputs.values():
                visit(needed)
            ordered.setdefault(unit.address, unit)

    for unit in units:
        visit(unit)
    return list(ordered.values())
