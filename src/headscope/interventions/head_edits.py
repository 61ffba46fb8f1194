"""Edits of heads, which all interventions use: z, the input of the output projection, becomes factor · z or a fill; or
the head takes weights of another model (``donor_weights``).

An edit holds for each forward pass inside a block, with or without a key/value cache, in all positions or in a span.
The output projection's bias belongs to no head and stays.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headscope.errors import InputError
from headscope.heads import Heads, HeadSet
from headscope.interventions.donor_weights import DonorWeights, reserve_layers
from headscope.interventions.spans import Reader, Span, SpanReader, follow_passes, follow_rows, resolve_span
from headscope.models import HeadAccess, Hook, as_model, attach_hooks, head_access
from headscope.models.subject import SubjectOrModel

LARGEST_NUMBER = np.finfo(np.float32).max
"""The largest finite float32, a NumPy scalar: a Python float would be rounded to infinity next to a float16 array."""


@runtime_checkable
class Fill(Protocol):
    """A source of the values that replace z, the input of the output projection, layer by layer."""

    def at(self, layer: int) -> Float[Tensor, "_ _ z"]:
        """Return the new z of ``layer`` in the current pass, [row or 1, token or 1, heads next to each other]."""


class Constants:
    """A ``Fill`` that is the same in every row and position."""

    def __init__(self, values: Float[np.ndarray, "layer head d_head"] | Float[Tensor, "layer head d_head"]) -> None:
        self.values = values
        self._z = torch.as_tensor(values).flatten(1)

    def at(self, layer: int) -> Float[Tensor, "1 1 z"]:
        """Return one z for all."""
        return self._z[layer][None, None]


@dataclass(frozen=True)
class Replacement:
    """Output that heads write instead of their own if their factor is 0.

    fill: the new z, the model whose weights the heads take, or None for zeros.
    reader: a reader that must follow the passes because the fill depends on it, or None.
    """

    fill: Fill | DonorWeights | None = None
    reader: Reader | None = None


class HeadEdit:
    """The function that maps z of one layer to the edited z.

    factors: of each head, for every row or one row for all. fill: what heads of factor 0 write; None for zeros.
    span: the tokens that are edited; None for all.
    """

    def __init__(
        self,
        access: HeadAccess,
        layer: int,
        factors: Float[np.ndarray, "row head"],
        fill: Fill | None,
        span: SpanReader | None,
    ) -> None:
        self._factors = torch.as_tensor(factors).repeat_interleave(access.d_head, dim=1)[:, None]
        self._layer, self._fill, self._span = layer, fill, span

    def __call__(self, z: Float[Tensor, "row token z"]) -> Float[Tensor, "row token z"]:
        factors = self._factors = self._factors.to(z)  # moved to the pass's device and dtype once
        edited = z * factors
        if self._fill is not None:
            edited = torch.where(factors == 0, self._fill.at(self._layer).to(z), edited)
        return edited if self._span is None else torch.where(self._span.contains(z.device)[..., None], edited, z)


@contextmanager
def edit_heads(
    model: SubjectOrModel,
    factors: Mapping[int, Float[np.ndarray, "_ head"]],
    *,
    fill: Fill | DonorWeights | None = None,
    span: str | Span = "all",
) -> Iterator[None]:
    """Multiply what heads write by their factors inside the block; with factor 0 they write ``fill``.

    factors: by layer, [row, head], or one row for all; layers that are absent or hold only ones are untouched. Beam
        search may move rows among those of equal factors; if it moves others, the pass raises InputError.
    fill: what is written instead, or a donor: with factor 0 a head takes all of the donor's weights.
    Raises InputError if a layer's heads have a donor's weights already, or a donor's are for another model.
    """
    access = head_access(as_model(model))
    span_reader = SpanReader.of(resolve_span(model, span))
    hooks, layers_with_donor = [], []
    for layer, rows in factors.items():
        if isinstance(fill, DonorWeights) and (rows != 1).any():
            donor_edit, by_row = fill.edit(access, layer, rows, span_reader), span_reader is not None or len(rows) > 1
            layers_with_donor.append(access.layers[layer])
            hooks += [*donor_edit.reading_hooks(by_row), donor_edit.writing_hook(by_row)]
        elif not isinstance(fill, DonorWeights) and (rows != 1).any():
            is_uniform = len(rows) == 1 and (fill is None or isinstance(fill, Constants))
            edit = HeadEdit(access, layer, rows, fill, span_reader)
            by_row = span_reader is not None or not is_uniform
            hooks.append(Hook(access.layers[layer].output, "input", edit, by_row))
    following = nullcontext() if span_reader is None else follow_passes(model, span_reader.reader)
    by_row_factors = [rows for rows in factors.values() if len(rows) > 1]
    moving = follow_rows(model, partial(_check_moved, by_row_factors)) if by_row_factors else nullcontext()
    with following, moving, reserve_layers(layers_with_donor), attach_hooks(hooks):
        yield


def _check_moved(factors: Sequence[Float[np.ndarray, "row head"]], rows: list[int]) -> None:
    for grid in factors:
        if (grid[rows] != grid).any():
            raise InputError(
                "beam search moves rows whose heads have different factors; give all beams of a text the same ones"
            )


def head_grid(model: SubjectOrModel, heads: Heads) -> Bool[np.ndarray, "layer head"]:
    """Return the heads on the model's [layer, head] grid.

    Raises InputError naming the range if one lies outside it, or if they are a grid of another shape.
    """
    access = head_access(as_model(model))
    if isinstance(heads, np.ndarray) and heads.dtype == bool:
        check_numbers("the grid of heads", heads, len(access.layers), access.heads)
    return HeadSet.of(heads).grid(len(access.layers), access.heads)


def check_numbers(name: str, values: object, *shape: int | str) -> np.ndarray:
    """Return ``values``, called ``name``, as an array.

    Raises InputError unless they have ``shape``, in which a word stands for any length from 1 on, and are numbers that
    are finite in float32.
    """
    array = np.asarray(values.detach().cpu().double() if isinstance(values, Tensor) else values)
    has_shape = len(array.shape) == len(shape)
    for length, size in zip(array.shape, shape, strict=False):
        has_shape &= length >= 1 if isinstance(size, str) else length == size
    if not has_shape:
        sizes = ", ".join(f"1 or more {size}" if isinstance(size, str) else str(size) for size in shape)
        needed = f"shape [{sizes}]" if shape else "one number"
        raise InputError(f"found shape {array.shape} in {name}; {needed} is needed")
    is_number = np.zeros(array.shape, dtype=bool)
    if array.dtype.kind in "biuf":
        is_number = np.abs(array) <= LARGEST_NUMBER  # False for NaN
    if not is_number.all():
        raise InputError(f"found {array[~is_number].tolist()[0]!r} in {name}; give numbers that are finite in float32")
    return array


def removal_factors(grid: Bool[np.ndarray, "layer head"]) -> dict[int, Float[np.ndarray, "1 head"]]:
    """Return the factors that remove the heads of ``grid``."""
    factors = {}
    for layer in np.flatnonzero(grid.any(axis=1)).tolist():
        factors[layer] = (~grid[layer]).astype(np.float32)[None]
    return factors
