"""HeadTracker: a callback that tells which attention heads a Trainer or TRL run creates, keeps and loses.

    trainer.add_callback(HeadTracker(pairs, every=100, out="runs/tracked"))

1. Before the first step the base is scored, on ``pairs`` and on the fresh pairs of the null.
2. Every ``every`` steps, and at the last one, the model is scored; the counts of new, kept and lost heads go to the
   trainer's loggers.
3. ``out`` is a run directory with the units a study writes: ``headscope report runs/tracked`` draws it at any time.

Training is left exactly as it was: weights, gradients, modes, hooks and random states. It may run under mixed
precision, torch.compile, DistributedDataParallel or gradient checkpointing, and train adapters: the model inside is
scored, in the dtype of its weights, with adapters merged into them. A model that cannot be scored is logged once, and
training goes on.
"""

import hashlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import CallbackHandler
from transformers.trainer_utils import SaveStrategy

from headscope.circuits import attribute
from headscope.circuits.attribution import check_settings
from headscope.comparison import Resampling
from headscope.comparison.checkpoints import compare_checkpoints
from headscope.comparison.emergence import Baseline
from headscope.comparison.inclusion import EMERGENCE_METHODS, EmergenceMethod
from headscope.errors import InputError
from headscope.models.wrappers import evaluation_mode, inside_wrappers, own_forward
from headscope.pairs import Pairs, ProblemGroups
from headscope.progress import Progress
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence
from headscope.runs import Execution, RunDirectory, Unit, Work, execute
from headscope.runs.discarding import discard
from headscope.runs.records import Finished
from headscope.runs.remote import local_folder
from headscope.storage import Result

LOGGER = logging.getLogger(__name__)
COUNTS = ("new", "kept", "lost", "contingent")


class HeadTracker(TrainerCallback):  # type: ignore[misc]  # transformers is Any at the border
    """Scores every edge of the model in training, and counts the heads that are new, kept and lost.

    Under several processes the first one scores while the others wait. Once training runs nothing is raised: weights
    that are sharded (FSDP, DeepSpeed stage 3), a resumed training whose ``out`` does not hold the base's scores, or a
    full disk are logged, and training goes on without the counts.

    Args:
        pairs: clean/corrupt pairs the model is scored on.
        every: steps between scorings; None takes the trainer's ``save_steps``, or its epochs if it saves by epochs. The
            last step is scored too, unless the evaluation at an epoch's end stopped training and the best model was
            loaded.
        out: the run directory. A resumed training goes on in it; one that begins anew takes the place of the one that
            was tracked there, whose units stay on disk.
        fresh: other pairs, on which the base alone is scored, for the test-retest null; None takes every second problem
            of ``pairs`` for it.
        name: of the variant in the run directory.
        fraction, resamples, seed: as in ``headscope.comparison.Resampling``.
        settings: passed on to ``headscope.circuits.attribute`` (metric, method, rule, nodes).

    Raises:
        InputError: an argument is out of range, or the null has fewer than two problems.
    """

    def __init__(
        self,
        pairs: Pairs,
        *,
        every: int | None = 100,
        out: str | Path,
        fresh: Pairs | None = None,
        name: str = "training",
        fraction: float = 0.01,
        resamples: int = 200,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if every is not None and (every < 1 or every != int(every)):
            raise InputError(f"every is {every}; a whole number of steps, at least 1, lies between two scorings")
        pair_sets = [pairs] if fresh is None else [pairs, fresh]
        groups = ProblemGroups.of(*((part.problems, len(part)) for part in pair_sets))
        groups.require("the null, for which without fresh pairs every second problem is kept,")
        Resampling(fraction, resamples, seed)
        if own := settings.keys() & {"keep_pairs", "progress"}:
            raise InputError(f"setting {min(own)} is the tracker's own; leave it out")
        check_settings(settings)
        settings = {name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()}
        for setting, value in settings.items():
            if not isinstance(value, str | int | float | None):
                raise InputError(
                    f"setting {setting} is a {type(value).__name__}, which a run directory cannot record; give text or "
                    "a number"
                )
        folder = local_folder(out)
        if folder.is_file():
            raise InputError(f"out {folder} is a file; give a folder for the run, which need not be there yet")
        self.run = RunDirectory(folder)
        self._every = every
        is_main = groups.numbers % 2 == 0
        parts = (pairs[is_main], pairs[~is_main]) if fresh is None else (pairs, fresh)
        self._pairs = dict(zip(("main", "fresh"), parts, strict=True))
        self._name = name
        self._resampling: dict[str, Any] = {"fraction": fraction, "resamples": resamples, "seed": seed}
        self._settings: dict[str, Any] = {"nodes": "adaptive", **settings}
        self._rows: list[dict[str, Any]] = []
        self._base: dict[str, EdgeScores] = {}
        self._baseline: Baseline | None = None
        self._series: dict[EmergenceMethod, list[tuple[int, Emergence]]] = {method: [] for method in EMERGENCE_METHODS}
        self._unlogged: dict[str, float] = {}
        self._tracking = False
        self._last_step = 0
        self._reasons: set[str] = set()
        _let_trackers_stand_first()

    def on_train_begin(
        self, args: object, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: object
    ) -> None:
        """Score the base, or read its scores and those of earlier steps if training is resumed."""
        self._tracking = False
        self._last_step = state.global_step
        if state.is_world_process_zero:
            with self._logging_errors("heads are not tracked"):
                self._begin(state, model)
                self._tracking = True

    def _begin(self, state: TrainerState, model: torch.nn.Module) -> None:
        _require_whole(model)
        self.run.check_lock()
        recorded = self.run.lock()["units"] if state.global_step and self.run.lock_file.exists() else []
        self._baseline = None
        self._rows, self._series = [], {method: [] for method in EMERGENCE_METHODS}
        for name in self._pairs:
            self._write(self._pairs_unit(name))
        if state.global_step == 0:
            self._base = {name: self._score(model, 0, name) for name in self._pairs}
        else:
            self._read(recorded, state.global_step)
        self._record(state)

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: object
    ) -> None:
        """Score the model if it is due, and let the trainer log the counts with this step."""
        if state.global_step >= state.max_steps or self._is_due(args, state):
            self._score_step(state, control, model)

    def on_epoch_end(
        self, args: object, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: object
    ) -> None:
        """Score the model if training was stopped early; Trainer loads the best model only after the epoch's end."""
        if control.should_training_stop and state.global_step != self._last_step:
            self._score_step(state, control, model)

    def on_train_end(
        self, args: Any, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: object
    ) -> None:
        """Score the last step if an epoch's evaluation stopped training, of which no earlier call is told."""
        # With load_best_model_at_end the weights are another step's by now.
        if state.global_step != self._last_step and not args.load_best_model_at_end:
            self._score_step(state, control, model)

    def _is_due(self, args: Any, state: TrainerState) -> bool:
        if self._every is not None:
            return int(state.global_step) % self._every == 0
        if args.save_strategy == SaveStrategy.EPOCH:
            return float(state.epoch).is_integer()  # exact after an epoch's last step, which is then logged too
        return int(state.global_step) % int(state.save_steps) == 0

    def _score_step(self, state: TrainerState, control: TrainerControl, model: torch.nn.Module) -> None:
        self._last_step = state.global_step
        control.should_log = True  # in every process: logging gathers metrics
        if self._tracking:
            with self._logging_errors(f"heads are not tracked at step {state.global_step}"):
                self._compare(state.global_step, self._score(model, state.global_step, "main"))
                self._unlogged = self._counts()
                self._record(state)

    @contextmanager
    def _logging_errors(self, consequence: str) -> Iterator[None]:
        """Log an error in the block instead of raising it, each reason once."""
        try:
            yield
        except Exception as error:  # any error: hours of training are worth more than a scoring
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            if reason not in self._reasons:
                LOGGER.warning("%s: %s; training goes on", consequence, reason)
            self._reasons.add(reason)

    def on_log(
        self, args: object, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **kwargs: object
    ) -> None:
        """Add the counts to the numbers every logger is about to be given."""
        logs.update(self._unlogged)
        if state.log_history:
            state.log_history[-1].update(self._unlogged)
        self._unlogged = {}

    def _pairs_unit(self, name: str) -> Unit:
        pairs = self._pairs[name]
        labels = {"variant": self._name, "pairs": name}
        return _unit("pairs", {"digest": pairs.digest()}, labels, lambda progress: pairs)

    def _score(self, model: torch.nn.Module, step: int, name: str) -> EdgeScores:
        settings = self._settings | {"model": {"step": step, "weights": _weights_digest(model)}}
        labels = {"variant": self._name, "step": step, "pairs": name, "model": self._name if step else "base"}

        def score(progress: Progress) -> EdgeScores:
            with borrow_model(model) as plain:
                return attribute(plain, self._pairs[name], keep_pairs=True, progress=progress, **self._settings)

        unit = _unit("scores", settings, labels, score, {"pairs": self._pairs_unit(name)})
        return EdgeScores.load(self._write(unit))

    def _read(self, recorded: list[dict[str, Any]], until: int) -> None:
        """Read the base's scores from disk, and compare those of later steps, up to ``until``, again."""
        scores: dict[tuple[int, str], EdgeScores] = {}
        for row in recorded:
            labels = row["labels"]
            if row["kind"] == "scores" and labels["step"] <= until:
                scores[labels["step"], labels["pairs"]] = Finished(self._folder(row), labels, EdgeScores).read()
                self._rows.append(row)
        try:
            self._base = {name: scores[0, name] for name in self._pairs}
        except KeyError:
            raise InputError(
                f"{self.run.path} holds no scores of the base, and training resumes at step {until}; "
                "give the directory this training was tracked in"
            ) from None
        for step, name in sorted(scores):
            if step and name == "main":
                self._compare(step, scores[step, name])

    def _compare(self, step: int, scores: EdgeScores) -> None:
        if self._baseline is None:
            methods = {method: Resampling(**self._resampling) for method in EMERGENCE_METHODS}
            self._baseline = Baseline.of(self._base["main"], methods, base_again=self._base["fresh"])
        for method, result in self._baseline.compare(scores).items():
            self._series[method].append((step, result))

    def _counts(self) -> dict[str, float]:
        """Return the last step's numbers of heads, under the names loggers show."""
        _, last = self._series["bootstrap"][-1]
        counts = {f"heads/{name}": float(getattr(last.counts, name).value) for name in COUNTS}
        return counts | {"heads/new_null": float(last.null.new.value)}

    def _write(self, unit: Unit) -> Path:
        """Return the folder of a unit, computed unless it is there. Raises InputError with the reason if that fails."""
        outcome = execute([unit], self.run, Execution(retry=True))
        if outcome.failed:
            raise InputError(outcome.failed[unit.name])
        self._rows.append(unit.row)
        return self.run.folder(unit)

    def _folder(self, row: dict[str, Any]) -> Path:
        folder: Path = self.run.path / "units" / row["kind"] / row["digest"]
        return folder

    def _record(self, state: TrainerState) -> None:
        """Write the comparison so far, then ``study.lock.json``, by which the directory is opened."""
        rows = [row for row in self._rows if row["kind"] != "comparison"]
        outdated = [self._folder(row) for row in self._rows if row["kind"] == "comparison"]
        self._rows = rows
        if self._series["bootstrap"]:
            self._write(self._comparison(state, rows))
        discover = self._resampling | {"pairs": len(self._pairs["main"]), **self._settings}
        study = {"name": self._name, "seed": self._resampling["seed"], "variants": [{"name": self._name}], "tasks": []}
        self.run.write_lock(study | {"discover": discover}, self._rows)
        # Only now: a run that is killed in between opens with the comparison before.
        current = {self._folder(row) for row in self._rows}
        discard(self.run, [folder for folder in outdated if folder not in current])

    def _comparison(self, state: TrainerState, rows: list[dict[str, Any]]) -> Unit:
        rewards = [(int(logs["step"]), float(logs["reward"])) for logs in state.log_history if "reward" in logs]
        paper = [emergence for _, emergence in self._series["paper"]]
        comparison = compare_checkpoints(self._name, self._series["bootstrap"], paper, rewards)
        digests = {f"{row['labels']['pairs']} {row['labels'].get('step')}": row["digest"] for row in rows}
        settings = self._resampling | {"rewards": len(rewards), "scores": digests}
        return _unit("comparison", settings, {"variant": self._name}, lambda progress: comparison)


class TrackedConfig(BaseModel):
    """Settings of a result that was made while a training ran. Nobody can repeat it: the model of that step is gone."""

    model_config = ConfigDict(frozen=True)

    tracked: dict[str, Any]


def _unit(
    kind: str,
    settings: dict[str, Any],
    labels: dict[str, Any],
    make: Callable[[Progress], Result],
    inputs: Mapping[str, Unit] | None = None,
) -> Unit:
    """Return a unit as a study writes it, whose result is made from what this process holds."""
    work = Work(kind, TrackedConfig, lambda config, inputs, progress: make(progress))
    return work.unit(TrackedConfig(tracked=settings), labels, inputs)


@contextmanager
def borrow_model(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Yield the model inside the wrappers of a training, in evaluation mode and with its own forward.

    Afterwards every module's mode and forward and all random states are as they were.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch_state, cuda_states = torch.get_rng_state(), torch.cuda.get_rng_state_all()
    plain = inside_wrappers(model)
    try:
        with evaluation_mode(model), own_forward(plain):
            yield plain
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        torch.cuda.set_rng_state_all(cuda_states)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the next training step may need what scoring took


def _require_whole(model: torch.nn.Module) -> None:
    """Raise InputError if a weight is sharded over processes."""
    for name, parameter in model.named_parameters():
        if parameter.numel() == 0 or isinstance(parameter, DTensor):
            raise InputError(
                f"weight {name} is sharded over processes, and scoring needs whole weights; train without HeadTracker "
                "and give the saved checkpoints to a study (checkpoints: …)"
            )


def _weights_digest(model: torch.nn.Module) -> str:
    """Return a digest of all weights, names and bytes, so that scores with one address are of the same weights."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        flat = parameter.detach().contiguous().view(-1).view(torch.uint8).cpu().numpy()
        digest.update(name.encode())
        digest.update(flat.data)
    return digest.hexdigest()[:16]


def _let_trackers_stand_first() -> None:
    """Let trainers put a HeadTracker before their other callbacks, wherever it is added.

    Trainer asks callbacks in the order of its list, loggers first, and hands every one the same ``logs``: the counts
    reach the loggers only if the tracker is asked before them. No argument of ``add_callback`` chooses the place, and
    no callback is ever given the list, so the method that appends to it is wrapped, once per process.
    """
    add_callback = CallbackHandler.add_callback
    if getattr(add_callback, "places_trackers", False):
        return

    @wraps(add_callback)
    def add_and_sort(handler: CallbackHandler, callback: TrainerCallback | type[TrainerCallback]) -> None:
        add_callback(handler, callback)
        handler.callbacks.sort(key=lambda entry: not isinstance(entry, HeadTracker))  # stable for all others

    add_and_sort.places_trackers = True  # type: ignore[attr-defined]
    CallbackHandler.add_callback = add_and_sort
