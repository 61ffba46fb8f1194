"""Times and memory that the units of a pilot took, and the rates that fit them."""

import ctypes
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from headscope.results.samples import Samples
from headscope.runs import Unit, provenance
from headscope.storage import read_object
from headscope.studies.costs.workloads import Number

MEASURED = "measured.json"
"""In the folder of a unit that was run: its seconds, memory and bytes."""
ANSWERS = "answers"
"""Folder in that of answers: the answers as the model gave them, before readers were made to take them for correct."""


@dataclass(frozen=True)
class Timing:
    """Time and memory that one unit of the pilot took.

    seconds: by the pilot's clock. wall: seconds by the wall's. before, peak: bytes of memory in use before it and at
        most. disk: bytes written.
    """

    unit: Unit
    seconds: float
    wall: float
    before: float
    peak: float
    disk: float


@dataclass(frozen=True)
class PilotRecord:
    """Units that were run.

    trainings: by the model they make; small ones are the same unit for models whose trainings differ in length alone.
    folders: by address. samples: of whole models, by ``VARIANT TASK``, one per size.
    """

    trainings: dict[str, Unit] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    samples: dict[str, list[Samples]] = field(default_factory=dict)

    def add(self, unit: Unit, folder: Path) -> None:
        """Add a unit that was run in ``folder``: what it took and, of a whole model, the answers it gave."""
        self.folders[unit.address] = folder
        self.timings.append(Timing(unit, **read_object(folder / MEASURED)))
        is_whole = unit.labels.get("control") is None and unit.labels.get("operator", "none") == "none"
        if is_whole and (folder / ANSWERS).is_dir():
            config: Any = unit.config
            samples = Samples.load(folder / ANSWERS)
            self.samples.setdefault(f"{config.model.name} {samples.task}", []).append(samples)

    def measured_trainings(self) -> dict[str, Unit]:
        """Return ``trainings`` without those that small numbers made impossible."""
        return {name: unit for name, unit in self.trainings.items() if unit.address in self.folders}

    def of_kind(self, *kinds: str) -> list[Timing]:
        """Return what the units of these kinds took."""
        return [timing for timing in self.timings if timing.unit.kind in kinds]


def fit_kinds(
    timings: Sequence[Timing],
    drivers_of: Callable[[Unit], Mapping[str, Number]],
    cost_of: Callable[[Timing], float],
) -> dict[str, dict[str, float]]:
    """Return for each kind what its units cost once and per driver."""
    points = defaultdict(list)
    for timing in timings:
        points[timing.unit.kind].append((drivers_of(timing.unit), cost_of(timing)))
    return {kind: fit(of_kind) for kind, of_kind in points.items()}


def fit(points: Sequence[tuple[Mapping[str, Number], float]], *, once: bool = True) -> dict[str, float]:
    """Return least squares of relative errors, no number below 0: a unit twice as large takes no less."""
    names = list(dict.fromkeys(name for drivers, _ in points for name in drivers))
    columns = [[1.0, *(drivers.get(name, 0.0) for name in names)] for drivers, _ in points]
    if not once or (names and all(row == columns[0] for row in columns)):
        # Of units all alike nothing tells what is paid once: then everything grows with the drivers.
        columns = [[0.0, *row[1:]] for row in columns]
    costs = np.array([cost for _, cost in points])
    # What took no time to speak of would weigh more than all the rest.
    weights = 1 / np.maximum(costs, max(1e-3, 0.05 * costs.max()))
    matrix = np.array(columns) * weights[:, None]
    scales = np.maximum(matrix.max(axis=0), 1e-12)
    solution = nnls(matrix / scales, costs * weights)[0] / scales
    return dict(zip(["once", *names], map(float, solution), strict=True))


def reset_peak() -> float:
    """Forget the most memory held so far, and return what is held now: a GPU's in use, else resident; in bytes."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated())
    with suppress(OSError, AttributeError):  # only Linux forgets
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _resident("VmRSS")


def peak() -> float:
    """Return the most memory held since then, in bytes."""
    import torch

    return float(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else _resident("VmHWM")


def _resident(name: str) -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024.0
    return provenance.peak_memory_gib() * 2**30
