"""The part of a study that all processes of ``accelerate launch`` share: its trainings.

The first process runs the study and writes; the others follow it through the trainings and are done.
"""

from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.progress import SILENT
from headscope.runs import Inputs, RunDirectory, Unit
from headscope.runs.records import find_unit_damage
from headscope.studies.plan import plan, training_units
from headscope.studies.study_file.study import Study


def follow(study: Study, out: Path, *, goal: str = "run", retry: bool = False) -> None:
    """Take part in every training the first process is about to do for ``goal`` in the run directory ``out``.

    Which those are is read before the first process begins: it waits in its first training for the others.
    """
    run = RunDirectory(out)
    missing: set[str] = set()
    for unit in training_units(plan(study, run, goal)):
        failure = run.failure(unit)
        failed = failure is not None and not (retry or failure.passing)
        if run.is_current(unit) and not (retry and find_unit_damage(run.folder(unit))):
            continue
        if failed or any(needed.address in missing for needed in unit.inputs.values()):
            missing.add(unit.address)
            continue
        try:
            unit.work.run(unit.config, _FollowedInputs(run, unit), SILENT)
        except InputError:  # the first process has met it too, and records it
            missing.add(unit.address)


class _FollowedInputs(Inputs):
    """The inputs of a unit that the first process does: which folder it writes is known once it has begun."""

    def __init__(self, run: RunDirectory, unit: Unit) -> None:
        super().__init__(run.inputs(unit, Path()).folders, Path())
        object.__setattr__(self, "_where", (run, unit))

    def __getattribute__(self, name: str) -> Any:
        if name != "scratch":
            return super().__getattribute__(name)
        run, unit = super().__getattribute__("_where")
        return run.partial(unit)
