"""A training run's directory as a record, and the file that says what is being trained in it. No torch.

::

    run.json             method, config, model, digest of the data, whether it is complete
    training_args.json   every resolved field of TRL's config, because its defaults drift
    trained_on.txt       the first row as the chat template renders it, marked where the loss is
    log.jsonl            one line per step
    checkpoint-0 …       plain Hugging Face folders; 0 is the base, the last one the final model
    .resume/             optimiser and random state of the newest checkpoint; deleted when the run completes
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headscope.contents import DamagedError
from headscope.errors import InputError
from headscope.storage import TRAINING_LOG, check_keys, check_schema, read_object, replacing
from headscope.training.checkpoints import Checkpoint, list_checkpoints, step_of
from headscope.training.log import LogEntry, read_log
from headscope.training.optimisation import Optimisation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SCHEMA_VERSION = 1
RECORD = "run.json"
ARGUMENTS = "training_args.json"
RENDERED = "trained_on.txt"
SCRATCH = ".resume"

Identity = dict[str, Any]
"""What tells a run from others, as plain JSON values: method, model, teacher, config, data, rewards, chat template."""


@dataclass(frozen=True)
class TrainingRun:
    """A finished run.

    path: its directory. method: ``sft``, ``distill`` or ``grpo``. config: as it was given, plain JSON values.
    checkpoints: by step; the first is the base.
    """

    path: Path
    method: str
    config: dict[str, object]
    checkpoints: tuple[Checkpoint, ...]

    @classmethod
    def load(cls, path: str | Path) -> "TrainingRun":
        """Read a run's directory. Raises InputError if it holds none, or one that has not finished."""
        record = read_record(Path(path))
        if record is None:
            raise InputError(f"{path} holds no training run: {RECORD} is missing")
        if not record["complete"]:
            raise InputError(f"the training run in {path} has not finished; the command that started it resumes it")
        return cls(Path(path), record["method"], record["config"], tuple(list_checkpoints(path)))

    @property
    def final(self) -> Path:
        """Return the folder of the final model."""
        return self.checkpoints[-1].path

    @property
    def log(self) -> list[LogEntry]:
        """Return the log, one entry per step."""
        return read_log(self.path / TRAINING_LOG)

    @property
    def seconds(self) -> float:
        """Return the wall time of all steps in seconds, over every restart, without saving."""
        return sum(entry.seconds for entry in self.log)


def identify(
    config: Optimisation,
    model: str | Path,
    rows: Iterable[Mapping[str, object]],
    tokenizer: "PreTrainedTokenizerBase | None",
    *,
    teacher: str | Path | None = None,
    rewards: list[str] | None = None,
) -> Identity:
    """Return the identity of a run.

    tokenizer: what the run uses instead of the model's own; its chat template is part of the identity.
    rewards: their names.
    """
    settings = config.model_dump(mode="json")
    identity: Identity = {"method": settings["method"], "model": str(model)}
    if teacher is not None:
        identity["teacher"] = str(teacher)
    identity |= {"config": settings, "data": _digest(rows)}
    if rewards is not None:
        identity["rewards"] = rewards
    if tokenizer is not None:
        identity["chat_template"] = hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()
    return identity


def _digest(rows: Iterable[Mapping[str, object]]) -> str:
    """Return the SHA-256 over the rows as JSON lines, so that a run is never resumed on other data."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return sha.hexdigest()


def last_saved_step(out: Path) -> int:
    """Return the step that a run in ``out`` goes on from: -1 if from none, a huge one if it is complete."""
    try:
        record = read_record(out)
    except InputError:
        return -1
    if record is not None and record["complete"]:
        return sys.maxsize
    steps = [step_of(folder.name) for folder in (out / SCRATCH).glob("step-*")]
    return max([step for step in steps if step is not None], default=-1)


def read_record(out: Path) -> dict[str, Any] | None:
    """Read ``run.json``; None if there is none.

    Raises DamagedError if it is no whole record, InputError if a newer headscope wrote it.
    """
    path = out / RECORD
    if not path.is_file():
        return None
    try:
        record = read_object(path)
        check_keys(record, ("schema_version", "method", "config", "complete"), path)
    except InputError as error:
        raise DamagedError(f"{error}; with --retry the training starts again") from None
    check_schema(record, str(path), SCHEMA_VERSION)
    return record


def write_record(out: Path, identity: Identity, *, complete: bool) -> None:
    """Write ``run.json`` in one rename."""
    record = {"schema_version": SCHEMA_VERSION, **identity, "complete": complete}
    with replacing(out / RECORD) as partial:
        partial.write_text(json.dumps(record, indent=1))


def check_same(out: Path, record: Identity, identity: Identity) -> None:
    """Raise InputError if ``out`` holds another run than ``identity``, naming the first difference."""
    recorded = {**record, **record["config"]}
    requested = {**identity, **identity["config"]}
    settings = dict.fromkeys([*identity["config"], *record["config"]])  # a setting without a value is left out
    for key in ("method", "model", "chat_template", "teacher", *settings, "data", "rewards"):
        if recorded.get(key) != requested.get(key):
            raise InputError(
                f"{out} holds a run with {key} {recorded.get(key)!r}, not {requested.get(key)!r}; "
                "give another directory or delete it"
            )
