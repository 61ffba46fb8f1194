"""Write an edited copy of a model as a checkpoint that any engine can serve, and prove that it is one."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.interventions import (
    Constants,
    Text,
    constant,
    edit_weights,
    make_replacement,
    revert,
    revert_weights,
    scale,
)
from headscope.interventions.head_edits import head_grid
from headscope.models import Subject, head_access, load_model
from headscope.models.loading import without_progress_bars
from headscope.models.validation import rounding_tolerance
from headscope.operator_names import OPERATORS
from headscope.studies.models.stages import model_path

_PROBE = 16  # tokens


def export_edited(
    model: str,
    heads: Sequence[str],
    out: Path,
    *,
    operator: str = "zero",
    alpha: float | None = None,
    reference: Path | None = None,
    base: str | None = None,
    kv: str = "all",
    dtype: str = "float32",
) -> dict[str, Any]:
    """Save ``model`` with ``heads`` edited into ``out``, and return what was edited, as JSON values.

    Args:
        model: a folder, a hub id or a built-in name.
        heads: to edit, by name.
        out: a new or empty folder.
        operator: zero, mean, optimal or revert; ``alpha`` scales instead.
        alpha: what the heads' writes are multiplied by.
        reference: for mean and optimal, a text file with one text per line.
        base: for revert, the model whose weights the heads take. A post-trained model's are grafted in this way too.
        kv: when revert takes the keys and values of a group (``operator_names.SharedKv``).
        dtype: of the checkpoint.

    The folder is loaded again and held against the hooks.

    Raises:
        InputError: a head does not exist, the operator is no constant, the reference is missing or has several parts,
            the base is missing, of another shape or has the same weights, the folder is not empty, or the checkpoint
            cannot hold the edit.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"folder {out} is not empty; name another with --out")
    is_reverted = alpha is None and operator == "revert"
    if is_reverted != (base is not None):
        raise InputError(
            "operator revert needs the model whose weights the heads take; name it with --base"
            if is_reverted
            else f"--base is for operator revert, and {operator if alpha is None else 'scaling'} needs no other model"
        )
    subject = load_model(model_path(model), dtype=dtype)
    chosen = HeadSet.from_grid(head_grid(subject, heads))
    if base is not None:
        return _export_reverted(subject, chosen, load_model(model_path(base), dtype=dtype), kv, out)
    values = None if alpha is not None else _constants(subject, operator, reference)
    factors = {str(head): 0.0 if alpha is None else alpha for head in chosen}
    added = None if values is None else {str(head): values[head.layer, head.head] for head in chosen}
    edited = edit_weights(subject, factors, added)
    description = f"scale {alpha:g}" if alpha is not None else operator
    hooks = scale(subject, chosen, alpha or 0.0) if values is None else constant(subject, chosen, values)
    try:
        difference = _write_and_prove(edited, out, subject, hooks)
    except InputError as error:
        if values is None:
            raise
        raise InputError(
            f"a {subject.model.config.model_type} checkpoint cannot hold this edit: {operator} needs a bias on o_proj, "
            f"zero and scaling need none ({error})"
        ) from error
    return _described(edited, chosen, description, difference, out)


def _export_reverted(subject: Subject, heads: HeadSet, base: Subject, kv: str, out: Path) -> dict[str, Any]:
    edited = revert_weights(subject, heads, base, kv=kv)
    before, after = subject.model.state_dict(), edited.model.state_dict()
    if all(torch.equal(weight, after[name]) for name, weight in before.items() if name in after):
        raise InputError(
            f"{heads} of {subject.name} have the weights of {base.name} already, so revert changes nothing; name heads "
            "that training changed, or another base"
        )
    difference = _write_and_prove(edited, out, subject, revert(subject, heads, base, kv=kv))
    shared = _sharing(subject, heads, kv)
    return _described(edited, heads, f"revert to {base.name}", difference, out) | {"kv": kv, "shared": shared.names()}


def _sharing(subject: Subject, heads: HeadSet, kv: str) -> HeadSet:
    """Return the other heads whose keys and values change too."""
    access = head_access(subject.model)
    if kv != "any":
        return HeadSet(())
    groups = {(head.layer, head.head // access.groups) for head in heads}
    members = [(layer, group * access.groups + index) for layer, group in groups for index in range(access.groups)]
    return HeadSet.of(members) - heads


def _described(edited: Subject, heads: HeadSet, operator: str, difference: float, out: Path) -> dict[str, Any]:
    return {
        "heads": heads.names(),
        "operator": operator,
        "architecture": edited.model.config.model_type,
        "difference": difference,
        "open": str(out),
    }


def _write_and_prove(edited: Subject, out: Path, subject: Subject, hooks: AbstractContextManager[None]) -> float:
    """Write ``edited``, load it again, and return how far its logits are from those of ``subject`` under the hooks.

    Raises InputError if the folder does not load, or computes something else; nothing is left of it then.
    """
    with _write_aside(out) as aside:
        with without_progress_bars():
            edited.model.save_pretrained(aside)
        if edited.tokenizer is not None:
            edited.tokenizer.save_pretrained(aside)
        # Proved on what was written: some classes drop a bias on loading.
        saved = load_model(aside, dtype=str(subject.model.dtype).removeprefix("torch."))
        difference = _difference(subject, hooks, saved)
        if difference > rounding_tolerance(subject.model.dtype):
            raise InputError(
                f"its class leaves out some of it on loading: logits are off by {difference:.1g} of the largest"
            )
    return difference


@contextmanager
def _write_aside(out: Path) -> Iterator[Path]:
    """Yield a folder next to ``out`` that takes its place after the block; if that fails, nothing is left of it."""
    aside = out.with_name(f".{out.name}.partial")
    rmtree(aside, ignore_errors=True)
    try:
        yield aside
        if out.exists():
            out.rmdir()
        aside.rename(out)
    finally:
        rmtree(aside, ignore_errors=True)


def _constants(subject: Subject, operator: str, reference: Path | None) -> Any:
    """Return what heads write instead, [layer, head, d_head], or None for zero."""
    if operator not in ("zero", "mean", "optimal"):
        kind = "changes from token to token" if operator in OPERATORS else "does not exist"
        raise InputError(f"operator {operator} {kind}; weights can hold zero, mean, optimal and revert, and --alpha")
    if operator == "zero":
        return None
    fill = make_replacement(subject, operator, _read_texts(subject, reference)).fill
    if not isinstance(fill, Constants):
        raise InputError(
            f"operator {operator} has a mean for each part of the texts in {reference} (prompt, thinking, answer), and "
            "weights hold one constant per head; give texts without think markers, or use optimal"
        )
    return fill.values


def _read_texts(subject: Subject, reference: Path | None) -> list[Text]:
    if reference is None or not reference.is_file() or subject.tokenizer is None:
        lacking = "no tokenizer" if subject.tokenizer is None else f"reference {reference}"
        raise InputError(f"mean and optimal need a text file with one text per line and a tokenizer; found {lacking}")
    lines = [line for line in reference.read_text(encoding="utf-8").split("\n") if line.strip()]
    ids = [subject.tokenizer(line, add_special_tokens=False)["input_ids"] for line in lines]
    texts = [Text(tuple(line_ids[:1]), tuple(line_ids[1:])) for line_ids in ids if len(line_ids) > 1]
    if not texts:
        raise InputError(f"{reference} holds no line of two tokens or more")
    return texts


@torch.inference_mode()
def _difference(subject: Subject, hooks: AbstractContextManager[None], saved: Subject) -> float:
    """Return the largest difference of logits between saved model and hooks on a probe, relative to the largest."""
    device = subject.model.device
    ids = torch.arange(_PROBE, device=device)[None] % subject.model.config.vocab_size
    with hooks:
        expected = subject.model(ids).logits.float()
    actual = saved.model(ids).logits.float()
    return float((actual - expected).abs().max() / expected.abs().max())
