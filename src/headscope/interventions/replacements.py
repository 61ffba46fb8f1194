"""Make what replaces a head's write or weights under each operator, for sweeps and for ``generate``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from jaxtyping import Float

from headscope.errors import InputError, suggestion
from headscope.heads import Heads
from headscope.interventions.donor_weights import DonorWeights
from headscope.interventions.head_edits import (
    Constants,
    Replacement,
    check_numbers,
    edit_heads,
    head_grid,
    removal_factors,
)
from headscope.interventions.means import PartMeans
from headscope.interventions.optimal_constants import fit_constants
from headscope.interventions.resample_bank import ResampleBank
from headscope.interventions.spans import PARTS, Markers, Reader, Span, follow_passes
from headscope.interventions.teacher_forcing import Text
from headscope.models import as_model, head_access
from headscope.models.subject import SubjectOrModel
from headscope.operator_names import OPERATORS
from headscope.pairs.tokens import TokenRows


def make_replacement(
    model: SubjectOrModel,
    operator: str,
    reference: Sequence[Text],
    *,
    seed: int = 0,
    constants: Float[np.ndarray, "layer head d_head"] | None = None,
    donor: DonorWeights | None = None,
) -> Replacement:
    """Return the replacement of ``operator`` (``headscope.operator_names``) for every head of ``model``.

    Args:
        model: the model whose heads are replaced.
        operator: its name.
        reference: texts of the kind the model will write; read by ``mean``, ``resample`` and ``optimal``.
        seed: seed of ``resample`` and ``optimal``.
        constants: z of every head for ``optimal``, as ``fit_constants`` returns it; None fits them.
        donor: ``DonorWeights.of(model, base)`` for ``revert``.

    Raises:
        InputError: if the operator is unknown, the reference is empty, constants have another shape or are not finite
            in float32, or ``revert`` has no donor.
    """
    if operator not in OPERATORS:
        raise InputError(f"operator {operator!r} does not exist{suggestion(operator, OPERATORS)}")
    if operator == "zero":
        return Replacement()
    if operator == "revert":
        if donor is None:
            raise InputError("operator revert needs the base's weights; give donor=DonorWeights.of(model, base)")
        return Replacement(donor)
    if operator == "optimal":
        if constants is None:
            access = head_access(as_model(model))
            heads = [(layer, head) for layer in range(len(access.layers)) for head in range(access.heads)]
            constants = fit_constants(model, heads, reference, seed=seed)
        return constant_replacement(model, constants)
    texts = [text.tokens for text in reference]
    if operator == "mean":
        return mean_replacement(model, texts)
    layers = range(len(head_access(as_model(model)).layers))
    return resample_replacement(model, texts, layers, seed, prompts=[text.prompt for text in reference])


def constant_replacement(model: SubjectOrModel, values: Float[np.ndarray, "layer head d_head"]) -> Replacement:
    """Return constants. Raises InputError if they have another shape or are not finite in float32."""
    access = head_access(as_model(model))
    return Replacement(Constants(check_numbers("constants", values, len(access.layers), access.heads, access.d_head)))


def mean_replacement(model: SubjectOrModel, texts: TokenRows, span: Span | None = None) -> Replacement:
    """Return the means of z over ``texts`` (token ids), part by part; constants if the texts have a single part.

    span: the span in which heads will be replaced, with the markers of the parts; None takes the model's markers.
    Raises InputError if the texts hold no token of the span.
    """
    reader = Reader(Markers.if_known(model) if span is None else span.markers)
    means = PartMeans.capture(model, texts, reader, None if span is None else PARTS.index(span.part))
    if not means.is_uniform:
        return Replacement(means, reader)
    # Constants need no reader: rows that have ended may leave a batch, and weights can hold the edit.
    access = head_access(as_model(model))
    z = torch.unflatten(means.means[:, 0], 1, (access.heads, access.d_head))
    return Replacement(Constants(z.numpy()))


def resample_replacement(
    model: SubjectOrModel,
    texts: TokenRows,
    layers: Sequence[int],
    seed: int,
    span: Span | None = None,
    prompts: Sequence[tuple[int, ...]] | None = None,
) -> Replacement:
    """Return z of another problem's text, at the same place of the same part.

    span: as in ``mean_replacement``. prompts: as in ``ResampleBank.capture``.
    """
    reader = Reader(Markers.if_known(model) if span is None else span.markers)
    return Replacement(ResampleBank.capture(model, texts, layers, reader, seed, prompts), reader)


@contextmanager
def replace_heads(
    model: SubjectOrModel, heads: Heads, replacement: Replacement, *, span: str | Span = "all"
) -> Iterator[None]:
    """Let ``heads`` write the replacement inside the block."""
    factors = removal_factors(head_grid(model, heads))
    following = nullcontext() if replacement.reader is None else follow_passes(model, replacement.reader)
    with following, edit_heads(model, factors, fill=replacement.fill, span=span):
        yield
