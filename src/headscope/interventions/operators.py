"""The operators of ``headscope.operator_names``, and scaling, as context managers (method section 6).

Each holds for every forward pass inside the block and is undone when the block ends (``head_edits``).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from jaxtyping import Float

from headscope.heads import Heads
from headscope.interventions.donor_weights import DonorWeights
from headscope.interventions.head_edits import Replacement, check_numbers, edit_heads, head_grid
from headscope.interventions.replacements import (
    constant_replacement,
    mean_replacement,
    replace_heads,
    resample_replacement,
)
from headscope.interventions.spans import Span, resolve_span
from headscope.models import as_model, head_access
from headscope.models.subject import SubjectOrModel
from headscope.pairs.tokens import TokenRows


def zero(model: SubjectOrModel, heads: Heads, *, span: str | Span = "all") -> AbstractContextManager[None]:
    """Let ``heads`` write zeros inside the block.

    Raises InputError if a head does not exist, or the model lacks the markers of the span.
    """
    return scale(model, heads, 0.0, span=span)


def scale(
    model: SubjectOrModel, heads: Heads, alpha: float, *, span: str | Span = "all"
) -> AbstractContextManager[None]:
    """Multiply what ``heads`` write by ``alpha``.

    Raises InputError as ``zero`` does, or if ``alpha`` is not a number that is finite in float32.
    """
    factors = np.where(head_grid(model, heads), check_numbers("alpha", alpha), 1.0)
    return scale_rows(model, factors[None], span=span)


def scale_rows(
    model: SubjectOrModel, factors: Float[np.ndarray, "row layer head"], *, span: str | Span = "all"
) -> AbstractContextManager[None]:
    """Multiply each head's write by its own factor inside the block, one grid per batch row (or one for all rows).

    With a grid per row, one pass tries many head sets. With ``num_return_sequences`` the rows are the expanded ones.
    Raises InputError if there is no row, the grid does not have the model's shape, or a factor is not finite in
    float32.
    """
    access = head_access(as_model(model))
    factors = check_numbers("factors", factors, "rows", len(access.layers), access.heads).astype(np.float32)
    return edit_heads(model, {layer: factors[:, layer] for layer in range(factors.shape[1])}, span=span)


@contextmanager
def mean(
    model: SubjectOrModel, heads: Heads, reference: TokenRows | np.ndarray, *, span: str | Span = "all"
) -> Iterator[None]:
    """Replace what ``heads`` write by its mean over a reference set, separately for each part of a text.

    This is the operator ``mean`` of studies and of ``export``.

    reference: texts as rows of token ids, averaged over all tokens of a part; or constants [layer, head, d_head], as
        ``capture_mean`` returns them, which are used in every part.
    Raises InputError if a head does not exist, the reference holds no token of the span or one that the model does not
    have, or constants have another shape.
    """
    if isinstance(reference, np.ndarray) and reference.dtype.kind == "f":
        replacement = constant_replacement(model, reference)
    else:
        replacement = mean_replacement(model, reference, resolve_span(model, span))
    with replace_heads(model, heads, replacement, span=span):
        yield


def constant(
    model: SubjectOrModel, heads: Heads, values: Float[np.ndarray, "layer head d_head"], *, span: str | Span = "all"
) -> AbstractContextManager[None]:
    """Replace what ``heads`` write by constants; with those of ``fit_constants`` this is optimal ablation.

    Raises InputError if a head does not exist, or the constants have another shape or are not finite in float32.
    """
    return replace_heads(model, heads, constant_replacement(model, values), span=span)


@contextmanager
def resample(
    model: SubjectOrModel,
    heads: Heads,
    reference: TokenRows,
    seed: int = 0,
    *,
    span: str | Span = "all",
) -> Iterator[None]:
    """Replace what ``heads`` write by what they write in another problem's text.

    reference: texts as token ids. Each row takes one of them, chosen by ``seed`` and its own prompt and never of its
        own problem, and reads it at the same place of the same part, repeated if the part is shorter. Without think or
        turn markers the texts must be of other problems, as prompts cannot be told from answers
        (``make_replacement`` takes ``Text``s, which can).
    Raises InputError if a head does not exist, the model cannot read a text of the reference, or none of them is of
    another problem.
    """
    layers = np.flatnonzero(head_grid(model, heads).any(axis=1)).tolist()
    replacement = resample_replacement(model, reference, layers, seed, resolve_span(model, span))
    with replace_heads(model, heads, replacement, span=span):
        yield


def revert(
    model: SubjectOrModel,
    heads: Heads,
    base: SubjectOrModel,
    *,
    kv: str = "all",
    span: str | Span = "all",
) -> AbstractContextManager[None]:
    """Give ``heads`` of a post-trained model the base's weights inside the block, which undoes their training.

    kv: keys and values that a group shares are reverted if ``all`` of its heads are in ``heads``, or if ``any`` is.
    Raises InputError if a head does not exist, the models differ in architecture or shape, or heads of the same layer
    have another model's weights already.
    """
    return replace_heads(model, heads, Replacement(DonorWeights.of(model, base, kv)), span=span)


def graft(
    base: SubjectOrModel,
    heads: Heads,
    post: SubjectOrModel,
    *,
    kv: str = "all",
    span: str | Span = "all",
) -> AbstractContextManager[None]:
    """Give ``heads`` of the base a post-trained model's weights inside the block; ``revert`` with models exchanged.

    Raises InputError as ``revert`` does.
    """
    return revert(base, heads, post, kv=kv, span=span)
