"""Bring the units of a plan to DONE: each is begun when its inputs are done, in the plan's order as far as possible.

1. A unit is ready when none of its inputs is still to be done. It may turn out to be done already, to wait for a failed
   one, or to have failed before; else an engine (``engines``) begins it.
2. A unit that another process does is asked for again some seconds later. One whose input another process has deleted
   waits for it again.
3. What came of a unit is counted, and the units that read it may be ready.
"""

import time
from bisect import insort
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from headscope.progress import SILENT, Bar, Progress
from headscope.runs.attempt import Report
from headscope.runs.directory import RunDirectory
from headscope.runs.discarding import clear_leftovers
from headscope.runs.engines import Engine, LocalEngine
from headscope.runs.failures import Failure
from headscope.runs.units import Unit

HELD_SECONDS = 1.0
"""After which a unit that another process does is asked for again."""


@dataclass
class Outcome:
    """The outcome of one call of ``execute``.

    done, reused: numbers of units. skipped: names of units whose inputs failed.
    failed: unit name to one-line reason. bad_input: whether one of them failed by the input's fault.
    seconds: wall time by kind, of this call.
    stopped: name of the unit that was not begun because ``may_begin`` forbade it; "" if none was.
    counted: addresses of the units that the bar has counted.
    warnings: sentences on units that two processes finished with different bytes.
    """

    done: int = 0
    reused: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bad_input: bool = False
    stopped: str = ""
    counted: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Return 0 if all units are done, 2 if the input was at fault for one that failed, else 1."""
        if not self.failed:
            return 0
        return 2 if self.bad_input else 1

    def add_failure(self, unit: Unit, reason: str, *, bad_input: bool) -> None:
        """Count a unit that failed."""
        self.failed[unit.name] = reason
        self.bad_input |= bad_input


@dataclass(frozen=True)
class Execution:
    """Settings of one command for executing units.

    progress: shows the number of units, and what is done to each.
    retry: also try units again that failed before.
    may_begin: asked before a unit is done; the first that may not ends the call.
    on_done: told of every unit that this call has done.
    engine: what computes them; None does it here, one after another.
    """

    progress: Progress = SILENT
    retry: bool = False
    may_begin: Callable[[Unit], bool] | None = None
    on_done: Callable[[Unit], None] | None = None
    engine: Engine | None = None


def execute(
    units: Sequence[Unit],
    run: RunDirectory,
    execution: Execution = Execution(),
    *,
    earlier: Outcome | None = None,
    bar: Bar | None = None,
) -> Outcome:
    """Bring every unit of ``units`` (inputs before readers) to DONE, reusing finished ones.

    A unit whose input failed is skipped; the others still run. Units that the machine stopped (memory, a dead worker)
    are always tried again. Raises OSError if a disk is full, and MachineError if this process can use its GPU no more:
    every later unit would be computed in vain.

    Args:
        units: what is to be done.
        run: the directory.
        execution: how.
        earlier: of a call of the same command for some of these units: what it did is added to the outcome, what
            failed is not tried again, and no unit is counted twice.
        bar: counts the units, one step each; None opens one.
    """
    outcome = Outcome() if earlier is None else earlier
    with ExitStack() as stack:
        engine = execution.engine or stack.enter_context(LocalEngine(run))
        clear_leftovers(run, engine.presence)
        bar = bar or stack.enter_context(execution.progress.bar("units", len(units)))
        _Schedule(units, run, replace(execution, engine=engine), outcome, bar).run_all()
        clear_leftovers(run, engine.presence)
    return outcome


class _Schedule:
    """Units that are ready, begun or settled. Units are known by their place in the plan."""

    def __init__(
        self, units: Sequence[Unit], run: RunDirectory, execution: Execution, outcome: Outcome, bar: Bar
    ) -> None:
        assert execution.engine is not None
        self._units = list({unit.address: unit for unit in units}.values())
        self._run, self._execution, self._engine = run, execution, execution.engine
        self._outcome, self._bar = outcome, bar
        self._just_failed = dict(outcome.failed)
        outcome.failed.clear()
        outcome.skipped.clear()
        self._missing: set[str] = set()
        self._places = {unit.address: place for place, unit in enumerate(self._units)}
        self._readers: list[list[int]] = [[] for _ in self._units]
        self._waits_for = [0] * len(self._units)
        for place, unit in enumerate(self._units):
            for address in {needed.address for needed in unit.inputs.values()} & self._places.keys():
                self._readers[self._places[address]].append(place)
                self._waits_for[place] += 1
        self._ready = [place for place, count in enumerate(self._waits_for) if count == 0]
        self._settled: set[int] = set()
        self._to_begin: set[int] = set()
        self._begun = 0
        self._held: dict[int, float] = {}

    def run_all(self) -> None:
        """Settle every unit, or all that may be begun."""
        may_begin, progress = self._execution.may_begin, self._execution.progress
        while True:
            self._ask_again()
            candidates = [] if self._outcome.stopped else self._candidates()
            choice = self._engine.choose([self._units[place] for place in candidates])
            if choice is not None:
                unit = self._units[candidates[choice]]
                if may_begin is not None and not may_begin(unit):
                    self._outcome.stopped = unit.name
                else:
                    self._begin(candidates[choice])
            elif self._begun:
                patience = HELD_SECONDS if self._held else 60.0
                for unit, report in self._engine.wait(patience, progress, lambda note: self._bar.advance(0, note)):
                    self._begun -= 1
                    self._record(self._places[unit.address], report)
            elif self._held and not self._outcome.stopped:
                time.sleep(max(0.0, min(self._held.values()) - time.monotonic()))
            else:
                return

    def _begin(self, place: int) -> None:
        # Before it begins: its own bars say what is done (sft), not for which unit.
        self._bar.advance(0, self._units[place].name)
        self._ready.remove(place)
        self._to_begin.discard(place)
        self._begun += 1
        self._engine.begin(self._units[place])

    def _candidates(self) -> list[int]:
        """Return the first ready units, as many as the engine looks at; those that need no work are settled."""
        index = 0
        while index < min(len(self._ready), self._engine.look_ahead):
            place = self._ready[index]
            if place not in self._to_begin and self._needs_no_work(self._units[place]):
                self._ready.pop(index)
                self._settle(place)  # its readers come later in the plan, and so among the ready ones
            else:
                self._to_begin.add(place)
                index += 1
        return self._ready[:index]

    def _needs_no_work(self, unit: Unit) -> bool:
        """Return whether a unit is done, or cannot be done, and count it as such."""
        if self._run.is_current(unit):
            self._count_reused(unit)
            return True
        if any(needed.address in self._missing for needed in unit.inputs.values()):
            self._missing.add(unit.address)
            self._outcome.skipped.append(unit.name)
            return True
        failure = self._run.failure(unit)
        reason = self._just_failed.get(unit.name) or self._why_not_again(unit, failure)
        if reason and self._run.is_current(unit):  # another has finished it since the first look
            self._count_reused(unit)
            return True
        if reason:
            self._missing.add(unit.address)
            self._outcome.add_failure(unit, reason, bad_input=failure is not None and failure.bad_input)
        return bool(reason)

    def _count_reused(self, unit: Unit) -> None:
        self._outcome.reused += unit.address not in self._outcome.counted

    def _why_not_again(self, unit: Unit, failure: Failure | None) -> str:
        """Return why a unit is not tried; "" if it is."""
        if failure is None or failure.passing:
            return ""
        if self._run.failed_at(unit) > self._engine.presence.joined_at:  # in another process, while this one is here
            return failure.reason
        return "" if self._execution.retry else f"{failure.reason} (failed before; --retry tries again)"

    def _record(self, place: int, report: Report) -> None:
        """Count what came of a unit."""
        unit, outcome = self._units[place], self._outcome
        if report.ending in ("done", "failed"):
            outcome.seconds[unit.kind] = outcome.seconds.get(unit.kind, 0.0) + report.seconds
        if report.warning:
            outcome.warnings.append(f"{unit.name}: {report.warning}")
        if report.ending == "held":
            self._held[place] = time.monotonic() + HELD_SECONDS
            if report.reason:
                self._bar.advance(0, f"{unit.name} is being computed by {report.reason}")
            return
        if report.ending == "missing" and self._wait_again(place, unit.inputs[report.input_name]):
            return
        if report.ending == "done":
            outcome.done += 1
            if self._execution.on_done is not None:
                self._execution.on_done(unit)
        elif report.ending == "reused":
            self._count_reused(unit)
        elif report.ending == "failed":
            self._missing.add(unit.address)
            outcome.add_failure(unit, report.reason, bad_input=report.bad_input)
        else:
            damaged = unit.inputs[report.input_name]
            reason = report.reason or f"it is missing in {self._run.folder(damaged)}; run the whole study to do it"
            outcome.add_failure(damaged, reason, bad_input=True)
            self._missing |= {unit.address, damaged.address}
            outcome.skipped.append(unit.name)
        self._settle(place)

    def _wait_again(self, reader: int, needed: Unit) -> bool:
        """Have a unit wait until an input that was deleted is done again; return whether that is planned."""
        place = self._places.get(needed.address)
        if place is None:
            return False
        if place in self._settled:
            self._settled.remove(place)
            insort(self._ready, place)
        self._readers[place].append(reader)
        self._waits_for[reader] += 1
        return True

    def _settle(self, place: int) -> None:
        unit = self._units[place]
        self._settled.add(place)
        if unit.address not in self._outcome.counted:
            self._bar.advance(note=unit.name)
            self._outcome.counted.add(unit.address)
        readers, self._readers[place] = self._readers[place], []
        for reader in readers:
            self._waits_for[reader] -= 1
            if self._waits_for[reader] == 0:
                insort(self._ready, reader)

    def _ask_again(self) -> None:
        """Make the units ready again that were held some time ago."""
        now = time.monotonic()
        for place in [place for place, due in self._held.items() if due <= now]:
            del self._held[place]
            insort(self._ready, place)
