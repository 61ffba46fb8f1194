"""Load the model of a stage. Apart from ``stages`` because it needs torch, and a plan does not."""

from dataclasses import replace
from functools import lru_cache

import torch

from headscope.model_files.folder import check_compatible, model_identity
from headscope.models import Subject, common_vocabulary, load_model, vocabulary_size
from headscope.pairs import Pairs
from headscope.studies.models.stages import Stage
from headscope.studies.models.tokenizer import tokenizer_of


def load(stage: Stage) -> Subject:
    """Load the stage's model and tokenizer, its own or a borrowed one; the last two models loaded are kept, because
    units that read one model follow each other.

    Raises InputError if the model has no tokenizer (a study renders prompts), or is not what the unit was planned with.
    """
    config = stage.config
    identity = model_identity(stage.folder)
    stage.check_weights_unchanged()
    subject = _load_cached(stage.folder, identity, config.dtype, config.revision, config.trust_remote_code)
    if subject.tokenizer is None or stage.borrows:
        return replace(subject, tokenizer=tokenizer_of(stage))
    return subject


def check_loaded(base: Stage, final: Stage) -> None:
    """Raise InputError unless the two models have the same layers, heads and vocabulary (``common_vocabulary``).

    Folders were compared when the study was planned; a model named by its hub id is only known once it is loaded.
    """
    name = f"variant {final.variant}"
    base_subject, final_subject = load(base), load(final)
    configs = [subject.model.config.to_dict() for subject in (base_subject, final_subject)]
    check_compatible(*configs, variant_name=name)
    common_vocabulary(base_subject, final_subject, variant_name=name)


def keep_readable(pairs: Pairs, base: Stage, final: Stage) -> Pairs:
    """Return the pairs that both models can read, to be compared over the vocabulary they share (``Pairs.within``).

    If both vocabularies have one size, these are all pairs as they are.
    """
    subjects = load(base), load(final)
    smaller, larger = sorted(subjects, key=vocabulary_size)
    if vocabulary_size(smaller) == vocabulary_size(larger):
        return pairs
    return pairs.within(vocabulary_size(smaller), larger.tokenizer.convert_ids_to_tokens)


@lru_cache(maxsize=2)
def _load_cached(
    folder: str, identity: tuple[tuple[int, ...], ...], dtype: str, revision: str | None, trust_remote_code: bool
) -> Subject:
    """Load a model. identity: of its files, so that a rewritten folder is loaded again."""
    device = "cuda" if torch.cuda.is_available() else None
    return load_model(folder, dtype=dtype, device=device, revision=revision, trust_remote_code=trust_remote_code)
