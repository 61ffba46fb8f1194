"""Engines, which compute units: in this process one after another, or by workers (``pool``)."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, runtime_checkable

from headscope.errors import MachineError
from headscope.progress import Progress
from headscope.runs.attempt import Report, attempt
from headscope.runs.directory import RunDirectory
from headscope.runs.presence import Presence
from headscope.runs.units import Unit


@runtime_checkable
class Engine(Protocol):
    """An engine, which computes units. It is at work in the run directory within its ``with`` block.

    presence: this process's. look_ahead: of how many ready units it chooses the next.
    """

    presence: Presence
    look_ahead: int

    def choose(self, ready: Sequence[Unit]) -> int | None:
        """Return which unit it would begin now; None if it is busy."""

    def begin(self, unit: Unit) -> None:
        """Begin the unit it has chosen."""

    def wait(self, seconds: float, progress: Progress, tell: Callable[[str], None]) -> list[tuple[Unit, Report]]:
        """Return what came of units that were begun, as soon as there is something, or nothing after ``seconds``.

        tell: is told what is being done.
        """


class LocalEngine:
    """This process, one unit at a time. After an error of its GPU it begins no more: every later unit would fail."""

    look_ahead = 1

    def __init__(self, run: RunDirectory, plan: str = "") -> None:
        self._run = run
        self._unit: Unit | None = None
        self._lost_gpu = ""
        self.presence = Presence(run.path, plan=plan)

    def __enter__(self) -> "LocalEngine":
        self.presence.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.presence.__exit__(kind, error, trace)

    def choose(self, ready: Sequence[Unit]) -> int | None:
        """See ``Engine``. Raises MachineError if a unit is ready and this process can use its GPU no more."""
        if ready and self._lost_gpu:
            raise MachineError(f"{self._lost_gpu}; this process can use its GPU no more, and the same command goes on")
        return 0 if ready and self._unit is None else None

    def begin(self, unit: Unit) -> None:
        """See ``Engine``."""
        self._unit = unit

    def wait(self, seconds: float, progress: Progress, tell: Callable[[str], None]) -> list[tuple[Unit, Report]]:
        """See ``Engine``; the unit is done here."""
        unit, self._unit = self._unit, None
        if unit is None:
            return []
        report = attempt(unit, self._run, self.presence, progress)
        if report.gpu_lost:
            first_line, _, _ = report.reason.partition("\n")  # CUDA adds advice for those who program it
            self._lost_gpu = f"{unit.name} failed: {first_line}"
        return [(unit, report)]
