"""Numbers of a study's units, sent to an experiment tracker as the units finish: ``report_to`` in the study file.

The losses of a training are sent while it runs: a thread reads its log every few seconds, whichever process writes it.
The trackers are optional packages; none is a dependency. What is sent says nothing that the run directory does not
hold, and no unit depends on it.
"""

import importlib.util
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

from headscope.errors import InputError
from headscope.runs import RunDirectory, Unit
from headscope.runs.frames import TRAINING
from headscope.runs.leases import holder
from headscope.runs.presence import Presence
from headscope.storage import TRAINING_LOG, parse_object
from headscope.studies.study_file.study import TrackerName

TRACKERS = tuple(name for name in get_args(TrackerName) if name != "none")

NUMBERS: dict[str, tuple[str, ...]] = {
    "train": ("loss", "reward", "learning_rate", "kl"),
    "measures": ("pass_at_k_1", "change", "mean_tokens"),
    "comparison": ("counts_kept", "counts_new", "counts_lost", "null_new", "excess_new"),
    "faithfulness": ("cpr", "cmd"),
    "verdict": ("effect", "excess", "p_value"),
    "evidence": ("effect", "excess", "p_value"),
}
"""Columns of each kind's frame that are sent; other kinds send nothing."""

LOG_SECONDS = 5.0
"""Between two looks at the logs of trainings."""

_NO_NAMES = ("step", "pairs", "model")
"""Labels that are left out of names: the step is the x axis, and scores are told apart by their variant."""


@runtime_checkable
class Tracker(Protocol):
    """An open tracker."""

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Send numbers by name; ``step`` is a training step, 0 of a finished model."""

    def close(self) -> None:
        """End the tracker's run."""


def check_tracker(name: str) -> None:
    """Raise InputError if the tracker's package is not installed, with what installs it."""
    if name != "none" and importlib.util.find_spec(name) is None:
        others = ", ".join(other for other in ("none", *TRACKERS) if other != name)
        raise InputError(f"report_to is {name}, which is not installed: pip install {name} (or name another: {others})")


@contextmanager
def open_tracker(
    name: str, study: str, run: RunDirectory, trainings: Sequence[Unit] = (), presence: Presence | None = None
) -> Iterator[Callable[[Unit], None] | None]:
    """Yield a function that sends the numbers of a finished unit; None for ``none``.

    trainings: units whose losses are sent while they run, from their first step on, also when they are resumed.
    presence: of this command, which does not send the losses of trainings that another does; None sends all.
    Raises InputError if the tracker is not installed, or lacks a package of its own.
    """
    if name == "none":
        yield None
        return
    check_tracker(name)
    openers: dict[str, Callable[[str, Path], Tracker]]
    openers = {"trackio": _Trackio, "wandb": _Wandb, "tensorboard": _TensorBoard}
    try:
        tracker = openers[name](study, run.path)
    except ImportError as error:
        raise InputError(f"report_to is {name}, which cannot be imported: {error}; install what it lacks") from error
    sender = _Sender(run, tracker, name, presence)
    try:
        with sender.follow_trainings([unit for unit in trainings if not run.is_done(unit)]):
            yield sender
    finally:
        with suppress(Exception):  # the study is done, whatever the tracker makes of it
            tracker.close()


class _Sender:
    """Sends the numbers of units until the tracker fails once: no result depends on it."""

    def __init__(self, run: RunDirectory, tracker: Tracker, name: str, presence: Presence | None) -> None:
        self._run, self._tracker, self._name, self._presence = run, tracker, name, presence
        self._has_failed = False
        self._unreadable: set[str] = set()
        self._lock = threading.Lock()
        self._last_steps: dict[str, int] = {}

    def __call__(self, unit: Unit) -> None:
        """Send the numbers of a finished unit; of a training, those of the steps that were not sent yet."""
        if unit.kind == TRAINING:
            self._guard(lambda: self._send_log(unit, self._run.folder(unit)))
        else:
            self._guard(lambda: send(unit, self._run, self._tracker))

    @contextmanager
    def follow_trainings(self, trainings: Sequence[Unit]) -> Iterator[None]:
        """Send the losses of trainings as they are logged, within the block."""
        has_ended = threading.Event()

        def follow() -> None:
            while not has_ended.wait(LOG_SECONDS):
                for unit in trainings:
                    self._guard(partial(self._send_running, unit))

        thread = threading.Thread(target=follow, name="losses", daemon=True)
        if trainings:
            thread.start()
        try:
            yield
        finally:
            has_ended.set()
            if trainings:
                thread.join()

    def _send_running(self, unit: Unit) -> None:
        owner = holder(self._run.folder(unit))
        if self._presence is None or (owner is not None and self._presence.leads(owner[0])):
            self._send_log(unit, self._run.partial(unit))

    def _send_log(self, unit: Unit, folder: Path) -> None:
        last = self._last_steps.get(unit.address, 0)
        for entry in self._read_log(unit, folder / TRAINING_LOG):
            # A resumed training writes steps again that it lost, with the same numbers.
            if entry["step"] > last:
                _log_row(unit, entry, self._tracker)
                self._last_steps[unit.address] = last = entry["step"]

    def _read_log(self, unit: Unit, path: Path) -> Iterator[dict[str, Any]]:
        """Yield the entries of a log that may be being written: its whole lines, none if it is not there (any more).

        What cannot be read is left out, which is said once for each training.
        """
        try:
            lines = path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return
        except OSError as error:
            self._say_unreadable(unit, str(error))
            return
        for number, line in enumerate(lines, start=1):
            place = f"line {number} of {path}"
            try:
                entry = parse_object(line, place)
            except InputError as error:
                self._say_unreadable(unit, str(error))
                continue
            if isinstance(entry.get("step"), int):
                yield entry
            else:
                self._say_unreadable(unit, f"{place} has no step")

    def _say_unreadable(self, unit: Unit, reason: str) -> None:
        if unit.address not in self._unreadable:
            self._unreadable.add(unit.address)
            warnings.warn(f"{self._name} is not sent all of {unit.name}'s losses: {reason}", stacklevel=2)

    def _guard(self, work: Callable[[], None]) -> None:
        """Do the work, one thread at a time, unless the tracker has failed; say it once if it does."""
        with self._lock:
            if self._has_failed:
                return
            try:
                work()
            except Exception as error:
                self._has_failed = True
                warnings.warn(
                    f"{self._name} failed ({type(error).__name__}: {error}); the study goes on and sends it nothing "
                    "more",
                    stacklevel=3,
                )


def send(unit: Unit, run: RunDirectory, tracker: Tracker) -> None:
    """Send the numbers of one finished unit, one call per step."""
    if unit.kind in NUMBERS:
        frame = RunDirectory(run.path, [unit]).frame(unit.kind)
        told = [column for column in ("step", "operator", *NUMBERS[unit.kind]) if column in frame]
        # Faithfulness has a row for each size of circuit, with the same CPR and CMD in all.
        for row in frame[told].drop_duplicates().to_dict("records"):
            _log_row(unit, row, tracker)


def _log_row(unit: Unit, row: Mapping[Any, Any], tracker: Tracker) -> None:
    labels = [str(value) for name, value in unit.labels.items() if name not in _NO_NAMES and value is not None]
    inner = [str(row["operator"])] if unit.kind == "evidence" and "operator" in row else []
    numbers = {column: row.get(column) for column in NUMBERS[unit.kind]}
    sent = {
        "/".join([unit.kind, *labels, *inner, column]): float(value)
        for column, value in numbers.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    if sent:
        step = row.get("step")
        tracker.log(sent, int(step) if isinstance(step, int | float) and math.isfinite(step) else 0)


class _Trackio:
    def __init__(self, study: str, folder: Path) -> None:
        import trackio

        # Its own log() knows the run of the thread that opened it alone.
        self._run: Any = trackio.init(project=study, name=folder.name)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._run.log({**numbers, "step": step})

    def close(self) -> None:
        self._run.finish()


class _Wandb:
    def __init__(self, study: str, folder: Path) -> None:
        import wandb

        self._run: Any = wandb.init(project=study, name=folder.name, dir=str(folder))
        # Units finish in another order than their steps; a run's own step can only grow.
        self._run.define_metric("*", step_metric="step")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._run.log({**numbers, "step": step})

    def close(self) -> None:
        self._run.finish()


class _TensorBoard:
    def __init__(self, study: str, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
