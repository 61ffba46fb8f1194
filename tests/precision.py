"""Bounds that no processor decides: formulas are compared in float64, and float32 with what its rounding can change.

In float64 two ways to compute one number differ by about 1e-15 of it, on any processor; a wrong formula differs by far
more than ``EXACT``. In float32 the same two ways differ by an amount that depends on the model and on the order of
sums, which the processor chooses; ``float32_bound`` measures what may be expected of the model at hand.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_models import LONGEST_SUM

# Halfway between the rounding of float64 (1e-16) and that of float32 (6e-8), in orders of magnitude, rounded up.
EXACT = 1e-10
# Of float32's 24, where one computation of thousands of sums is run twice in float32, and a mistake costs far more.
HALF_THE_BITS = 2.0**-12
_DRAWS = 4
# A float32 sum of n products is the exact sum of factors off by λ√n half units of float32's precision at most, except
# with a probability of 2n exp(−λ²/2) (Higham and Mary, doi 10.1137/18M1226312); with λ = 5 that is 0.2 % here.
_ROUNDING = 5 * LONGEST_SUM**0.5 / 2


@contextmanager
def float64() -> Iterator[None]:
    """Compute in float64 wherever the package, transformers or NumPy code asks for float32.

    A model in float64 is not enough: transformers' norms, rotary embeddings, routers and eager attention turn to
    float32 in between, and so do results. Only what is looked up while this lasts changes, and files of float32 cannot
    be read meanwhile.
    """
    default = torch.get_default_dtype()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        for owner, name in ((torch, "float32"), (torch, "float"), (np, "float32")):
            patch.setattr(owner, name, owner.float64)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest expected value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def float32_bound(compute: Callable[[Any], np.ndarray], model: Any) -> tuple[np.ndarray, float]:
    """Return what ``compute(model)`` is in float64, and how far float32 may be from it (as ``relative`` measures).

    Float32 computes what the exact model would with its numbers moved by ``_ROUNDING`` units of float32's precision.
    How the result answers is measured: every weight is moved by up to one unit, and the largest change of ``_DRAWS``
    counts.
    """
    with float64():
        exact = compute(_in_float64(model))
        moved = [relative(compute(_in_float64(model, seed)), exact) for seed in range(_DRAWS)]
    return exact, _ROUNDING * max(moved)


def _in_float64(model: Any, seed: int | None = None) -> Any:
    """The same weights in float64; with a seed, each is moved by up to one unit of float32's precision."""
    wide = copy.deepcopy(model).double()
    wide.config._experts_implementation = "eager"  # grouped products know no float64
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in wide.parameters():
            parameter.data *= 1 + 2.0**-23 * (2 * torch.rand(parameter.shape, generator=generator) - 1)
    return wide
