"""Split q, k and v into heads, for every way in which architectures pack them.

Axes: head (n heads of one port: H query heads; K key/value heads, or H copies of them), d_head, d, in, out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from headscope.models.adapters import merged_layer
from headscope.models.norms import NormAccess


def linear_weight(module: nn.Module) -> Float[Tensor, "out in"]:
    """Return the weight of a Linear or of GPT-2's transposed Conv1D.

    It is a view of the parameter, or with an adapter of the merged weight.
    """
    plain = merged_layer(module)
    weight = plain.weight
    assert isinstance(weight, Tensor)
    return weight.T if isinstance(plain, Conv1D) else weight


def linear_bias(module: nn.Module) -> Float[Tensor, " out"] | None:
    """Return the bias of a Linear or Conv1D, None if it has none."""
    bias = merged_layer(module).bias
    return bias if isinstance(bias, Tensor) else None


@dataclass(frozen=True, eq=False)
class Projection:
    """A module whose output holds the heads of one or more ports: q_proj, or a fused projection.

    linear: the linear map.
    heads: number of heads of each port in its output, in order.
    d_head: width of a head.
    norm: a norm over all heads of the port together, applied to the linear map's output (OLMo 2).
    interleaved: ports alternate head by head (GPT-NeoX) instead of following each other.
    """

    linear: nn.Module
    heads: Mapping[str, int]
    d_head: int
    norm: NormAccess | None = None
    interleaved: bool = False

    @property
    def module(self) -> nn.Module:
        """Return the module whose output is split into heads."""
        return self.linear if self.norm is None else self.norm.module

    def split(self, output: Float[Tensor, "*batch _"]) -> dict[str, Float[Tensor, "*batch _ d_head"]]:
        """Return the output as heads by port; its k and v may have been repeated."""
        heads = torch.unflatten(output, -1, (-1, self.d_head))
        if self.interleaved:
            parts = torch.unflatten(heads, -2, (-1, len(self.heads))).unbind(-2)
        else:
            sizes = list(self.heads.values())
            if heads.shape[-2] != sum(sizes):  # repeated: every port has as many heads as q
                sizes = [heads.shape[-2] // len(sizes)] * len(sizes)
            parts = torch.split(heads, sizes, dim=-2)
        return dict(zip(self.heads, parts, strict=True))

    def join(self, ports: Mapping[str, Float[Tensor, "*batch _ d_head"]]) -> Float[Tensor, "*batch _"]:
        """Undo ``split``; from ``ports`` it takes those that this projection makes."""
        parts = [ports[port] for port in self.heads]
        if self.interleaved:
            return torch.stack(parts, dim=-2).flatten(-3)
        return parts[0].flatten(-2) if len(parts) == 1 else torch.cat(parts, dim=-2).flatten(-2)

    def repeat(self, output: Float[Tensor, "*batch _"], count: int) -> Float[Tensor, "*batch _"]:
        """Return the output with ``count`` heads per port: grouped keys and values once per query head."""
        if set(self.heads.values()) == {count}:
            return output
        ports: dict[str, Tensor] = {}
        for port, heads in self.split(output).items():
            ports[port] = heads.repeat_interleave(count // heads.shape[-2], dim=-2)
        return self.join(ports)

    def read(self, stream: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch _"]:
        """Return the module's output; its hooks are not called."""
        output: Tensor = self.linear.forward(stream)
        return output if self.norm is None else self.norm.module.forward(output)

    def read_heads(
        self, streams: Mapping[str, Float[Tensor, "head *batch d"]]
    ) -> dict[str, Float[Tensor, "*batch head d_head"]]:
        """Return each port's H heads, head h read from stream h of the port's H streams."""
        if self.norm is not None:
            # A norm over all heads needs every head of a stream, of which one is used.
            ((port, _),) = self.heads.items()
            output = self.repeat(self.read(streams[port]), len(streams[port]))
            return {port: torch.diagonal(self.split(output)[port], dim1=0, dim2=-2).movedim(-1, -2)}
        weights, biases = self.weights(), self.biases()
        ports: dict[str, Tensor] = {}
        for port in self.heads:
            count = len(streams[port])
            products = torch.einsum("h...d,hed->...he", streams[port], repeat_heads(weights[port], count))
            ports[port] = products + repeat_heads(biases[port], count)
        return ports

    def weights(self) -> dict[str, Float[Tensor, "head d_head d"]]:
        """Return the rows of the linear map by port and head, multiplied by the norm's weight if there is a norm."""
        weight = linear_weight(self.linear)
        if self.norm is not None:
            weight = weight * self.norm.weight[:, None].to(weight.dtype)
        return {port: part.permute(1, 2, 0) for port, part in self.split(weight.T).items()}

    def biases(self) -> dict[str, Float[Tensor, "head d_head"]]:
        """Return the linear map's bias by port and head, multiplied like ``weights``; zeros if it has none."""
        bias = linear_bias(self.linear)
        if bias is None:
            weight = linear_weight(self.linear)
            bias = weight.new_zeros(weight.shape[0])
        return self.split(bias if self.norm is None else bias * self.norm.weight.to(bias.dtype))


def repeat_heads(heads: Float[Tensor, "_ *shape"], count: int) -> Float[Tensor, "{count} *shape"]:
    """Return grouped heads once per query head, ``count`` in all."""
    return heads.repeat_interleave(count // len(heads), dim=0)
