"""The record of a loaded model, and its conversion to a plain model."""

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from headscope.errors import InputError
from headscope.model_files.named_models import model_title
from headscope.models.hooks import HIDDEN_FROM_HOOKS
from headscope.models.wrappers import inside_wrappers


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under study.

    model: the plain Hugging Face causal language model, in evaluation mode.
    tokenizer: its Hugging Face tokenizer, or None if the folder has none.
    name: its name in results: the path or hub id it was loaded from, or its own name (``lab-s``).
    revision: the commit on the hub, or None for a folder.
    """

    model: PreTrainedModel
    tokenizer: Any
    name: str
    revision: str | None = None

    def __repr__(self) -> str:
        config = self.model.config
        tokenizer_note = "" if self.tokenizer is not None else ", no tokenizer"
        return f"Subject: {self.name} ({config.model_type}, {self.model.num_parameters():,} parameters{tokenizer_note})"


SubjectOrModel = Subject | nn.Module
"""What every function takes: a ``Subject``, a Hugging Face model, or PEFT's wrapper around one."""


def as_model(model: object) -> PreTrainedModel:
    """Return the Hugging Face model of a ``Subject`` or a ``PeftModel`` (with its adapters), or a plain model itself.

    Raises InputError as ``plain_model`` does, and if the model is compiled or in training mode (dropout would make
    results random).
    """
    if hasattr(model.model if isinstance(model, Subject) else model, "_orig_mod"):
        # Inside it, hooks would act on a model that the caller does not run.
        raise InputError(f"the model is compiled: {HIDDEN_FROM_HOOKS}")
    plain = plain_model(model)
    for path, module in plain.named_modules():
        if module.training:
            name = f"model {plain.config.model_type} is in training mode ({path or 'all of it'})"
            raise InputError(f"{name}; call model.eval() first")
    return plain


def plain_model(model: object) -> PreTrainedModel:
    """Return the Hugging Face model of a ``Subject``, inside the wrappers of a training, or itself, in any mode.

    Raises InputError if it is none of these, has no unembedding, or has adapters that change no weights.
    """
    plain = model.model if isinstance(model, Subject) else model
    plain = inside_wrappers(plain) if isinstance(plain, nn.Module) else plain
    if not isinstance(plain, PreTrainedModel):
        raise InputError(f"model is a {type(plain).__name__}; give a Subject from load_model or a Hugging Face model")
    if plain.get_output_embeddings() is None:
        raise InputError(
            f"model is a {type(plain).__name__}, which has no unembedding; give the causal language model it belongs to"
        )
    return plain


def name_of(model: SubjectOrModel) -> str:
    """Return the name of a ``Subject`` or a plain model; its architecture's name if it was not loaded from a place."""
    if isinstance(model, Subject):
        return model.name
    config: Any = model.config
    return model_title(config.name_or_path or config.model_type)
