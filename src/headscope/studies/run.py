"""Run a study: plan, execute, record. The same call resumes; a second one at the same time helps."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import yaml

from headscope.errors import InputError
from headscope.model_files.named_models import model_title
from headscope.progress import SILENT, Progress
from headscope.runs import Execution, Outcome, RunDirectory, Unit, execute
from headscope.runs.digests import digest
from headscope.runs.engines import LocalEngine
from headscope.runs.pool import Pool, Transport
from headscope.runs.presence import await_signs, leaders
from headscope.runs.processes import Processes
from headscope.runs.ray_workers import RayCluster, check_installed
from headscope.runs.remote import local_folder
from headscope.storage import write_text
from headscope.studies.cost import Budget, estimate, models_of
from headscope.studies.pilot import cached_rates
from headscope.studies.plan import plan, training_units
from headscope.studies.stages import check_there, model_path
from headscope.studies.study import Study
from headscope.studies.trackers import check_tracker, open_tracker
from headscope.training import processes


def run_study(
    study: Study,
    out: Path | str,
    *,
    goal: str = "run",
    progress: Progress = SILENT,
    retry: bool = False,
    discard: bool = True,
    budget: Budget | None = None,
) -> tuple[RunDirectory, Outcome]:
    """Bring a study to ``goal`` in the run directory ``out``.

    1. With ``retry``, delete damaged units, unless ``discard`` is False because the caller has (``discard_damaged``).
    2. Write ``study.yaml`` and ``study.lock.json``, and join whoever does the same there.
    3. Train the variants, so that the checkpoints are known.
    4. Plan again and do the rest.

    With a ``budget`` it ends before the first unit that would pass it; the same call with another budget goes on.

    Raises InputError if another study or goal is being done in the directory, if it was made by a newer schema, or the
    study's inputs cannot be used.
    """
    run = RunDirectory(local_folder(out))
    run.check_lock()
    check_tracker(study.report_to)
    check_executor(study)
    if retry and discard:
        discard_damaged(study, run, goal, progress)
    units = plan(study, run, goal)
    if not all(run.is_done(unit) for unit in units):
        check_there(study)
    key = plan_key(study, goal)
    await_signs(run.path, key, progress)
    with ExitStack() as stack:
        # Before the directory is locked: a Ray cluster takes seconds to answer, and others wait for the lock.
        engine = _engine(run, key, _transport(study, run, units, stack))
        with run.exclusive():
            _check_joinable(run, key)
            stack.enter_context(engine)
            _record(study, run, units)
        named = study.report_to if processes.is_first() else "none"
        tracker = stack.enter_context(open_tracker(named, study.name, run, training_units(units), engine.presence))
        execution = Execution(progress, retry, None if budget is None else budget.holds, tracker, engine)
        return run, _train_and_execute(study, run, goal, units, execution)


def _train_and_execute(
    study: Study, run: RunDirectory, goal: str, units: Sequence[Unit], execution: Execution
) -> Outcome:
    """Do the trainings, plan again, and do the rest."""
    with ExitStack() as bars:
        # One bar over all units: those that wait for the trainings are in its total from the start.
        bar = bars.enter_context(execution.progress.bar("units", len(units)))
        trained = execute(training_units(units), run, execution, bar=bar)
        foretold, units = len(units), plan(study, run, goal)
        with run.exclusive():
            _record(study, run, units)
        if len(units) != foretold:  # the trainings hold other checkpoints than their settings tell
            bars.close()
            bar = bars.enter_context(execution.progress.bar("units", len(units), len(trained.counted)))
        return execute(units, run, execution, earlier=trained, bar=bar)


def check_executor(study: Study) -> None:
    """Raise InputError if what computes the units is not installed."""
    if study.executor.kind == "ray":
        check_installed()


def discard_damaged(study: Study, run: RunDirectory, goal: str, progress: Progress = SILENT) -> dict[str, str]:
    """Delete every finished unit with a damaged file; return what was wrong, by address.

    Raises InputError if another study or goal is being done in the directory: its units are not this one's to delete.
    """
    key = plan_key(study, goal)
    await_signs(run.path, key, progress)
    _check_joinable(run, key)
    return run.discard_damaged(key)


def plan_key(study: Study, goal: str) -> str:
    """Return what processes share that bring a directory to the same, whatever computes its units."""
    return digest([study.model_dump(mode="json", exclude={"executor", "report_to"}), goal])


def _transport(study: Study, run: RunDirectory, units: Sequence[Unit], stack: ExitStack) -> Transport | None:
    """Return what begins workers, closed when the stack ends; None if units are computed in this process."""
    executor = study.executor
    if executor.kind == "local":
        return None
    if processes.count() > 1:
        raise InputError(f"executor {executor.kind} is for one process, and this run has several; take executor local")
    transport: Transport
    if executor.kind == "ray":
        transport = RayCluster(executor.address, executor.workers, executor.threads, _largest_unit(study, run, units))
    else:
        transport = Processes.of_this_machine(executor.workers, executor.threads)
    return stack.enter_context(closing(transport))


def _engine(run: RunDirectory, key: str, transport: Transport | None) -> LocalEngine | Pool:
    if transport is None:
        return LocalEngine(run, key)
    return Pool(run, transport, plan=key, models=lambda unit: frozenset(models_of(unit)))


def _largest_unit(study: Study, run: RunDirectory, units: Sequence[Unit]) -> int | None:
    """Return the bytes that the largest unit takes; None unless ``plan --cost`` has measured it here."""
    rates = cached_rates(study)
    costs = () if rates is None else estimate(units, run, rates).units
    return max((int(cost.memory) for cost in costs), default=None)


def _check_joinable(run: RunDirectory, key: str) -> None:
    """Raise InputError if processes are at work in the directory that bring it to another study or goal."""
    for worker in leaders(run.path):
        if worker.plan != key:
            raise InputError(
                f"run directory {run.path} is in use by {worker}, which does another study or verb there; wait for it "
                "or name another with --out"
            )
        if processes.count() > 1:
            raise InputError(
                f"run directory {run.path} is in use by {worker}, and processes that train together need it alone; "
                "wait for it or name another with --out"
            )


def _model_titles(study: Study) -> dict[str, str]:
    """Return what the base and the finished variants are called: ``smollm2-135m`` may be one of two models."""
    made = "" if study.base.train is None else f" after {study.base.train.method}"
    titles = {"base": f"{model_title(model_path(study.base.model))}{made}"}
    for variant in study.variants:
        if variant.model is not None:
            titles[variant.name] = model_title(model_path(variant.model))
    return titles


def _record(study: Study, run: RunDirectory, units: Sequence[Unit]) -> None:
    write_text(
        run.path / "study.yaml",
        yaml.safe_dump(study.model_dump(mode="json", exclude_unset=True), sort_keys=False),
    )
    run.write_lock(
        study.model_dump(mode="json", exclude={"executor", "report_to"}),
        [unit.row for unit in units],
        _model_titles(study),
    )
