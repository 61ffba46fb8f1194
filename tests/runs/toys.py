"""Units that add up numbers, and files broken on purpose, for tests of the run directory."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from headscope.progress import Progress
from headscope.results.result import JsonResult
from headscope.runs import Inputs, RunDirectory, Unit, Work
from headscope.runs.records import mark_done, write_record
from headscope.storage import Result, write_json


class ToyConfig(BaseModel):
    """Two numbers, and where one of them was found."""

    a: int | None = None
    b: int | None = None
    place: str = ""


@dataclass(frozen=True)
class Toy(JsonResult):
    """The number it was made with, and the sum of it and its inputs'."""

    kind: ClassVar[str] = "toy"
    file: ClassVar[str] = "value.json"

    number: int
    total: int


def add_up(config: ToyConfig, inputs: Inputs, progress: Progress) -> Toy:
    number = config.a or config.b or 0
    return Toy(number, number + sum(inputs.load(name, Toy).total for name in inputs.folders))


def unit(
    kind: str = "toy",
    *,
    inputs: dict[str, Unit] | None = None,
    fail: BaseException | None = None,
    version: int = 1,
    labels: dict[str, Any] | None = None,
    **config: Any,
) -> Unit:
    def compute(config: ToyConfig, inputs: Inputs, progress: Progress) -> Result:
        if fail:
            raise fail
        return add_up(config, inputs, progress)

    work = Work(kind, ToyConfig, compute, version)
    return work.unit(ToyConfig(**config), {"name": "x"} if labels is None else labels, inputs)


def write_lock(run: RunDirectory, units: list[Unit], schema: int = 1) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    write_json(run.lock_file, {"schema_version": schema, "units": [unit.row for unit in units]})


def finish_again(folder: Path) -> None:
    """Write a unit's record as if its files had been written as they are now."""
    record = json.loads((folder / "unit.json").read_text())
    write_record(folder, record, "*")
    mark_done(folder)


def flip_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    overwrite(path, bytes(content))


def overwrite(path: Path, content: bytes) -> None:
    """Write a file whose time is later than before, however coarse the clock of the file system is."""
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))
