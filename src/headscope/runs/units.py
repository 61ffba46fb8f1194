"""A unit of work: what it is called, what decides its result, what it needs, and the function that does it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from headscope.progress import Progress
from headscope.runs.digests import digest

Work = Callable[[Path, Progress], None]


@dataclass(frozen=True, eq=False)
class Unit:
    """One content-addressed unit.

    kind: ``train``, ``pairs``, ``scores`` …; the folder it lies under.
    labels: what people and the report find it by (variant, step, task); not part of the digest.
    config: resolved settings, plain JSON values. inputs: upstream units by role. outside: digests of files outside
        the run.
    version: of the method; raise it when the same config would give another result.
    work: writes its files into the folder it is given. resumable: the folder of an interrupted try is kept and given
        again.
    """

    kind: str
    labels: dict[str, Any]
    config: dict[str, Any]
    work: Work
    inputs: dict[str, "Unit"] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    version: int = 1
    resumable: bool = False

    @cached_property
    def digest(self) -> str:
        """16 hex digits over kind, version, config and the digests of all inputs; never a timestamp, a label or a
        path.
        """
        inputs = {role: unit.digest for role, unit in self.inputs.items()}
        return digest([self.kind, self.version, self.config, inputs, self.outside])

    @property
    def address(self) -> str:
        """``kind/digest``, below ``units/``."""
        return f"{self.kind}/{self.digest}"

    @property
    def name(self) -> str:
        """For bars and messages: the kind and the labels."""
        return " ".join([self.kind, *(str(value) for value in self.labels.values() if value not in (None, "none"))])


def closure(units: Iterable[Unit]) -> list[Unit]:
    """``units`` and all they need, each once, inputs before the units that read them."""
    ordered: dict[str, Unit] = {}

    def visit(unit: Unit) -> None:
        if unit.address not in ordered:
            for needed in unit.inputs.values():
                visit(needed)
            ordered.setdefault(unit.address, unit)

    for unit in units:
        visit(unit)
    return list(ordered.values())
