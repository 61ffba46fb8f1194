"""One try at one unit, by whichever process computes it: hold it, check its inputs, compute, record.

It says what came of it (``Report``); whoever asked for the unit decides what that means for the others.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from headscope.errors import InputError, is_disk_full, is_gpu_lost, is_out_of_memory
from headscope.progress import Progress
from headscope.results.codec import Json
from headscope.runs import provenance
from headscope.runs.directory import RunDirectory
from headscope.runs.failures import Failure
from headscope.runs.leases import FinishedElsewhere, HeldProgress, Lease, holder, take
from headscope.runs.presence import Presence, PresentProgress
from headscope.runs.records import find_unit_damage, write_record
from headscope.runs.unit_writing import write_unit
from headscope.runs.units import Unit


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of a try.

    ending: ``done``; ``reused``, another process had done it; ``held``, another does it, or an input was made again
        meanwhile; ``failed``; ``damaged``, an input is; ``missing``, an input is, which was deleted to be done again.
    seconds: that it took.
    reason: why it failed, or what is wrong with the input, or who holds it. bad_input: the input's fault.
    input_name: of the damaged or missing input.
    out_of_memory: it failed for want of memory. gpu_lost: by an error after which its process has no GPU.
    warning: a sentence if two processes finished it with different bytes.
    """

    ending: Literal["done", "reused", "held", "failed", "damaged", "missing"]
    seconds: float = 0.0
    reason: str = ""
    bad_input: bool = False
    input_name: str = ""
    out_of_memory: bool = False
    gpu_lost: bool = False
    warning: str = ""


def attempt(unit: Unit, run: RunDirectory, presence: Presence, progress: Progress) -> Report:
    """Do one unit, if nobody else does.

    Ctrl-C and the like pass through, leaving a folder that resumes. Raises OSError if a disk is full.
    """
    folder = run.folder(unit)
    lease = take(folder, presence)
    if lease is None:
        held = holder(folder)
        return Report("held", reason=presence.describe(held[0]) if held else "")
    try:
        if run.is_current(unit):
            return Report("reused")
        return _compute(unit, run, lease, progress)
    finally:
        lease.release()


def _check_inputs(unit: Unit, run: RunDirectory) -> Report | None:
    """Return why a unit cannot read one of its inputs; None if it can read them all.

    Raises OSError if one cannot be read now, which says nothing about it.
    """
    for name, needed in unit.inputs.items():
        folder = run.folder(needed)
        try:
            problem = find_unit_damage(folder)
        except FileNotFoundError:  # deleted between two looks
            problem = "it is being deleted"
        if not run.is_done(needed):
            return Report("missing", input_name=name)
        if problem:
            reason = f"{problem} in {folder}; run the study with --retry to do it again"
            return Report("damaged", reason=reason, input_name=name)
    return None


def _find_input_trouble(unit: Unit, run: RunDirectory) -> Report | None:
    """Return why a unit that failed could not read one of its inputs; None too if that cannot be said now."""
    try:
        return _check_inputs(unit, run)
    except (OSError, InputError):
        return None


def _compute(unit: Unit, run: RunDirectory, lease: Lease, progress: Progress) -> Report:
    start, processor_start = time.perf_counter(), time.process_time()
    last = run.failure(unit)
    contents = run.input_contents(unit)
    lease.presence.tell(unit.name)
    try:
        if trouble := _check_inputs(unit, run):
            return trouble
        with write_unit(run, unit, lease, anew=last is not None and last.damaged) as folder:
            _run_unless_inputs_change(unit, run, folder, HeldProgress(lease, PresentProgress(lease.presence, progress)))
            used = {"cpu_seconds": round(time.process_time() - processor_start, 3), "input_contents": contents}
            record = unit_record(unit, time.perf_counter() - start) | used
            write_record(folder, record, unit.work.compared)
        return Report("done", time.perf_counter() - start)
    except FinishedElsewhere as early:
        return Report("held", time.perf_counter() - start, warning=str(early))
    except Exception as error:
        if is_disk_full(error):
            raise
        seconds = time.perf_counter() - start
        if not lease.is_held():  # whoever took the unit over took the folder too
            return Report("held", seconds)
        if trouble := _find_input_trouble(unit, run):  # an input's damage is not this unit's failure
            return trouble
        failure = Failure.from_error(error)
        run.record_failure(unit, unit_record(unit, seconds) | asdict(failure))
        return Report(
            "failed",
            seconds,
            failure.reason,
            failure.bad_input,
            out_of_memory=is_out_of_memory(error),
            gpu_lost=is_gpu_lost(error),
        )
    finally:
        lease.presence.tell("")


def _run_unless_inputs_change(unit: Unit, run: RunDirectory, folder: Path, progress: Progress) -> None:
    """Compute a unit. Raises FinishedElsewhere if it was not the inputs' files that it read, or not all of them.

    With --retry another process deletes damaged units, and makes them again, while their readers are at work.
    """
    marks, contents = run.input_marks(unit), run.input_contents(unit)
    try:
        unit.work.run(unit.config, run.inputs(unit, folder), progress)
    except Exception as error:
        if not is_disk_full(error) and run.input_marks(unit) != marks:
            raise FinishedElsewhere("") from error
        raise
    now = run.input_contents(unit)
    if any(now[name] not in ("", contents[name]) for name in now):
        raise FinishedElsewhere("")


def unit_record(unit: Unit, seconds: float) -> dict[str, Json]:
    """Return what is kept of every try."""
    return {
        "kind": unit.kind,
        "version": unit.work.version,
        "labels": unit.labels,
        "config": unit.settings,
        "inputs": {name: needed.address for name, needed in unit.inputs.items()},
        "seconds": round(seconds, 3),
        "peak_memory_gib": provenance.peak_memory_gib(),
        "versions": provenance.versions(),
        "source": provenance.commit(),
    }
