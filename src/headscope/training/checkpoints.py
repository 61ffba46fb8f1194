"""Checkpoints on disk, by step; pickles and half-written ones are refused. No torch."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headscope.errors import InputError
from headscope.model_files.folder import check_weights

_STEP = re.compile(r"(?:checkpoint|global_step|step|iter)[-_]?(\d+)")
# What may follow the step in a folder's name: ``checkpoint-100-merged``.
_KIND = re.compile(r"([-_.].*)?")


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """One saved step of a training run: a plain Hugging Face folder."""

    step: int
    path: Path


def list_checkpoints(pattern: str | Path) -> list[Checkpoint]:
    """List the checkpoints in a run directory, or matching a glob such as ``runs/grpo/checkpoint-*``, by step.

    A checkpoint's folder is named ``checkpoint-100`` (also ``step_100``, ``global_step100``), or all of them alike with
    something after the step (``checkpoint-100-merged``). Links to folders of the list are passed over.

    Raises:
        InputError: if there is none, a folder that matches the glob is no checkpoint, two have the same step, or one
            does not load (``check_weights``).
    """
    steps: dict[int, Path] = {}
    for folder in _checkpoint_folders(Path(pattern).expanduser()):
        step = step_of(folder.name)
        assert step is not None
        if step in steps:
            raise InputError(f"checkpoints {steps[step]} and {folder} are both step {step}; a run has one per step")
        check_weights(folder)
        steps[step] = folder
    if not steps:
        raise InputError(f"{pattern} holds no checkpoint; folders named checkpoint-<step> are read")
    return [Checkpoint(step, steps[step]) for step in sorted(steps)]


def step_of(name: str) -> int | None:
    """Return the training step in a name: 1000 for ``checkpoint-1000`` and ``stage1-step1000-tokens5B``.

    None if it tells none, or several.
    """
    # A set: the same step written twice is no contradiction.
    steps = {int(number) for number in _STEP.findall(name)}
    return steps.pop() if len(steps) == 1 else None


def _checkpoint_folders(pattern: Path) -> list[Path]:
    """Return the checkpoints' folders; a path that is itself a checkpoint is a list of one."""
    if pattern.is_dir():
        folders = [path for path in _real_folders(pattern.iterdir()) if _kind(path) is not None]
        # A checkpoint may itself hold folders named like checkpoints; its config.json tells.
        if _kind(pattern) is not None and (not folders or (pattern / "config.json").is_file()):
            return [pattern]
    else:
        anchor = Path(pattern.anchor)
        folders = _real_folders(anchor.glob(str(pattern.relative_to(anchor))))
        ignored = [path for path in folders if _kind(path) is None]
        if ignored:
            raise InputError(
                f"checkpoints {pattern} match {ignored[0]}, whose name tells no step; name a pattern that leaves it "
                "out, or rename it to checkpoint-<step>"
            )
    # ``checkpoint-100`` next to ``checkpoint-100-merged``: the same step twice, or two models in one trajectory.
    kinds = {_kind(path): path for path in folders}
    if len(kinds) > 1:
        first, second = sorted(path.name for path in kinds.values())[:2]
        raise InputError(
            f"checkpoints {pattern} match {first} beside {second}; a run has one kind: name a pattern that only one of "
            "them matches, such as checkpoint-*-merged, and prepare all steps alike"
        )
    return folders


def _real_folders(paths: Iterable[Path]) -> list[Path]:
    """Return the folders among ``paths``, without hidden ones and without links to another of them.

    Raises InputError if a link that is named like a checkpoint leads nowhere.
    """
    visible = sorted(path for path in paths if not path.name.startswith("."))
    for path in visible:
        if path.is_symlink() and not path.exists() and _kind(path) is not None:
            raise InputError(f"checkpoint {path} is a link to {path.readlink()}, which does not exist")
    folders = [path for path in visible if path.is_dir()]
    real = {path.resolve() for path in folders if not path.is_symlink()}
    return [path for path in folders if not path.is_symlink() or path.resolve() not in real]


def _kind(folder: Path) -> str | None:
    """Return what follows the step in a folder's name, its numbers aside; None if the name is no checkpoint's."""
    match = _STEP.match(folder.name)
    if match is None or not _KIND.fullmatch(folder.name[match.end() :]) or step_of(folder.name) is None:
        return None
    return re.sub(r"\d+", "#", folder.name[match.end() :])
