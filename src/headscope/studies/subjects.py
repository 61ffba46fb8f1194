"""Loading the model of a stage. Apart from ``stages`` because it needs torch, and a plan does not."""

from dataclasses import replace
from functools import lru_cache

import torch

from headscope.model_folder import check_compatible, check_token_ids
from headscope.models import Subject, load_model
from headscope.studies.stages import Stage
from headscope.studies.tokenizer import tokenizer_of


def load(stage: Stage) -> Subject:
    """Load the stage's model and tokenizer, its own or a borrowed one; the last two models loaded are kept, because
    units that read one model follow each other.

    Raises InputError where the model has no tokenizer: a study renders prompts.
    """
    subject = _loaded(stage.folder, stage.config.dtype, stage.config.revision, stage.config.trust_remote_code)
    if subject.tokenizer is None or stage.borrows:
        return replace(subject, tokenizer=tokenizer_of(stage))
    return subject


def check_loaded(base: Stage, final: Stage) -> None:
    """InputError unless the two models have the same layers, heads and vocabulary, added tokens aside.

    Folders were compared when the study was planned; a model named by its hub id is only known once it is loaded.
    """
    name = f"variant {final.variant}"
    one, other = load(base), load(final)
    check_compatible(one.model.config.to_dict(), other.model.config.to_dict(), variant_name=name)
    added = {*one.tokenizer.get_added_vocab(), *other.tokenizer.get_added_vocab()}
    known, found = (
        {token: index for token, index in subject.tokenizer.get_vocab().items() if token not in added}
        for subject in (one, other)
    )
    check_token_ids(known, found, variant_name=name)


@lru_cache(maxsize=2)
def _loaded(folder: str, dtype: str, revision: str | None, trust_remote_code: bool) -> Subject:
    device = "cuda" if torch.cuda.is_available() else None
    return load_model(folder, dtype=dtype, device=device, revision=revision, trust_remote_code=trust_remote_code)
