"""The callback that writes the log, moves the progress bar and stops a run that diverges."""

import math
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from headscope.errors import InputError
from headscope.progress import Bar, Progress
from headscope.training.log import LogEntry

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class Reporter(TrainerCallback):  # type: ignore[misc]  # transformers is Any at the border
    """One line of ``log`` and one step of the bar per optimiser step.

    A step whose loss or gradient is not finite raises InputError before anything of it is saved.
    """

    def __init__(self, log: Path, progress: Progress, label: str) -> None:
        self._log = log
        self._progress = progress
        self._label = label
        self._opened: AbstractContextManager[Bar] | None = None
        self._bar: Bar | None = None
        self._started = 0.0

    def on_train_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: object
    ) -> None:
        """Open the bar, at the step the run is resumed at."""
        if state.is_world_process_zero:
            self._opened = self._progress.bar(self._label, state.max_steps, state.global_step)
            self._bar = self._opened.__enter__()
            if state.global_step:
                self._bar.advance(0, f"resumed at step {state.global_step}")

    def on_step_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: object
    ) -> None:
        """Start the step's clock: sampling and rewards are inside it, saving is not."""
        self._started = time.perf_counter()

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: dict[str, Any],
        **kwargs: object,
    ) -> None:
        """Check and record a step; Trainer's closing summary has no loss and is left out."""
        if "loss" not in logs:
            return
        entry = LogEntry.from_trainer(state.global_step, logs, time.perf_counter() - self._started)
        # Trainer logs a step before it saves it, so that a step refused here leaves no checkpoint.
        _require_finite(entry.step, logs)
        if self._bar is not None:  # in the first process
            with self._log.open("a") as file:
                file.write(entry.as_json() + "\n")
                file.flush()
                os.fsync(file.fileno())  # a state that is resumed from counts on the lines before it
            self._bar.advance(1, _note(entry))

    def close(self) -> None:
        """Close the bar, whether or not training got to its end."""
        if self._opened is not None:
            self._opened.__exit__(None, None, None)


def _require_finite(step: int, logs: dict[str, Any]) -> None:
    for name in ("loss", "grad_norm"):
        number = logs.get(name)
        if number is not None and not math.isfinite(float(number)):
            raise InputError(
                f"training diverged at step {step}: {name} is {float(number)}; lower learning_rate, which was "
                f"{logs['learning_rate']:.2g} (the checkpoints before it are kept)"
            )


def _note(entry: LogEntry) -> str:
    if entry.reward is None:
        return f"loss {entry.loss:.3f}"
    return f"reward {entry.reward:.2f}, {entry.completion_length or 0:.0f} tokens"
