"""In what Δ and gradients are multiplied: the sums over positions and width, which are added up in float32.

16-bit models on a GPU are contracted in 16 bits, for its matrix units are several times faster then. bfloat16 it is
for float16 too: gradients of a loss need float32's range. Those units want multiples of ``_STEP`` rows and columns;
with 97 destinations and 1,189 sources they took four times as long as with 104 and 1,192 (H200, Qwen3-8B's shape).
"""

import torch
from jaxtyping import Float
from torch import Tensor

_STEP = 8


def operand(model: torch.dtype, device: torch.device) -> torch.dtype:
    """The type of both operands, for a model of some type on a device."""
    return torch.bfloat16 if model.itemsize < torch.float32.itemsize and device.type == "cuda" else torch.float32


def padded(count: int, dtype: torch.dtype) -> int:
    """``count`` rows, and the rows of zeros that make a product fast."""
    return -(-count // _STEP) * _STEP if dtype == torch.bfloat16 else count


def product(left: Float[Tensor, "row wide"], right: Float[Tensor, "other wide"]) -> Float[Tensor, "row other"]:
    """left · rightᵀ in float32."""
    return torch.mm(left, right.T, out_dtype=torch.float32) if left.dtype == torch.bfloat16 else left @ right.T
