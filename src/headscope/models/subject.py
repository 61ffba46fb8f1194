"""The record of a loaded model, and the one place where a record or a plain model becomes a plain model."""

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from headscope import named_models
from headscope.errors import InputError
from headscope.models.hooks import UNSEEN
from headscope.models.wrappers import inside_wrappers


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under study.

    model: the plain Hugging Face causal language model, in evaluation mode.
    tokenizer: its tokenizer, or None where the folder has none.
    name: what results call it: the path or hub id it was loaded from, or its name if it has one (``lab-s``).
    revision: the commit on the hub, or None for a folder.
    """

    model: PreTrainedModel
    tokenizer: Any
    name: str
    revision: str | None = None

    def __repr__(self) -> str:
        config, tokens = self.model.config, "" if self.tokenizer is not None else ", no tokenizer"
        return f"Subject: {self.name} ({config.model_type}, {self.model.num_parameters():,} parameters{tokens})"


def as_model(model: Any) -> PreTrainedModel:
    """Return the Hugging Face model of a ``Subject``, of a ``PeftModel`` (its adapters in place) or of itself.

    Raises InputError where it is neither, or is in training mode (dropout would make every number a random
    draw).
    """
    plain = model.model if isinstance(model, Subject) else model
    if hasattr(plain, "_orig_mod"):  # looked through, its hooks would act on nothing the caller runs
        raise InputError(f"the model is compiled: {UNSEEN}")
    plain = inside_wrappers(plain)
    if not isinstance(plain, PreTrainedModel):
        raise InputError(f"model is a {type(plain).__name__}; give a Subject from load_model or a Hugging Face model")
    if training := [path or "all of it" for path, module in plain.named_modules() if module.training]:
        found = f"model {plain.config.model_type} is in training mode ({training[0]})"
        raise InputError(f"{found}; call model.eval() first")
    return plain


def name_of(model: Any) -> str:
    """Return what a ``Subject`` or a plain model is called; the architecture's name if it was loaded from nowhere."""
    if isinstance(model, Subject):
        return model.name
    return named_models.title(model.config.name_or_path or model.config.model_type)
