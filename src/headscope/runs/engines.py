"""Where units are computed: in this process one after another, or by workers (``pool``)."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, runtime_checkable

from headscope.progress import Progress
from headscope.runs.attempt import Report, attempt
from headscope.runs.directory import RunDirectory
from headscope.runs.presence import Presence
from headscope.runs.units import Unit


@runtime_checkable
class Engine(Protocol):
    """What computes units. It is at work in the run directory within its ``with`` block.

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
    """This process, one unit at a time."""

    look_ahead = 1

    def __init__(self, run: RunDirectory, plan: str = "") -> None:
        self._run = run
        self._unit: Unit | None = None
        self.presence = Presence(run.path, plan=plan)

    def __enter__(self) -> "LocalEngine":
        self.presence.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.presence.__exit__(kind, error, trace)

    def choose(self, ready: Sequence[Unit]) -> int | None:
        """See ``Engine``."""
        return 0 if ready and self._unit is None else None

    def begin(self, unit: Unit) -> None:
        """See ``Engine``."""
        self._unit = unit

    def wait(self, seconds: float, progress: Progress, tell: Callable[[str], None]) -> list[tuple[Unit, Report]]:
        """See ``Engine``; the unit is done here."""
        unit, self._unit = self._unit, None
        return [] if unit is None else [(unit, attempt(unit, self._run, self.presence, progress))]
