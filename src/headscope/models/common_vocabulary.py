"""What two models' vocabularies have in common: all that their next-token distributions can be compared over."""

from typing import Any

from headscope.errors import InputError
from headscope.models.subject import Subject, as_model, name_of
from headscope.vocabularies import check_token_ids


def entries(model: Any) -> int:
    """Return how many token ids a model reads: the rows of its embedding, padded ones too."""
    rows: int = as_model(model).get_input_embeddings().weight.shape[0]
    return rows


def common_vocabulary(base: Any, variant: Any, *, variant_name: str) -> int:
    """Return how many first entries two models' vocabularies share: the smaller one's.

    base, variant: each a ``Subject`` or a plain Hugging Face model. Added tokens are free to differ.
    Raises InputError where a token has different ids (``check_token_ids``), or the sizes differ and a tokenizer that
    could tell why is missing.
    """
    tokenizers = [model.tokenizer for model in (base, variant) if isinstance(model, Subject) and model.tokenizer]
    base_entries, variant_entries = entries(base), entries(variant)
    if len(tokenizers) == 2:
        added = {token for tokenizer in tokenizers for token in tokenizer.get_added_vocab()}
        base_ids, variant_ids = (
            {token: index for token, index in tokenizer.get_vocab().items() if token not in added}
            for tokenizer in tokenizers
        )
        check_token_ids(base_ids, variant_ids, variant_name=variant_name)
    elif base_entries != variant_entries:
        raise InputError(
            f"base {name_of(base)} has {base_entries} vocabulary entries and {variant_name} has {variant_entries}; "
            "give Subjects with tokenizers, which tell whether the further ones only come after the others"
        )
    return min(base_entries, variant_entries)
