"""The measured pass: small units of every kind a study has, run once and timed.

1. ``shrink`` makes the study small in numbers (problems, pairs, texts, steps), not in shape: the same models, prompts,
   limits, circuit sizes and training steps.
2. Its units are run at two sizes. Whatever decides only results is filled in, so that a small sample does not end
   early: every answer counts as correct for the readers, and heads are drawn if none changed.
3. Seconds, memory and bytes of the units are fitted by what they worked through, none below 0.

The rates are kept in the user's cache (``HEADSCOPE_CACHE``), by the digests of the pilot's units (model, dtype,
shapes, versions of the work), the packages and the machine. So are the measured units until the last is measured: a
pilot that was stopped goes on with the same command.
"""

import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headscope.comparison.control_sets import control_sets
from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet
from headscope.progress import SILENT, Progress
from headscope.results.edges import EdgeScores
from headscope.results.head_constants import HeadConstants
from headscope.results.head_sets import ControlledHeads
from headscope.results.not_run import NotRun, load_result
from headscope.results.samples import Samples
from headscope.runs import Inputs, RunDirectory, Unit, provenance
from headscope.runs.digests import digest
from headscope.storage import TRAINING_LOG, read_object, user_cache, write_json
from headscope.studies.answers.texts import ModelOnTask, answered_texts
from headscope.studies.costs.estimate import Rates
from headscope.studies.costs.pilot_facts import gather_facts
from headscope.studies.costs.pilot_record import ANSWERS, MEASURED, PilotRecord, fit, fit_kinds, peak, reset_peak
from headscope.studies.costs.small_study import LARGE_MODEL_SIZES, SMALL_MODEL_SIZES, Size, shrink
from headscope.studies.costs.workloads import GENERATED, Facts, Workload, constants_workload, step_driver, unit_workload
from headscope.studies.plan import plan, trainings_by_name
from headscope.studies.study_file.study import Study
from headscope.studies.training.train import devices_of
from headscope.training import launch, read_log

if TYPE_CHECKING:
    from headscope.models import Subject

STALE_AFTER = 7 * 24 * 3600.0
"""Seconds after which a stopped pilot is deleted instead of resumed."""
SCHEMA_VERSION = 5
KINDS_PER_VARIANT = ("train", "pairs", "samples", "traces")
"""Of a large model's further variants only units of these kinds are measured: how long a training is and how long its
answers are differs between variants, what a pair, text or answer costs does not."""


def cached_rates(study: Study) -> Rates | None:
    """Return the rates that were measured for a study like this on this machine; None if there are none. No torch."""
    path = _cache_file(study)
    if not path.is_file():
        return None
    try:
        return Rates.from_dict(read_object(path)["rates"], str(path))
    except (InputError, KeyError):  # of another version, or damaged: measured again
        return None


def measure_rates(study: Study, progress: Progress = SILENT, clock: Callable[[], float] = time.perf_counter) -> Rates:
    """Return the rates of a study's models on this machine, and keep them in the user's cache.

    Units that an earlier call measured before it was stopped are not measured again.

    clock: seconds; that of the process alone if others keep the machine busy.
    """
    from filelock import FileLock

    path = _cache_file(study)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # of two calls for one study, the second waits and finds the rates
        rates = cached_rates(study)
        if rates is None:
            folder = path.with_suffix("")
            _delete_stale_pilots(path.parent, folder)
            rates = _Pilot(study, folder, progress, clock).run()
            write_json(path, {"schema_version": SCHEMA_VERSION, "rates": rates.as_dict()})
            shutil.rmtree(folder)
    return rates


def _delete_stale_pilots(cache: Path, but: Path) -> None:
    """Delete what pilots left that were stopped and not begun again for a week: it holds checkpoints."""
    for folder in cache.iterdir():
        if folder.is_dir() and folder != but and time.time() - folder.stat().st_mtime > STALE_AFTER:
            shutil.rmtree(folder, ignore_errors=True)


def _cache_file(study: Study) -> Path:
    nowhere = RunDirectory(Path(os.devnull))
    # The largest size decides: both are cut from the same study.
    units = plan(shrink(study, LARGE_MODEL_SIZES[-1], nowhere), nowhere)
    machine = {key: value for key, value in provenance.hardware().items() if key != "accelerators"}
    settings = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    versions = [SCHEMA_VERSION, provenance.versions(), machine, settings]
    key = digest([[unit.address for unit in units], study.eval.max_new_tokens, versions])
    return user_cache() / "costs" / f"{key}.json"


class _Pilot:
    """The pilot of one study, in a folder of its own."""

    def __init__(self, study: Study, folder: Path, progress: Progress, clock: Callable[[], float]) -> None:
        self.study, self.folder, self.progress, self.clock = study, folder, progress, clock
        self.run_directory = RunDirectory(folder / "run")
        self.record = PilotRecord()

    def run(self) -> Rates:
        """Run all sizes and return the rates."""
        from headscope.studies.models.study_stages import origin_stage

        base = origin_stage(self.study)  # before the clock: a named model may have to be fetched first
        started = self.clock()
        from headscope.models import load_model
        from headscope.models.threads import is_small
        from headscope.studies.models.subjects import load

        subject = load(base)
        first = self.clock() - started
        # Again, to part the libraries' share from the model's.
        started = self.clock()
        load_model(
            base.folder, dtype=base.config.dtype, device=str(subject.model.device), revision=base.config.revision
        )
        again = self.clock() - started
        is_large = not is_small(subject.model)
        units = self._units(LARGE_MODEL_SIZES if is_large else SMALL_MODEL_SIZES, every_variant=not is_large)
        with self.progress.bar("measuring", len(units)) as bar:
            for unit in units:
                self._measure(unit)
                bar.advance(note=unit.name)
        return self._rates(subject, max(0.0, first - again), again)

    def _rates(self, subject: "Subject", import_seconds: float, model_seconds: float) -> Rates:
        timings = self.record.timings
        facts = gather_facts(self.study, self.record, subject)
        workloads = {timing.unit.address: self._workload(timing.unit, facts) for timing in timings}
        seconds = fit_kinds(timings, lambda unit: workloads[unit.address].drivers, lambda timing: timing.seconds)
        # Of a training on several devices the memory is that of other processes, which nobody measures.
        own = [timing for timing in timings if devices_of(timing.unit) == 1]
        widths = fit_kinds(
            own, lambda unit: {"width": workloads[unit.address].width}, lambda timing: timing.peak - timing.before
        )
        disk = fit_kinds(timings, lambda unit: {"size": workloads[unit.address].size}, lambda timing: timing.disk)
        for constants in self.record.of_kind("constants")[-1:]:
            seconds["constants"] = self._constants_rates(constants.unit, facts)
        if self.record.of_kind("train"):
            seconds["train"] = self._training_rates(subject)
        return Rates(facts, import_seconds, model_seconds, seconds=seconds, memory=widths, disk=disk)

    def _units(self, sizes: Sequence[Size], *, every_variant: bool) -> list[Unit]:
        """Return the units of all sizes, each once, inputs first."""
        units: dict[str, Unit] = {}
        for size in sizes:
            small = shrink(self.study, size, self.run_directory)
            self.record.trainings.update(trainings_by_name(small))
            further = set() if every_variant else {variant.name for variant in small.variants[1:]}
            for unit in plan(small, self.run_directory):
                if unit.kind in KINDS_PER_VARIANT or unit.labels.get("variant") not in further:
                    units.setdefault(unit.address, unit)
        return list(units.values())

    def _measure(self, unit: Unit) -> None:
        """Run one unit, unless an earlier call has, and fill in what its readers need.

        A unit that small numbers make impossible is left out, with its readers.
        """
        if any(needed.address not in self.record.folders for needed in unit.inputs.values()):
            return
        folder = self.folder / unit.kind / unit.digest
        if not (folder / MEASURED).is_file():
            if folder.exists():  # of a call that was stopped
                shutil.rmtree(folder)
            try:
                self._run(unit, folder)
            except InputError:
                shutil.rmtree(folder)
                return
        self.record.add(unit, folder)

    def _run(self, unit: Unit, folder: Path) -> None:
        folder.mkdir(parents=True)
        inputs = self._inputs(unit, folder)
        before = reset_peak()
        started, wall = self.clock(), time.perf_counter()
        if unit.kind == "constants":  # the longest unit of all is measured in part (``_constants_rates``)
            self._write_constants(unit, inputs)
        else:
            unit.work.run(unit.config, inputs, SILENT)
        seconds, wall = self.clock() - started, time.perf_counter() - wall
        disk = float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
        measured = {"seconds": seconds, "wall": wall, "before": before, "peak": max(before, peak()), "disk": disk}
        self._fill_in(unit, folder)
        write_json(folder / MEASURED, measured)

    def _inputs(self, unit: Unit, scratch: Path) -> Inputs:
        return Inputs({name: self.record.folders[needed.address] for name, needed in unit.inputs.items()}, scratch)

    def _fill_in(self, unit: Unit, folder: Path) -> None:
        if unit.kind in ("samples", "ablated"):
            samples = load_result(Samples, folder)
            if isinstance(samples, NotRun):
                return
            samples.save(folder / ANSWERS)
            replace(samples, table=samples.table.assign(verdict="correct")).save(folder)
        elif unit.kind == "headsets":
            self._fill_in_heads(unit, folder)

    def _fill_in_heads(self, unit: Unit, folder: Path) -> None:
        """Replace the heads that three steps of training changed by as many as the study removes, drawn at random."""
        config: Any = unit.config
        importance = EdgeScores.load(self.record.folders[unit.inputs["base"].address]).head_importance
        layers, width = importance.shape
        everything = [HeadId(layer, head) for layer in range(layers) for head in range(width)]
        count = min(config.at_most or 10, len(everything) // 2)
        heads = HeadSet.of(random.Random(0).sample(everything, count))
        controls, _ = control_sets(heads, HeadSet(()), importance, config.controls, 0)
        for file in folder.iterdir():
            file.unlink()
        ControlledHeads(heads, controls, controls, (layers, width)).save(folder)

    def _write_constants(self, unit: Unit, inputs: Inputs) -> None:
        from headscope.studies.models.subjects import load

        config: Any = unit.config
        shape = load(config.model.stage(inputs)).model.config.get_text_config()
        size = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
        grid = (shape.num_hidden_layers, shape.num_attention_heads, size)
        HeadConstants(np.zeros(grid, dtype=np.float32)).save(inputs.scratch)

    def _constants_rates(self, unit: Unit, facts: Facts) -> dict[str, float]:
        """Fit the constants of heads for two numbers of steps on one text: of all in a small model, where a pass of few
        heads takes as long, else of every eighth.
        """
        from headscope.interventions import fit_constants
        from headscope.models.threads import is_small
        from headscope.studies.models.subjects import load

        config: Any = unit.config
        inputs = self._inputs(unit, self.folder)
        respondent = ModelOnTask(config.model.stage(inputs), config.task.task())
        subject = load(respondent.stage)
        texts = answered_texts(respondent, inputs.load("whole", Samples), 1)
        if not texts:
            return {}
        shape = subject.model.config.get_text_config()
        stride = 1 if is_small(subject.model) else 8
        places = [divmod(index, shape.num_attention_heads) for index in range(0, facts.heads, stride)]
        points = []
        for steps in (1, 1, 3):  # the first warms up
            started = self.clock()
            fit_constants(subject, places, texts, steps=steps)
            workload = constants_workload(len(places), 1, len(texts[0].tokens), steps)
            points.append((workload.drivers, self.clock() - started))
        return fit(points[1:], once=False)

    def _training_rates(self, subject: Any) -> dict[str, float]:
        """Return seconds per step of each training from its log, per checkpoint, and for the rest of a training."""
        rates: dict[str, float] = {}
        rests: list[float] = []
        timings = {timing.unit.address: timing for timing in self.record.of_kind("train")}
        for name, unit in self.record.measured_trainings().items():
            timing = timings[unit.address]
            steps = [entry.seconds for entry in read_log(self.record.folders[unit.address] / TRAINING_LOG)]
            # The log's clock is the wall's; another one runs as much slower in a step as in the whole training.
            share = timing.seconds / timing.wall
            rates[step_driver(name)] = share * float(np.mean(steps[1:]))
            rests.append(timing.seconds - share * sum(steps))
        started = self.clock()
        with launch.quiet():
            subject.model.save_pretrained(self.folder / "saved")
        # The weights, and a state to resume from: weights again and two moments of Adam.
        rates["checkpoints"] = 4 * (self.clock() - started)
        rates["once"] = max(0.0, float(np.mean(rests)) - 2 * rates["checkpoints"])
        return rates

    def _workload(self, unit: Unit, facts: Facts) -> Workload:
        """Return what a pilot unit worked through: as planned, but for the answers, whose tokens are known."""
        workload = unit_workload(unit, replace(facts, correct=dict.fromkeys(facts.correct, 1.0)))
        if unit.kind not in ("samples", "ablated"):
            return workload
        samples = load_result(Samples, self.record.folders[unit.address])
        if isinstance(samples, NotRun):
            return Workload({})
        steps = {"decoding steps": float(samples.lengths.max()), GENERATED: float(samples.lengths.sum())}
        return replace(workload, drivers={**workload.drivers, **steps}, size=float(samples.lengths.sum()))
