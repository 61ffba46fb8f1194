"""Multiply Δ and gradients in the number format that is fast on the device, adding up in float32.

16-bit models on a GPU are contracted in 16 bits, because its matrix units are several times faster then. float16 models
use bfloat16 too: gradients of a loss need float32's range. Products are fast if their rows and columns are multiples of
``_STEP``: 97 destinations and 1,189 sources took four times as long as 104 and 1,192 (H200, Qwen3-8B's shape).
"""

import torch
from jaxtyping import Float
from torch import Tensor

_STEP = 8


def contraction_dtype(model: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the type of both factors, for a model of type ``model`` on ``device``."""
    return torch.bfloat16 if model.itemsize < torch.float32.itemsize and device.type == "cuda" else torch.float32


def pad_count(count: int, dtype: torch.dtype) -> int:
    """Return ``count`` plus the rows of zeros that make a product of ``dtype`` fast."""
    return -(-count // _STEP) * _STEP if dtype == torch.bfloat16 else count


def product(left: Float[Tensor, "row wide"], right: Float[Tensor, "other wide"]) -> Float[Tensor, "row other"]:
    """Return left · rightᵀ in float32."""
    return torch.mm(left, right.T, out_dtype=torch.float32) if left.dtype == torch.bfloat16 else left @ right.T
