"""The local executor: units in order, one at a time, each recorded whether it ends well or not."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

from headscope.errors import is_disk_full
from headscope.progress import SILENT, Bar, Progress
from headscope.results.codec import Json
from headscope.runs import provenance
from headscope.runs.directory import RunDirectory
from headscope.runs.failures import Failure
from headscope.runs.records import find_unit_damage, write_record
from headscope.runs.units import Unit


@dataclass
class Outcome:
    """The outcome of one call of ``execute``.

    done, reused: numbers of units. skipped: names of units whose inputs failed.
    failed: unit name to one-line reason. bad_input: whether one of them failed by the input's fault.
    seconds: wall time by kind, of this call.
    stopped: name of the unit that was not begun because ``may_begin`` forbade it; "" if none was.
    counted: addresses of the units that the bar has counted.
    """

    done: int = 0
    reused: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bad_input: bool = False
    stopped: str = ""
    counted: set[str] = field(default_factory=set)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 failed units, 2 if the input was at fault."""
        return 0 if not self.failed else 2 if self.bad_input else 1

    def add_failure(self, unit: Unit, reason: str, *, bad_input: bool) -> None:
        """Count a unit that failed."""
        self.failed[unit.name] = reason
        self.bad_input |= bad_input


def execute(
    units: Sequence[Unit],
    run: RunDirectory,
    *,
    progress: Progress = SILENT,
    retry: bool = False,
    earlier: Outcome | None = None,
    bar: Bar | None = None,
    may_begin: Callable[[Unit], bool] | None = None,
    on_done: Callable[[Unit], None] | None = None,
) -> Outcome:
    """Bring every unit of ``units`` (inputs before readers) to DONE, reusing finished ones.

    A unit whose input failed is skipped; the others still run. Units that the machine stopped (memory, a dead worker)
    are always tried again. Raises OSError if a disk is full: every later unit would be computed in vain.

    Args:
        units: what is to be done.
        run: the directory.
        progress: shows the number of units.
        retry: also try units again that failed before.
        earlier: of a call of the same command for some of these units: what it did is added to the outcome, what
            failed is not tried again, and no unit is counted twice.
        bar: counts the units, one step each; None opens one.
        may_begin: asked before a unit is done; the first that may not ends the call.
        on_done: told of every unit that this call has done.
    """
    outcome = Outcome() if earlier is None else earlier
    just_failed, just_done = dict(outcome.failed), set(outcome.counted)
    outcome.failed.clear()
    outcome.skipped.clear()
    missing: set[str] = set()
    with ExitStack() as stack:
        bar = bar or stack.enter_context(progress.bar("units", len(units)))
        for unit in units:
            failure = run.failure(unit)
            if run.is_current(unit):
                outcome.reused += unit.address not in just_done
            elif any(needed.address in missing for needed in unit.inputs.values()):
                missing.add(unit.address)
                outcome.skipped.append(unit.name)
            elif unit.name in just_failed or (failure is not None and not (retry or failure.passing)):
                missing.add(unit.address)
                _repeat_failure(unit, failure, just_failed, outcome)
            elif damaged := _damaged_input(unit, run, outcome):
                missing |= {unit.address, damaged.address}
                outcome.skipped.append(unit.name)
            elif may_begin is not None and not may_begin(unit):
                outcome.stopped = unit.name
                break
            else:
                # Before it begins: its own bars say what is done (sft), not for which unit.
                bar.advance(0, unit.name)
                if not _attempt(unit, run, outcome, progress):
                    missing.add(unit.address)
                elif on_done is not None:
                    on_done(unit)
            if unit.address not in outcome.counted:
                bar.advance(note=unit.name)
                outcome.counted.add(unit.address)
    return outcome


def _repeat_failure(unit: Unit, failure: Failure | None, just_failed: dict[str, str], outcome: Outcome) -> None:
    """Count a unit that is not tried again."""
    reason = just_failed.get(unit.name) or f"{failure and failure.reason} (failed before; --retry tries again)"
    outcome.add_failure(unit, reason, bad_input=failure is not None and failure.bad_input)


def _damaged_input(unit: Unit, run: RunDirectory, outcome: Outcome) -> Unit | None:
    """Return the first input with a damaged file, counted as a failure; None if all are whole."""
    for needed in unit.inputs.values():
        folder = run.folder(needed)
        if problem := find_unit_damage(folder):
            reason = f"{problem} in {folder}; run the study with --retry to do it again"
            outcome.add_failure(needed, reason, bad_input=True)
            return needed
    return None


def _attempt(unit: Unit, run: RunDirectory, outcome: Outcome, progress: Progress) -> bool:
    """Do one unit; return whether it is done. Ctrl-C and the like pass through, leaving a folder that resumes."""
    start, processor_start = time.perf_counter(), time.process_time()
    last = run.failure(unit)
    if last is not None and last.damaged:
        shutil.rmtree(run.partial(unit), ignore_errors=True)
    contents = run.input_contents(unit)
    try:
        with run.write(unit) as folder:
            unit.work.run(unit.config, run.inputs(unit, folder), progress)
            used = {"cpu_seconds": round(time.process_time() - processor_start, 3), "input_contents": contents}
            record = _record(unit, time.perf_counter() - start) | used
            write_record(folder, record, unit.work.compared)
        outcome.done += 1
        return True
    except Exception as error:
        if is_disk_full(error):
            raise
        failure = Failure.of(error)
        run.record_failure(unit, _record(unit, time.perf_counter() - start) | asdict(failure))
        outcome.add_failure(unit, failure.reason, bad_input=failure.bad_input)
        return False
    finally:
        outcome.seconds[unit.kind] = outcome.seconds.get(unit.kind, 0.0) + time.perf_counter() - start


def _record(unit: Unit, seconds: float) -> dict[str, Json]:
    return {
        "kind": unit.kind,
        "version": unit.work.version,
        "labels": unit.labels,
        "config": unit.settings,
        "inputs": {role: needed.address for role, needed in unit.inputs.items()},
        "seconds": round(seconds, 3),
        "peak_memory_gib": provenance.peak_memory_gib(),
        "versions": provenance.versions(),
        "source": provenance.commit(),
    }
