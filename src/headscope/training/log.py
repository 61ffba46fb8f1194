"""The training log: a JSON object per optimiser step in ``log.jsonl``, or read from a Trainer's own state."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headscope.contents import DamagedError
from headscope.errors import InputError
from headscope.storage import parse_object, read_object, replacing


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One optimiser step.

    step: 1 is the first update; the checkpoint of that number holds the weights after it.
    loss: of the step's batch, before the update. Near 0 by construction under GRPO, whose advantages average to 0.
    learning_rate: of the update.
    grad_norm: of the update, before clipping.
    seconds: wall time of the step without saving; NaN if the log's writer kept none.
    reward, reward_sd: mean and standard deviation over the step's completions; None without rewards.
    completion_length: mean tokens per completion.
    clipped: share of completions cut at the limit.
    kl: mean estimated KL to the reference per token; None if beta is 0.
    token_accuracy: share of completion tokens predicted (SFT).
    rewards: mean per reward function.
    """

    step: int
    loss: float
    learning_rate: float
    grad_norm: float | None = None
    seconds: float = float("nan")
    reward: float | None = None
    reward_sd: float | None = None
    completion_length: float | None = None
    clipped: float | None = None
    kl: float | None = None
    token_accuracy: float | None = None
    rewards: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_trainer(cls, step: int, logs: Mapping[str, Any], seconds: float = float("nan")) -> "LogEntry":
        """Make an entry of the dictionary that TRL's trainers log."""
        rewards: dict[str, float] = {}
        for key, mean in logs.items():
            if key.startswith("rewards/") and key.endswith("/mean") and mean is not None:
                rewards[key.removeprefix("rewards/").removesuffix("/mean")] = float(mean)
        optional = {name: _number(logs.get(key)) for name, key in _TRAINER_KEYS.items()}
        loss = float(logs["loss"])
        return cls(step, loss, float(logs["learning_rate"]), seconds=seconds, rewards=rewards, **optional)

    def as_json(self) -> str:
        """Return one line of JSON; what does not apply or is NaN is left out."""
        fields: dict[str, object] = {}
        # Strict JSON knows no NaN.
        for name, number in asdict(self).items():
            if number is not None and number != {} and number == number:  # NaN alone differs from itself
                fields[name] = number
        return json.dumps(fields, allow_nan=False)


_TRAINER_KEYS = {
    "grad_norm": "grad_norm",
    "reward": "reward",
    "reward_sd": "reward_std",
    "completion_length": "completions/mean_length",
    "clipped": "completions/clipped_ratio",
    "kl": "kl",
    "token_accuracy": "mean_token_accuracy",
}


def _number(number: float | int | None) -> float | None:
    return None if number is None or math.isnan(number) else float(number)


def read_log(path: str | Path) -> list[LogEntry]:
    """Read the entries of our ``log.jsonl``, or of the ``trainer_state.json`` of anyone's Trainer, by step.

    Raises InputError if the file is missing or is neither.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"training log {path} is missing")
    try:
        if path.suffix == ".jsonl":
            # Not splitlines, which would split at line breaks inside JSON strings.
            lines = path.read_bytes().split(b"\n")
            return [LogEntry(**parse_object(line, f"line {number}")) for number, line in enumerate(lines, 1) if line]
        history = read_object(path)["log_history"]
        return [LogEntry.from_trainer(int(logs["step"]), logs) for logs in history if "loss" in logs]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"training log {path} is neither a log.jsonl nor a trainer_state.json: {error}") from error


def truncate_log(path: Path, step: int) -> None:
    """Cut our log after ``step``: what a killed run wrote past its last checkpoint is trained again.

    Raises DamagedError if one of the steps up to ``step`` is not in it.
    """
    lines = path.read_bytes().split(b"\n")[: max(step, 0)] if path.is_file() else []
    steps: list[object] = []
    for number, line in enumerate(lines, start=1):
        try:
            steps.append(parse_object(line, f"line {number}")["step"])
        except (InputError, TypeError, KeyError):
            steps.append(None)
    for number in range(1, step + 1):
        if steps[number - 1 : number] != [number]:
            raise DamagedError(
                f"training log {path} is damaged: line {number} is not that of step {number}; with --retry the "
                "training starts again"
            )
    with replacing(path) as partial:
        partial.write_bytes(b"".join(line + b"\n" for line in lines))
