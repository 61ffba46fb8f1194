"""Numbers of a study's units, sent to an experiment tracker as the units finish: ``report_to`` in the study file.

The trackers are optional packages; none is a dependency. What is sent says nothing that the run directory does not
hold, and no unit depends on it.
"""

import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from headscope.errors import InputError
from headscope.runs import RunDirectory, Unit

TrackerName = Literal["none", "trackio", "wandb", "tensorboard"]
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

_NO_NAMES = ("step", "pairs", "model")
"""Labels that stand in no name: the step is the x axis, and scores are told apart by their variant."""


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
def open_tracker(name: str, study: str, run: RunDirectory) -> Iterator[Callable[[Unit], None] | None]:
    """Yield a function that sends the numbers of a finished unit; None for ``none``.

    Raises InputError if the tracker is not installed.
    """
    if name == "none":
        yield None
        return
    check_tracker(name)
    openers: dict[str, Callable[[str, Path], Tracker]]
    openers = {"trackio": _Trackio, "wandb": _Wandb, "tensorboard": _TensorBoard}
    tracker = openers[name](study, run.path)
    try:
        yield _Sender(run, tracker, name)
    finally:
        with suppress(Exception):  # the study is done, whatever the tracker makes of it
            tracker.close()


class _Sender:
    """Sends the numbers of units until the tracker fails once: no result depends on it."""

    def __init__(self, run: RunDirectory, tracker: Tracker, name: str) -> None:
        self._run, self._tracker, self._name = run, tracker, name
        self._has_failed = False

    def __call__(self, unit: Unit) -> None:
        if self._has_failed:
            return
        try:
            send(unit, self._run, self._tracker)
        except Exception as error:
            self._has_failed = True
            warnings.warn(
                f"{self._name} failed ({type(error).__name__}: {error}); the study goes on and sends it nothing more",
                stacklevel=2,
            )


def send(unit: Unit, run: RunDirectory, tracker: Tracker) -> None:
    """Send the numbers of one finished unit, one call per step."""
    if unit.kind not in NUMBERS:
        return
    frame = RunDirectory(run.path, [unit]).frame(unit.kind)
    labels = [str(value) for name, value in unit.labels.items() if name not in _NO_NAMES and value is not None]
    for row in frame.to_dict("records"):
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

        self._module: Any = trackio
        self._module.init(project=study, name=folder.name)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._module.log({**numbers, "step": step})

    def close(self) -> None:
        self._module.finish()


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
