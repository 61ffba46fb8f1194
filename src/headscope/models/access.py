"""Where a transformer keeps its heads, in one vocabulary for all architectures.

Axes: batch, token, head (H query heads), kv (K key/value heads), d_head, d (residual width), port (q, k or v).
    Weights are shown as PyTorch's Linear has them, [out, in]; GPT-2's Conv1D is turned round.

A layer, with the modules that only some architectures have in brackets:

    stream → [attention_norm] → projections → attention → output (o_proj) → [attention_post_norm] → stream
    stream → [mlp_norm] → mlp → [post-norm] → stream
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headscope.models.hooks import Hook
from headscope.models.norms import NormAccess
from headscope.models.projections import Projection, linear_weight
from headscope.results.graph import PORTS, Graph


@dataclass(frozen=True, eq=False)
class LayerAccess:
    """One transformer layer.

    block: the module that takes the residual stream and gives it back.
    attention: the attention module (it holds the group count where keys and values are grouped).
    attention_norm: the norm heads read through; None where they read the residual stream itself (OLMo 2).
    projections: the modules that make q, k and v, in the order of ``PORTS``.
    output: o_proj; its input is z, heads side by side.
    attention_post_norm: a norm between o_proj and the residual stream (Gemma 2 and 3, OLMo 2), or None.
    mlp_norm: as ``attention_norm``. mlp_write: the module whose output is added to the stream: ``mlp``, or the norm
        after it.
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
        """The module whose input is the residual stream the heads read."""
        return self.projections[0].linear if self.attention_norm is None else self.attention_norm.module

    @property
    def mlp_input(self) -> nn.Module:
        """The module whose input is the residual stream the MLP reads."""
        return self.mlp if self.mlp_norm is None else self.mlp_norm.module

    def on_write(self, receive: Callable[[Tensor], None]) -> list[Hook]:
        """Hooks that hand ``receive`` each pass's z as it is written: Σ_h z_h @ ``output_weights`` plus a bias.

        Without a post-norm that is o_proj's input. A post-norm's scale, a number per position, is multiplied in, so
        that heads still add up to what is really added to the stream (the norm's linearisation at this pass).
        """
        norm = self.attention_post_norm
        if norm is None:
            return [Hook(self.output, "input", receive)]
        kept: list[Tensor] = []

        def scaled(total: Tensor) -> None:
            receive(kept.pop().float() * norm.scale(norm.centre(total.float()))[..., None])

        return [Hook(self.output, "input", kept.append), Hook(norm.module, "input", scaled)]


@dataclass(frozen=True, eq=False)
class HeadAccess:
    """A model's layers and sizes: H query heads, K key/value heads, d_head, d.

    embedding: makes the embeddings the model's ``inputs_embeds`` stands for.
    parallel: attention and MLP of a layer read the same residual stream.
    longest: how many positions have a learned embedding; None where positions are not learned.
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
        """Where token ids are to be put."""
        device: torch.device = self._embeddings.device
        return device

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: token ids go from 0 to one less."""
        return len(self._embeddings)

    @property
    def dtype(self) -> torch.dtype:
        """Of the residual stream."""
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
        """The model's graph, each query head with its own k and v input."""
        return Graph(len(self.layers), self.heads, self.parallel)

    @property
    def stream_inputs(self) -> list[nn.Module]:
        """Modules whose inputs are the residual stream: per layer the heads' and the MLP's, last the logits'."""
        blocks = [module for layer in self.layers for module in (layer.attention_input, layer.mlp_input)]
        return [*blocks, self.final_norm.module]

    def split(
        self, layer: int, outputs: list[Float[Tensor, "*batch _"]]
    ) -> dict[str, Float[Tensor, "*batch _ d_head"]]:
        """Projections' outputs as heads by port; k and v have K heads, or H where repeated."""
        ports: dict[str, Tensor] = {}
        for projection, output in zip(self.layers[layer].projections, outputs, strict=True):
            ports.update(projection.split(output))
        return ports

    def read_heads(
        self, layer: int, streams: Float[Tensor, "port_head *batch d"]
    ) -> Float[Tensor, "*batch port_head d_head"]:
        """q, k and v of every query head (3H, the graph's order), each from a residual stream of its own.

        Calls ``forward`` of the modules, past their hooks.
        """
        blocks = self.layers[layer]
        read = streams if blocks.attention_norm is None else blocks.attention_norm.module.forward(streams)
        own = dict(zip(PORTS, read.split(self.heads), strict=True))
        ports: dict[str, Tensor] = {}
        for projection in blocks.projections:
            ports.update(projection.read_heads(own))
        return torch.cat([ports[port] for port in PORTS], dim=-2)

    def read_alike(self, layer: int, stream: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch port_head d_head"]:
        """``read_heads`` where all heads read one residual stream."""
        blocks = self.layers[layer]
        read = stream if blocks.attention_norm is None else blocks.attention_norm.module.forward(stream)
        outputs = [projection.repeat(projection.read(read), self.heads) for projection in blocks.projections]
        ports = self.split(layer, outputs)
        return torch.cat([ports[port] for port in PORTS], dim=-2)

    def output_weights(self, layer: int) -> Float[Tensor, "head d_head d"]:
        """W_O per head, [H, d_head, d], with a post-norm's weight: head h writes z_h @ W_O[h], z as ``on_write`` gives
        it; the bias belongs to no head."""
        blocks = self.layers[layer]
        weights = torch.unflatten(linear_weight(blocks.output).T, 0, (self.heads, self.d_head))
        norm = blocks.attention_post_norm
        return weights if norm is None else (norm.centre(weights.float()) * norm.weight).to(weights.dtype)
