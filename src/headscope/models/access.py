"""Access to a transformer's heads by the same names for all architectures.

Axes: batch, token, head (H query heads), kv (K key/value heads), d_head, d (residual width), port (q, k or v).
    Weights have the shape of PyTorch's Linear, [out, in]; GPT-2's Conv1D is transposed.

A layer, with the modules that only some architectures have in brackets:

    stream → [attention_norm] → projections → attention → output (o_proj) → [attention_post_norm] → stream
    stream → [mlp_norm] → mlp → [post-norm] → stream
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headscope.models.hooks import Hook
from headscope.models.norms import NormAccess
from headscope.models.projections import Projection, linear_weight
from headscope.results.graph import PORTS, Graph

# What attention modules call the number of query heads per key/value head, and the number of key/value heads.
_GROUPS, _KV_HEADS = "num_key_value_groups", "num_key_value_heads"


@dataclass(frozen=True, eq=False)
class LayerAccess:
    """One transformer layer.

    block: the module that takes the residual stream and returns it.
    attention: the attention module (it holds the group count if keys and values are grouped).
    attention_norm: the norm heads read through; None if they read the residual stream itself (OLMo 2).
    projections: the modules that make q, k and v, in the order of ``PORTS``.
    output: o_proj; its input is z, the heads next to each other.
    attention_post_norm: a norm between o_proj and the residual stream (Gemma 2 and 3, OLMo 2), or None.
    mlp: the MLP, or a mixture of experts.
    mlp_norm: as ``attention_norm``.
    mlp_write: the module whose output is added to the stream: ``mlp``, or the norm after it.
    """

    block: nn.Module
    attention: nn.Module
    attention_norm: NormAccess | None
    projections: tuple[Projection, ...]
    output: nn.Module
    attention_post_norm: NormAccess | None
    mlp: nn.Module
    mlp_norm: NormAccess | None
    mlp_write: nn.Module

    @property
    def attention_input(self) -> nn.Module:
        """Return the module whose input is the residual stream that the heads read."""
        return self.projections[0].linear if self.attention_norm is None else self.attention_norm.module

    @property
    def mlp_input(self) -> nn.Module:
        """Return the module whose input is the residual stream that the MLP reads."""
        return self.mlp if self.mlp_norm is None else self.mlp_norm.module

    def read(self, stream: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Return the projections' input for a residual stream; hooks on the norm are not called."""
        return stream if self.attention_norm is None else self.attention_norm.module.forward(stream)

    def write_hooks(self, receive: Callable[[Tensor], None]) -> list[Hook]:
        """Return hooks that call ``receive`` with z of each pass, such that heads write Σ_h z_h @ ``output_weights``.

        Without a post-norm z is o_proj's input. With one, z is multiplied by the post-norm's scale at each position, so
        that the heads' writes and a bias add up to what is added to the stream (the norm linearised at this pass).
        """
        norm = self.attention_post_norm
        if norm is None:
            return [Hook(self.output, "input", receive)]
        pending: list[Tensor] = []

        def receive_scaled(total: Tensor) -> None:
            receive(pending.pop().float() * norm.scale(norm.centre(total.float()))[..., None])

        return [Hook(self.output, "input", pending.append), Hook(norm.module, "input", receive_scaled)]


@dataclass(frozen=True, eq=False)
class HeadAccess:
    """A model's layers and sizes.

    layers: from the first to the last.
    embedding: the module whose output the model also takes as ``inputs_embeds``.
    final_norm: the norm before the unembedding.
    heads: H, the query heads of a layer.
    kv_heads: K, its key/value heads.
    d_head: width of a head.
    d_model: d, width of the residual stream.
    parallel: whether attention and MLP of a layer read the same residual stream.
    longest: number of learned position embeddings; None if positions are not learned.
    """

    layers: tuple[LayerAccess, ...]
    embedding: nn.Module
    final_norm: NormAccess
    heads: int
    kv_heads: int
    d_head: int
    d_model: int
    parallel: bool = False
    longest: int | None = None

    @property
    def device(self) -> torch.device:
        """Return the device of the token ids."""
        device: torch.device = self._embeddings.device
        return device

    @property
    def vocabulary(self) -> int:
        """Return the number of rows of the embedding; token ids are smaller."""
        return len(self._embeddings)

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the residual stream."""
        return self._embeddings.dtype

    @property
    def _embeddings(self) -> Float[Tensor, "vocab d"]:
        weight = self.embedding.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def groups(self) -> int:
        """Query heads per key/value head."""
        return self.heads // self.kv_heads

    @property
    def graph(self) -> Graph:
        """Return the graph of the model in which each query head has its own k and v input."""
        return Graph(len(self.layers), self.heads, self.parallel)

    @property
    def stream_inputs(self) -> list[nn.Module]:
        """Return the modules that read the residual stream: per layer those of heads and MLP, last the final norm."""
        modules: list[nn.Module] = []
        for layer in self.layers:
            modules += [layer.attention_input, layer.mlp_input]
        return [*modules, self.final_norm.module]

    def split(
        self, layer: int, outputs: list[Float[Tensor, "*batch _"]]
    ) -> dict[str, Float[Tensor, "*batch _ d_head"]]:
        """Return the projections' outputs as heads by port; k and v have K heads, or H if they were repeated."""
        ports: dict[str, Tensor] = {}
        for projection, output in zip(self.layers[layer].projections, outputs, strict=True):
            ports.update(projection.split(output))
        return ports

    def read_heads(
        self, layer: int, streams: Float[Tensor, "port_head *batch d"]
    ) -> Float[Tensor, "*batch port_head d_head"]:
        """Return q, k and v of every query head (3H, in the graph's order), each from its own residual stream.

        Calls ``forward`` of the modules, which skips their hooks.
        """
        layer_access = self.layers[layer]
        port_streams = dict(zip(PORTS, torch.split(layer_access.read(streams), self.heads), strict=True))
        ports: dict[str, Tensor] = {}
        for projection in layer_access.projections:
            ports.update(projection.read_heads(port_streams))
        return torch.cat([ports[port] for port in PORTS], dim=-2)

    def read_shared(self, layer: int, stream: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch port_head d_head"]:
        """Return the same as ``read_heads`` if all heads read one residual stream."""
        layer_access = self.layers[layer]
        normed = layer_access.read(stream)
        outputs = [projection.repeat(projection.read(normed), self.heads) for projection in layer_access.projections]
        ports = self.split(layer, outputs)
        return torch.cat([ports[port] for port in PORTS], dim=-2)

    def output_weights(self, layer: int) -> Float[Tensor, "head d_head d"]:
        """Return W_O per head times a post-norm's weight: head h writes z_h @ W_O[h], with z of ``write_hooks``.

        The bias belongs to no head.
        """
        layer_access = self.layers[layer]
        weights = torch.unflatten(linear_weight(layer_access.output).T, 0, (self.heads, self.d_head))
        norm = layer_access.attention_post_norm
        return weights if norm is None else (norm.centre(weights.float()) * norm.weight).to(weights.dtype)


@contextmanager
def ungroup_kv(access: HeadAccess) -> Iterator[None]:
    """Make attention take as many key and value heads as query heads inside the block (method section 3, fact 3).

    The caller provides them by replacing the projections' outputs, for example with ``Projection.repeat``.
    """
    previous: list[tuple[nn.Module, str, object]] = []
    try:
        for layer in access.layers if access.groups > 1 else ():
            for name, value in ((_GROUPS, 1), (_KV_HEADS, access.heads)):
                if hasattr(layer.attention, name):
                    previous.append((layer.attention, name, getattr(layer.attention, name)))
                    setattr(layer.attention, name, value)
        yield
    finally:
        for attention, name, former in previous:
            setattr(attention, name, former)
