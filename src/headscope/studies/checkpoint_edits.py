"""The edits of heads that a checkpoint can hold: scaling, constants, and the weights of another model."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

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
from headscope.models import Subject, head_access, load_model
from headscope.operator_names import OPERATORS
from headscope.studies.models.files import model_path


@dataclass(frozen=True, eq=False)
class EditedModel:
    """An edited copy of a model, and what it must compute.

    subject: the copy.
    hooks: a context manager in which the original computes what the copy does.
    description: the edit in words.
    needs_biases: whether the copy must have biases on o_proj, which some architectures' checkpoints cannot hold.
    record: what else a user should know of the edit, as JSON values.
    """

    subject: Subject
    hooks: AbstractContextManager[None]
    description: str
    needs_biases: bool = False
    record: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class CheckpointEdit(Protocol):
    """An edit of heads that weights can hold."""

    def apply(self, subject: Subject, heads: HeadSet) -> EditedModel:
        """Return a copy of ``subject`` in which ``heads`` are edited; ``subject`` is unchanged."""


@dataclass(frozen=True)
class Scaling:
    """Multiply what the heads write by ``alpha``; 0 is the operator ``zero``."""

    alpha: float

    def apply(self, subject: Subject, heads: HeadSet) -> EditedModel:
        """See ``CheckpointEdit``."""
        edited = edit_weights(subject, {str(head): self.alpha for head in heads})
        description = f"scale {self.alpha:g}" if self.alpha else "zero"
        return EditedModel(edited, scale(subject, heads, self.alpha), description)


@dataclass(frozen=True)
class ConstantReplacement:
    """Let the heads write constants: ``operator`` is mean or optimal.

    reference: a text file with one text per line, on which the constants are computed.
    """

    operator: str
    reference: Path | None

    def apply(self, subject: Subject, heads: HeadSet) -> EditedModel:
        """See ``CheckpointEdit``. Raises InputError if the reference is missing or its texts have several parts."""
        values = self._constants(subject)
        factors = {str(head): 0.0 for head in heads}
        constants = {str(head): values[head.layer, head.head] for head in heads}
        edited = edit_weights(subject, factors, constants)
        return EditedModel(edited, constant(subject, heads, values), self.operator, needs_biases=True)

    def _constants(self, subject: Subject) -> Float[np.ndarray, "layer head d_head"]:
        fill = make_replacement(subject, self.operator, _read_texts(subject, self.reference)).fill
        if not isinstance(fill, Constants):
            raise InputError(
                f"operator {self.operator} has a mean for each part of the texts in {self.reference} (prompt, "
                "thinking, answer), and weights hold one constant per head; give texts without think markers, or use "
                "optimal"
            )
        return np.asarray(fill.values)


@dataclass(frozen=True)
class Reversion:
    """Give the heads the weights of ``base``: a folder, a hub id or a built-in name.

    kv: when the keys and values of a group are taken (``operator_names.SharedKv``).
    """

    base: str
    kv: str = "all"

    def apply(self, subject: Subject, heads: HeadSet) -> EditedModel:
        """See ``CheckpointEdit``. Raises InputError if the base has another shape or the same weights."""
        base = load_model(model_path(self.base), dtype=str(subject.model.dtype).removeprefix("torch."))
        edited = revert_weights(subject, heads, base, kv=self.kv)
        before = subject.model.state_dict()
        after = edited.model.state_dict()
        if all(torch.equal(weight, after[name]) for name, weight in before.items() if name in after):
            raise InputError(
                f"{heads} of {subject.name} have the weights of {base.name} already, so revert changes nothing; name "
                "heads that training changed, or another base"
            )
        hooks = revert(subject, heads, base, kv=self.kv)
        record = {"kv": self.kv, "shared": self._shared_with(subject, heads).names()}
        return EditedModel(edited, hooks, f"revert to {base.name}", record=record)

    def _shared_with(self, subject: Subject, heads: HeadSet) -> HeadSet:
        """Return the other heads whose keys and values change too."""
        access = head_access(subject.model)
        if self.kv != "any":
            return HeadSet(())
        groups = {(head.layer, head.head // access.groups) for head in heads}
        members = [(layer, group * access.groups + index) for layer, group in groups for index in range(access.groups)]
        return HeadSet.of(members) - heads


def choose_edit(
    operator: str | None = None,
    alpha: float | None = None,
    reference: Path | None = None,
    base: str | None = None,
    kv: str | None = None,
) -> CheckpointEdit:
    """Return the edit that the options of ``headscope export`` describe; without any, the operator is zero.

    Args:
        operator: zero, mean, optimal or revert.
        alpha: what the heads' writes are multiplied by, instead of an operator.
        reference: see ``ConstantReplacement``.
        base: see ``Reversion``. A post-trained model's weights are grafted into a base in this way too.
        kv: see ``Reversion``.

    Raises:
        InputError: if weights cannot hold the operator, or an option is missing or belongs to another edit.
    """
    if operator is not None and alpha is not None:
        raise InputError(f"found --operator {operator} and --alpha {alpha:g}; give one of them")
    name = "scaling" if alpha is not None else operator or "zero"
    if reference is not None and name not in ("mean", "optimal"):
        raise InputError(f"--reference is for mean and optimal, and {name} needs no texts")
    if name == "revert":
        if base is None:
            raise InputError("operator revert needs the model whose weights the heads take; name it with --base")
        return Reversion(base, kv or "all")
    if base is not None:
        raise InputError(f"--base is for operator revert, and {name} needs no other model")
    if kv is not None:
        raise InputError(f"--kv is for operator revert, and {name} leaves keys and values as they are")
    if name in ("scaling", "zero"):
        return Scaling(alpha or 0.0)
    if name in ("mean", "optimal"):
        return ConstantReplacement(name, reference)
    fault = "changes from token to token" if name in OPERATORS else "does not exist"
    raise InputError(f"operator {name} {fault}; weights can hold zero, mean, optimal and revert, and --alpha")


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
