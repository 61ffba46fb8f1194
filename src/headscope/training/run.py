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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.training.checkpoints import Checkpoint, list_checkpoints
from headscope.training.log import LogEntry, read_log

SCHEMA_VERSION = 1
RECORD, ARGUMENTS, LOG, SCRATCH = "run.json", "training_args.json", "log.jsonl", ".resume"
RENDERED = "trained_on.txt"


@dataclass(frozen=True)
class TrainingRun:
    """A finished run.

    path: its directory. method: ``sft``, ``distill`` or ``grpo``. config: as given, plain JSON values.
    checkpoints: by step; the first is the base.
    """

    path: Path
    method: str
    config: dict[str, Any]
    checkpoints: tuple[Checkpoint, ...]

    @classmethod
    def load(cls, path: str | Path) -> "TrainingRun":
        """Read a run's directory. Raises InputError where it holds none, or one that has not finished."""
        record = read_record(Path(path))
        if record is None:
            raise InputError(f"{path} holds no training run: {RECORD} is missing")
        if not record["complete"]:
            raise InputError(f"the training run in {path} has not finished; the command that started it resumes it")
        return cls(Path(path), record["method"], record["config"], tuple(list_checkpoints(path)))

    @property
    def final(self) -> Path:
        """Folder of the final model."""
        return self.checkpoints[-1].path

    @property
    def log(self) -> list[LogEntry]:
        """One entry per step."""
        return read_log(self.path / LOG)

    @property
    def seconds(self) -> float:
        """Wall time of all steps, over every restart, without saving."""
        return sum(entry.seconds for entry in self.log)


def read_record(out: Path) -> dict[str, Any] | None:
    """``run.json``, or None. Raises InputError where a newer headscope wrote it."""
    path = out / RECORD
    if not path.is_file():
        return None
    record = dict(json.loads(path.read_text()))
    if record["schema_version"] > SCHEMA_VERSION:
        raise InputError(f"{path} has schema {record['schema_version']}; this headscope reads up to {SCHEMA_VERSION}")
    return record


def write_record(out: Path, identity: Mapping[str, Any], *, complete: bool) -> None:
    """Write ``run.json`` in one rename."""
    record = {"schema_version": SCHEMA_VERSION, **identity, "complete": complete}
    temporary = out / f".{RECORD}.tmp"
    temporary.write_text(json.dumps(record, indent=1))
    temporary.replace(out / RECORD)


def check_same(out: Path, record: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise InputError where ``out`` holds another run than asked for, naming the first difference."""
    found, asked = ({**each, **each["config"]} for each in (record, identity))
    for key in ("method", "model", "chat_template", "teacher", *identity["config"], "data", "rewards"):
        if found.get(key) != asked.get(key):
            raise InputError(
                f"{out} holds a run with {key} {found.get(key)!r}, not {asked.get(key)!r}; "
                "give another directory or delete it"
            )


def spoken(tokenizer: Any) -> dict[str, str]:
    """What a run's identity says of a tokenizer that is not the model's own."""
    if tokenizer is None:
        return {}
    return {"chat_template": hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()}


def digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over the rows as JSON lines, so that a run is never resumed on other data."""
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return hashed.hexdigest()
