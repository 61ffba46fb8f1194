"""Find the common part of two models' vocabularies, over which their next-token distributions can be compared."""

from headscope.errors import InputError
from headscope.model_files.vocabularies import check_token_ids
from headscope.models.subject import Subject, SubjectOrModel, as_model, name_of


def vocabulary_size(model: SubjectOrModel) -> int:
    """Return the number of a model's token ids: the rows of its embedding, including padding."""
    rows: int = as_model(model).get_input_embeddings().weight.shape[0]
    return rows


def common_vocabulary(base: SubjectOrModel, variant: SubjectOrModel, *, variant_name: str) -> int:
    """Return the number of first entries that two models' vocabularies share, which is the smaller one's size.

    Added tokens may differ. Raises InputError if a token has different ids (``check_token_ids``), or if the sizes
    differ and a tokenizer, which would show why, is missing.
    """
    base_size, variant_size = vocabulary_size(base), vocabulary_size(variant)
    base_tokenizer = base.tokenizer if isinstance(base, Subject) else None
    variant_tokenizer = variant.tokenizer if isinstance(variant, Subject) else None
    if base_tokenizer and variant_tokenizer:
        added = base_tokenizer.get_added_vocab().keys() | variant_tokenizer.get_added_vocab().keys()
        base_ids = {token: index for token, index in base_tokenizer.get_vocab().items() if token not in added}
        variant_ids = {token: index for token, index in variant_tokenizer.get_vocab().items() if token not in added}
        check_token_ids(base_ids, variant_ids, variant_name=variant_name)
    elif base_size != variant_size:
        raise InputError(
            f"base {name_of(base)} has {base_size} vocabulary entries and {variant_name} has {variant_size}; "
            "give Subjects with tokenizers, which tell whether the further ones only come after the others"
        )
    return min(base_size, variant_size)
