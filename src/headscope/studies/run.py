"""Run a study: plan, execute, record. The same call resumes; a second one at the same time helps."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import yaml

from headscope.errors import InputError, count_noun
from headscope.model_files.named_models import model_title
from headscope.progress import SILENT, Progress
from headscope.runs import Execution, Outcome, RunDirectory, Unit, discarding, execute
from headscope.runs.digests import digest
from headscope.runs.engines import LocalEngine
from headscope.runs.pool import Pool
from headscope.runs.presence import Presence, await_signs, leaders
from headscope.runs.processes import Processes, gpus
from headscope.runs.ray_workers import RayCluster, check_installed
from headscope.runs.remote import local_folder
from headscope.runs.writer_lock import exclusive
from headscope.storage import write_text
from headscope.studies.costs.estimate import Budget, estimate, models_of
from headscope.studies.costs.pilot import cached_rates
from headscope.studies.models.files import model_path
from headscope.studies.models.study_stages import check_there
from headscope.studies.plan import certain_units, listed_units, plan, training_units
from headscope.studies.study_file.study import Study
from headscope.studies.trackers import check_tracker, open_tracker
from headscope.studies.training.train import devices_of, step_sequences, trainings
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
    3. Train the variants, and do all that reads no training whose number of steps its data tells.
    4. Plan again, now that every checkpoint is known, and do the rest.

    With a ``budget`` it ends before the first unit that would pass it; the same call with another budget goes on.

    Raises InputError if the directory is another study's or holds other files, if another goal is being done in it, if
    it was made by a newer schema, or the study's inputs cannot be used.
    """
    run = RunDirectory(local_folder(out))
    run.check_lock()
    run.check_free(study.name)
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
        with exclusive(run):
            _check_joinable(run, key)
            run.check_free(study.name)  # again: another study may have begun here meanwhile
            stack.enter_context(engine)
            _record(study, run, units)
        named = study.report_to if processes.is_first() else "none"
        tracker = stack.enter_context(open_tracker(named, study.name, run, training_units(units), engine.presence))
        execution = Execution(progress, retry, None if budget is None else budget.holds, tracker, engine)
        return run, _train_and_execute(study, run, goal, units, execution)


def _train_and_execute(
    study: Study, run: RunDirectory, goal: str, units: Sequence[Unit], execution: Execution
) -> Outcome:
    """Do the trainings, and what reads none of unknown length; plan again, and do the rest."""
    with ExitStack() as bars:
        # One bar over all units: those that wait for the trainings are in its total from the start.
        bar = bars.enter_context(execution.progress.bar("units", len(units)))
        trained = execute(certain_units(units), run, execution, bar=bar)
        foretold, units = len(units), plan(study, run, goal)
        with exclusive(run):
            _record(study, run, units)
        if len(units) != foretold:  # the trainings hold other checkpoints than their settings tell
            bars.close()
            bar = bars.enter_context(execution.progress.bar("units", len(units), len(trained.counted)))
        return execute(units, run, execution, earlier=trained, bar=bar)


def check_executor(study: Study) -> None:
    """Raise InputError if what computes the units is not installed, or has fewer devices than a training takes.

    What a Ray cluster has is only known once it is connected.
    """
    executor = study.executor
    if executor.kind == "ray":
        check_installed()
    if all(training.devices == 1 for training in trainings(study).values()):
        return
    if executor.kind == "ray":
        most = executor.workers
    elif executor.kind == "processes":
        most = Processes.of_this_machine(executor.workers, executor.threads).most_devices
    else:
        most = len(gpus()) or None  # processes that share this machine's cores may be as many as one likes
    check_devices(study, most)


def check_devices(study: Study, most: int | None) -> None:
    """Raise InputError if a training takes more than ``most`` devices, or cannot share its steps out evenly."""
    for name, training in trainings(study).items():
        devices = training.devices
        if most is not None and devices > most:
            raise InputError(
                f"{name} takes {count_noun(devices, 'device')} (train.devices), and executor {study.executor.kind} has "
                f"at most {most} for one unit; lower devices, or give the executor one GPU or core per worker and as "
                "many workers"
            )
        sequences = step_sequences(training)
        if sequences % devices:
            raise InputError(f"{name} cannot split {sequences} sequences per step over {devices} devices evenly")


def discard_damaged(study: Study, run: RunDirectory, goal: str, progress: Progress = SILENT) -> dict[str, str]:
    """Delete every finished unit with a damaged file; return what was wrong, by address.

    Raises InputError if the directory is another study's, or another goal is being done there: its units are not this
    one's to delete.
    """
    if not run.path.is_dir():
        return {}
    run.check_free(study.name)
    key = plan_key(study, goal)
    await_signs(run.path, key, progress)
    with ExitStack() as stack:
        # In one step: another study that joined between the look and this would have its units deleted under it. Not
        # for the whole call, which reads every file: others of this study wait for the lock, and may delete too.
        with exclusive(run):
            _check_joinable(run, key)
            presence = stack.enter_context(Presence(run.path, plan=key))
        return discarding.discard_damaged(run, presence)


def plan_key(study: Study, goal: str) -> str:
    """Return what processes share that bring a directory to the same, whatever computes its units."""
    return digest([study.model_dump(mode="json", exclude={"executor", "report_to"}), goal])


def _transport(
    study: Study, run: RunDirectory, units: Sequence[Unit], stack: ExitStack
) -> Processes | RayCluster | None:
    """Return what begins workers, closed when the stack ends; None if units are computed in this process."""
    executor = study.executor
    if executor.kind == "local":
        return None
    if processes.count() > 1:
        raise InputError(f"executor {executor.kind} is for one process, and this run has several; take executor local")
    transport: Processes | RayCluster
    if executor.kind == "ray":
        transport = RayCluster(executor.address, executor.workers, executor.threads, _largest_unit(study, run, units))
    else:
        transport = Processes.of_this_machine(executor.workers, executor.threads)
    stack.enter_context(closing(transport))
    check_devices(study, transport.most_devices)
    return transport


def _engine(run: RunDirectory, key: str, transport: Processes | RayCluster | None) -> LocalEngine | Pool:
    if transport is None:
        return LocalEngine(run, key)
    return Pool(run, transport, plan=key, models=lambda unit: frozenset(models_of(unit)), devices=devices_of)


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
    trained = "" if study.base.train is None else f" after {study.base.train.method}"
    titles = {"base": f"{model_title(model_path(study.base.model))}{trained}"}
    for variant in study.variants:
        if variant.model is not None:
            titles[variant.name] = model_title(model_path(variant.model))
    return titles


def _record(study: Study, run: RunDirectory, units: Sequence[Unit]) -> None:
    # The lock first: a folder with study.yaml alone is taken for the user's own.
    run.write_lock(
        study.model_dump(mode="json", exclude={"executor", "report_to"}),
        [unit.row for unit in listed_units(study, run, units)],
        _model_titles(study),
    )
    write_text(
        run.path / "study.yaml",
        yaml.safe_dump(study.model_dump(mode="json", exclude_unset=True), sort_keys=False),
        shared=True,
    )
