"""References in a study file: tasks, and files whose paths are relative to it."""

from pathlib import Path
from typing import Any

from headscope.evaluation import TaskFile
from headscope.evaluation.table_files import SUFFIXES

TaskRef = str | TaskFile


def task_name(ref: TaskRef) -> str:
    """Return what results call a task."""
    if isinstance(ref, TaskFile):
        return ref.name or Path(ref.file).stem
    return Path(ref).stem if Path(ref).suffix in SUFFIXES else ref


def same_task(first: TaskRef, second: TaskRef) -> bool:
    """Return whether two references name one task, however their file is written."""
    return _normal(first) == _normal(second)


def same_problems(first: TaskRef, second: TaskRef) -> bool:
    """Return whether two references name one task, or one file whatever is read of it."""
    normal = _normal(first), _normal(second)
    files = [ref.file if isinstance(ref, TaskFile) else ref for ref in normal]
    return files[0] == files[1]


def _normal(ref: TaskRef) -> TaskRef:
    if isinstance(ref, str):
        if Path(ref).suffix not in SUFFIXES:
            return ref
        ref = TaskFile(file=ref)
    return ref.model_copy(update={"file": str(Path(ref.file).expanduser().resolve())})


_PATHS = {"model", "tokenizer", "chat_template", "checkpoints", "reward_log", "file", "dataset", "teacher", "data_dir"}


def resolve_paths(value: Any, folder: Path, key: str = "") -> Any:
    """Make relative paths that exist below ``folder`` absolute; names of models, tasks and hub ids stay as they are."""
    if isinstance(value, dict):
        return {name: resolve_paths(inner, folder, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [resolve_paths(inner, folder, key) for inner in value]
    if isinstance(value, str) and (key in _PATHS or key in ("tasks", "guard")):
        if key == "checkpoints":  # of a mapping, the model is found by its own key
            return str(folder / Path(value).expanduser())
        names_a_file = key == "file" or Path(value).suffix in SUFFIXES
        # A file that is nowhere is looked for next to the study, and the sentence that it is missing says so.
        if (folder / value).exists() or (names_a_file and not Path(value).expanduser().exists()):
            return str((folder / value).resolve())
    return value
