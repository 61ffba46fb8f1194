"""Normalisations in one form: x ↦ weight · (x − mean) · rsqrt(variance + eps) + bias."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headscope.errors import InputError
from headscope.models.adapters import merged_layer


@dataclass(frozen=True, eq=False)
class NormAccess:
    """A LayerNorm, or an RMSNorm, which subtracts no mean and has no bias.

    module: the norm; its output is read, and its ``forward`` called with patched inputs.
    weight: float32 [d], factor of the normalised input (Gemma's stored weight plus one).
    bias: float32 [d] or None.
    eps: added to the variance.
    centred: True for LayerNorm.
    """

    module: nn.Module
    weight: Float[Tensor, " d"]
    bias: Float[Tensor, " d"] | None
    eps: float
    centred: bool

    def centre(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Return x − mean(x) for LayerNorm, x itself for RMSNorm."""
        return x - x.mean(-1, keepdim=True) if self.centred else x

    def scale(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Return rsqrt(variance + eps) of an already centred x."""
        return torch.rsqrt(x.square().mean(-1) + self.eps)

    def formula(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Return the norm of x by its formula, in x's precision."""
        centred = self.centre(x)
        scaled = centred * self.scale(centred)[..., None] * self.weight
        return scaled if self.bias is None else scaled + self.bias


def norm_access(module: nn.Module) -> NormAccess:
    """Return access to a LayerNorm or an RMSNorm under any class name. Raises InputError if it is neither."""
    plain = merged_layer(module)
    weight = getattr(plain, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 1:
        raise InputError(f"{type(plain).__name__} is not a norm headscope knows; LayerNorm and RMSNorm are")
    dtype, weight = weight.dtype, weight.detach().float()
    if isinstance(plain, nn.LayerNorm):
        bias = None if plain.bias is None else plain.bias.detach().float()
        return NormAccess(module, weight, bias, plain.eps, centred=True)
    eps = getattr(plain, "variance_epsilon", getattr(plain, "eps", None))
    if not isinstance(eps, float):
        raise InputError(f"{type(plain).__name__} names no epsilon; 'variance_epsilon' or 'eps' is needed")
    # RMSNorms multiply by their weight or, in Gemma, by one plus it; class names do not tell which, a probe does.
    candidates = [NormAccess(module, weight + offset, None, eps, centred=False) for offset in (0.0, 1.0)]
    return min(candidates, key=lambda norm: formula_error(norm, dtype))


@torch.no_grad()
def formula_error(norm: NormAccess, dtype: torch.dtype) -> float:
    """Return the relative distance between a norm's module and its formula on a fixed probe."""
    # Not symmetric about 0, so that a forgotten mean shows.
    width, device = norm.weight.shape[0], norm.weight.device
    probe = torch.linspace(-2, 3, width, dtype=torch.float32, device=device).roll(1)[None]
    expected = norm.formula(probe)
    computed = norm.module(probe.to(dtype)).float()
    return float((computed - expected).norm() / expected.norm().clamp_min(1e-30))
