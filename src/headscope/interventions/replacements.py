"""What takes a head's place under each operator, worked out once for a model and used in sweeps and in ``generate``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from headscope.errors import InputError, suggestion
from headscope.interventions.means import PartMeans
from headscope.interventions.operators import Constants, Fill, Heads, edit_heads, head_grid
from headscope.interventions.optimal_constants import fit_constants
from headscope.interventions.resample_bank import ResampleBank
from headscope.interventions.spans import Markers, Reader, follow_passes
from headscope.interventions.teacher_forcing import Text
from headscope.models import as_model, head_access
from headscope.operators import OPERATORS


@dataclass(frozen=True)
class Replacement:
    """``fill``: None for nothing, that is zero. ``reader``: what must follow the passes for it, or None."""

    fill: Fill | None = None
    reader: Reader | None = None


def make_replacement(
    model: Any,
    operator: str,
    reference: Sequence[Text],
    *,
    seed: int = 0,
    constants: Float[np.ndarray, "layer head d_head"] | None = None,
) -> Replacement:
    """The stand-in of ``operator`` for every head of ``model``.

    reference: texts of the kind the model will write. mean and resample are matched by the parts of a text, where the
        model's tokenizer knows think markers. constants: for ``optimal``, where ``fit_constants`` was called before.
    Raises InputError for an unknown operator or an empty reference.
    """
    if operator not in OPERATORS:
        raise InputError(f"operator {operator!r} does not exist{suggestion(operator, OPERATORS)}")
    if operator == "zero":
        return Replacement()
    layers = range(len(head_access(as_model(model)).layers))
    if operator == "optimal":
        every = [(layer, head) for layer in layers for head in range(head_access(as_model(model)).heads)]
        return Replacement(
            Constants(fit_constants(model, every, reference, seed=seed) if constants is None else constants)
        )
    reader = Reader(_markers(model))
    texts = [text.tokens for text in reference]
    if operator == "mean":
        return Replacement(PartMeans.capture(model, texts, reader), reader)
    return Replacement(ResampleBank.capture(model, texts, layers, reader, seed), reader)


@contextmanager
def replace_heads(model: Any, heads: Heads, by: Replacement, factor: float = 0.0) -> Iterator[None]:
    """``heads`` write ``by`` inside the block; with another factor than 0, so many times their own."""
    grid = head_grid(model, heads)
    factors = {layer: np.where(grid[layer], factor, 1.0).astype(np.float32)[None] for layer in range(len(grid))}
    with (
        nullcontext() if by.reader is None else follow_passes(model, by.reader),
        edit_heads(model, factors, fill=by.fill),
    ):
        yield


def _markers(model: Any) -> Markers:
    try:
        return Markers.of(model)
    except InputError:  # a model that does not think has texts of one part
        return Markers.none()
