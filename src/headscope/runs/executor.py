"""The local executor: units in order, one at a time, each recorded whether it ends well or not."""

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headscope.errors import InputError
from headscope.progress import SILENT, Progress
from headscope.runs import provenance
from headscope.runs.directory import RunDirectory
from headscope.runs.units import Unit
from headscope.storage import write_json


@dataclass
class Outcome:
    """What one call of ``execute`` did. seconds: wall time by kind, of this call. failed: unit name to one-line
    reason.
    """

    done: int = 0
    reused: int = 0
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bad_input: bool = False

    @property
    def exit_code(self) -> int:
        """0 all done, 1 failed units, 2 when what failed was the input's fault."""
        return 0 if not self.failed else 2 if self.bad_input else 1


def execute(
    units: Sequence[Unit],
    run: RunDirectory,
    *,
    progress: Progress = SILENT,
    retry: bool = False,
    just_failed: Mapping[str, str] | None = None,
) -> Outcome:
    """Bring every unit of ``units`` (inputs before readers) to DONE, reusing what is there.

    retry: also try units again that failed before. A unit whose input failed is skipped; the others still run.
    just_failed: names and reasons of what an earlier call of the same command has tried; not tried again.
    """
    earlier = just_failed or {}
    outcome, missing = Outcome(), set[str]()
    with progress.bar("units", len(units)) as bar:
        for unit in units:
            if run.is_done(unit):
                outcome.reused += 1
            elif any(needed.address in missing for needed in unit.inputs.values()):
                missing.add(unit.address)
                outcome.skipped.append(unit.name)
            elif (failure := run.failure(unit)) is not None and (not retry or unit.name in earlier):
                missing.add(unit.address)
                before = f"{failure['reason']} (failed before; --retry tries again)"
                outcome.failed[unit.name] = earlier.get(unit.name, before)
                outcome.bad_input |= bool(failure["bad_input"])
            elif not _attempt(unit, run, outcome, progress):
                missing.add(unit.address)
            bar.advance(note=unit.name)
    return outcome


def _attempt(unit: Unit, run: RunDirectory, outcome: Outcome, progress: Progress) -> bool:
    """Do one unit; True when it is done. Ctrl-C and the like pass through, leaving a folder that resumes."""
    start = time.perf_counter()
    try:
        with run.writing(unit) as folder:
            unit.work.run(unit.config, run.inputs(unit, folder), progress)
            write_json(folder / "unit.json", _record(unit, time.perf_counter() - start))
        outcome.done += 1
        return True
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        failure = {
            "reason": reason,
            "bad_input": isinstance(error, InputError),
            "traceback": traceback.format_exc(),
        }
        run.record_failure(unit, _record(unit, time.perf_counter() - start) | failure)
        outcome.failed[unit.name] = reason
        outcome.bad_input |= isinstance(error, InputError)
        return False
    finally:
        outcome.seconds[unit.kind] = outcome.seconds.get(unit.kind, 0.0) + time.perf_counter() - start


def _record(unit: Unit, seconds: float) -> dict[str, Any]:
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
