"""Write an edited copy of a model as a checkpoint that any engine can serve, and prove that it is one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.interventions.head_edits import head_grid
from headscope.models import Subject, load_model
from headscope.models.loading import without_progress_bars
from headscope.models.validation import rounding_tolerance
from headscope.storage import rename
from headscope.studies.checkpoint_edits import CheckpointEdit, EditedModel
from headscope.studies.models.files import model_path

_PROBE = 16  # tokens


def export_edited(
    model: str, heads: Sequence[str], out: Path, edit: CheckpointEdit, *, dtype: str = "float32"
) -> dict[str, Any]:
    """Save ``model`` with ``heads`` edited into ``out``, and return what was edited, as JSON values.

    The folder is loaded again, and its logits are compared with those of the model under the edit's hooks.

    Args:
        model: a folder, a hub id or a built-in name.
        heads: to edit, by name.
        out: a new or empty folder.
        edit: what is done to the heads.
        dtype: of the checkpoint.

    Raises:
        InputError: if a head does not exist, the edit cannot be made, the folder is not empty, or the checkpoint cannot
            hold the edit.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"folder {out} is not empty; name another with --out")
    subject = load_model(model_path(model), dtype=dtype)
    head_set = HeadSet.from_grid(head_grid(subject, heads))
    edited = edit.apply(subject, head_set)
    difference = _write_and_prove(edited, out, subject)
    record = {
        "heads": head_set.names(),
        "operator": edited.description,
        "architecture": edited.subject.model.config.model_type,
        "difference": difference,
        "open": str(out),
    }
    return record | edited.record


def _write_and_prove(edited: EditedModel, out: Path, subject: Subject) -> float:
    """Write ``edited``, load it again, and return how far its logits are from those of ``subject`` under the hooks.

    Raises InputError if the folder does not load, or computes something else; nothing is left of it then.
    """
    try:
        with _write_aside(out) as aside:
            _save(edited.subject, aside)
            # Proved on what was written: some classes drop a bias on loading.
            saved = load_model(aside, dtype=str(subject.model.dtype).removeprefix("torch."))
            difference = _difference(subject, edited, saved)
            if difference > rounding_tolerance(subject.model.dtype):
                raise InputError(
                    f"its class leaves out some of it on loading: logits are off by {difference:.1g} of the largest"
                )
    except InputError as error:
        if not edited.needs_biases:
            raise
        raise InputError(
            f"a {subject.model.config.model_type} checkpoint cannot hold this edit: {edited.description} needs a bias "
            f"on o_proj, zero and scaling need none ({error})"
        ) from error
    return difference


def _save(subject: Subject, folder: Path) -> None:
    with without_progress_bars():
        subject.model.save_pretrained(folder)
    if subject.tokenizer is not None:
        subject.tokenizer.save_pretrained(folder)


@contextmanager
def _write_aside(out: Path) -> Iterator[Path]:
    """Yield a folder next to ``out`` that takes its place after the block; if that fails, nothing is left of it."""
    aside = out.with_name(f".{out.name}.partial")
    rmtree(aside, ignore_errors=True)
    try:
        yield aside
        if out.exists():
            out.rmdir()
        rename(aside, out)
    finally:
        rmtree(aside, ignore_errors=True)


@torch.inference_mode()
def _difference(subject: Subject, edited: EditedModel, saved: Subject) -> float:
    """Return the largest difference of logits between saved model and hooks on a probe, relative to the largest."""
    device = subject.model.device
    ids = torch.arange(_PROBE, device=device)[None] % subject.model.config.vocab_size
    with edited.hooks:
        expected = subject.model(ids).logits.float()
    actual = saved.model(ids).logits.float()
    return float((actual - expected).abs().max() / expected.abs().max())
