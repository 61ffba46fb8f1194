"""Gradients of the loss at every destination's input, averaged over the nodes of a path.

Method section 3, fact 2. A gradient g at what a reader with weight W gives is pulled back through the projection and
the norm in closed form. With x_c the (centred) residual stream, r = rsqrt(variance + eps) and y the norm's output,

    Jᵀ Wᵀ g = C [ r · w ∘ (Wᵀ g) ] − (r² / d) (ŷ_W · g) x_c ,    ŷ_W = W (w ∘ r x_c),

ŷ_W being the reader's output less its constant part, and C the centring of LayerNorm (the identity for RMSNorm).

1. Each pass over nodes leaves Σ of r · g and, per node, (r² / d) (ŷ_W · g) next to x_c (``average_gradients``); passes
   add up (``GradientMeans.add``). None of it is d wide per head.
2. Once all nodes are added, the gradients are computed, for a block of destinations and some positions at a time
   (``GradientMeans.blocks``).

If heads read the residual stream without a norm but through one over all their port's heads (OLMo 2: y = W x,
r = rsqrt(mean y² + eps)), the same holds with Wᵀy in place of x_c and the port's width in place of d.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from headscope.circuits.contraction import pad_count
from headscope.circuits.gradients import Reading
from headscope.models import HeadAccess, NormAccess, Projection
from headscope.models.projections import linear_bias, linear_weight, repeat_heads
from headscope.results.graph import PORTS


@dataclass(frozen=True, eq=False)
class NormTerm:
    """The contribution of a norm's scale to the gradients of some heads: −Σ over nodes of share · vector.

    heads: places among a layer's 3H inputs, in the graph's order.
    """

    heads: slice
    share: Float[Tensor, "pair position head node"]
    vector: Float[Tensor, "pair position node d"]


@dataclass(frozen=True, eq=False)
class HeadGradientMeans:
    """The parts of the gradients at a layer's q, k and v inputs.

    direct: by port, Σ over nodes of weight · r · g.
    norm_terms: for every norm on the way, its terms of all passes.
    """

    direct: dict[str, Float[Tensor, "head pair position d_head"]]
    norm_terms: list[list[NormTerm]]

    def add(self, later: "HeadGradientMeans") -> None:
        """Add further nodes of the same pairs."""
        for port, total in self.direct.items():
            total.add_(later.direct[port])
        for passes, later_passes in zip(self.norm_terms, later.norm_terms, strict=True):
            passes.extend(later_passes)


@dataclass(frozen=True, eq=False)
class GradientMeans:
    """The gradients ḡ at every destination: weighted sums over the nodes of each group of rows.

    heads: per layer. streams: at the inputs of the MLPs, layer by layer, and last of the final norm.
    nodes: number of nodes added.
    """

    access: HeadAccess
    heads: list[HeadGradientMeans]
    streams: list[Float[Tensor, "pair position d"]]
    nodes: int

    def weigh(self, rows: Int[Tensor, "pair node"], weights: Float[Tensor, "pair node"]) -> "GradientMeans":
        """Return weighted sums of groups that are single nodes, a few per pair; a weight of 0 pads a row."""
        heads = []
        for means in self.heads:
            direct = {}
            for port, total in means.direct.items():
                direct[port] = torch.einsum("hpkte,pk->hpte", total[:, rows], weights.to(total.device))
            norm_terms = [[_merge_nodes(term, rows, weights) for term in terms] for terms in means.norm_terms]
            heads.append(HeadGradientMeans(direct, norm_terms))
        streams = []
        for stream in self.streams:
            streams.append(torch.einsum("pktd,pk->ptd", stream[rows], weights.to(stream.device)))
        return GradientMeans(self.access, heads, streams, rows.shape[1])

    def add(self, later: "GradientMeans") -> "GradientMeans":
        """Return these means with further nodes of the same pairs added; the originals must not be used afterwards."""
        for layer, heads in enumerate(self.heads):
            heads.add(later.heads[layer])
        for site, stream in enumerate(self.streams):
            stream.add_(later.streams[site])
        return GradientMeans(self.access, self.heads, self.streams, self.nodes + later.nodes)

    def blocks(
        self, positions: slice, dtype: torch.dtype
    ) -> Iterator[tuple[range, Float[Tensor, "destination pair position d"]]]:
        """Yield blocks of destinations and their gradients ḡ at some ending positions; padding rows are 0.

        A layer's q, k and v inputs go with the MLP before them, the last MLP with the logits: destinations that read
        nearly the same sources are contracted together.
        """
        graph = self.access.graph
        for layer, heads in enumerate(self.heads):
            previous_mlp = self.streams[layer - 1 : layer]  # empty before layer 0
            block = range(graph.port(layer, "q") - len(previous_mlp), graph.mlp_destination(layer))
            gradients = _empty_gradients(self.streams[layer][:, positions], len(block), dtype)
            for stream in previous_mlp:
                gradients[0] = stream[:, positions]
            _expand_heads(self.access, layer, heads, positions, gradients[len(previous_mlp) : len(block)])
            yield block, gradients
        last = self.streams[-2:]
        gradients = _empty_gradients(last[-1][:, positions], len(last), dtype)
        for row, stream in enumerate(last):
            gradients[row] = stream[:, positions]
        yield range(len(graph.destinations) - len(last), len(graph.destinations)), gradients


def _merge_nodes(term: NormTerm, rows: Int[Tensor, "pair node"], weights: Float[Tensor, "pair node"]) -> NormTerm:
    """Return the terms of single nodes as those of their pairs, each pair's nodes side by side."""
    share = term.share[rows] * weights.to(term.share.device)[..., None, None, None]
    vector = term.vector[rows]
    return NormTerm(term.heads, share.permute(0, 2, 3, 1, 4).flatten(3), vector.transpose(1, 2).flatten(2, 3))


def _empty_gradients(
    like: Float[Tensor, "pair position d"], count: int, dtype: torch.dtype
) -> Float[Tensor, "destination pair position d"]:
    """Return an empty tensor for the gradients of ``count`` destinations; the padding rows after them are 0."""
    gradients = like.new_empty(pad_count(count, dtype), *like.shape, dtype=dtype)
    gradients[count:] = 0
    return gradients


def average_gradients(access: HeadAccess, readings: list[Reading], weights: Float[Tensor, " node"]) -> GradientMeans:
    """Return the means of one pass, whose rows are groups of as many nodes as there are ``weights``."""
    heads = []
    streams = []
    for layer, modules in enumerate(access.layers):
        heads.append(_average_heads(access, layer, readings[2 * layer], weights))
        streams.append(_average_stream(access, modules.mlp_norm, readings[2 * layer + 1], weights))
    streams.append(_average_stream(access, access.final_norm, readings[-1], weights))
    return GradientMeans(access, heads, streams, len(weights))


def _average_heads(
    access: HeadAccess, layer: int, reading: Reading, weights: Float[Tensor, " node"]
) -> HeadGradientMeans:
    modules = access.layers[layer]
    norm = modules.attention_norm
    weights = weights.to(reading.residual.device)
    x = _split_nodes(reading.residual, len(weights))
    means = HeadGradientMeans({}, [])
    if norm is None:
        for projection, outputs, gradients in _split_ports(modules.projections, reading, len(weights)):
            _average_projection(projection, x, outputs, gradients, weights, means)
        return means
    x = norm.centre(x)
    r = norm.scale(x)
    shares: dict[str, Tensor] = {}
    for projection, outputs, gradients in _split_ports(modules.projections, reading, len(weights)):
        for port, gradient in gradients.items():
            means.direct[port] = _direct(r, gradient, weights)
            varying = outputs[port] - repeat_heads(_constant(projection, norm, port), gradient.shape[-2])
            shares[port] = _share(varying, gradient, r, weights, access.d_model)
    share = torch.cat([shares[port] for port in PORTS], dim=2)
    # No wider than the model's own numbers: a copy per node is kept until all nodes are in.
    vector = x.to(reading.residual.dtype).transpose(1, 2)
    means.norm_terms.append([NormTerm(slice(0, len(PORTS) * access.heads), share, vector)])
    return means


def _split_ports(
    projections: Sequence[Projection], reading: Reading, nodes: int
) -> Iterator[tuple[Projection, Mapping[str, Tensor], Mapping[str, Tensor]]]:
    """Yield each projection with its outputs and gradients by port, [pair, node, position, head, d_head]."""
    for projection, output, gradient in zip(projections, reading.outputs, reading.gradients, strict=True):
        outputs = projection.split(_split_nodes(output, nodes))
        gradients = projection.split(_split_nodes(gradient, nodes))
        yield projection, outputs, gradients


def _constant(projection: Projection, norm: NormAccess, port: str) -> Float[Tensor, "own_head d_head"]:
    """Return the part of what the port's heads read that does not depend on the residual stream."""
    constant = projection.biases()[port].float()
    return constant if norm.bias is None else constant + projection.weights()[port].float() @ norm.bias


def _average_projection(
    projection: Projection,
    x: Float[Tensor, "pair node position d"],
    outputs: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    weights: Float[Tensor, " node"],
    means: HeadGradientMeans,
) -> None:
    """Add a projection of the residual stream itself to ``means``; a norm may follow it, over all heads of its port."""
    if projection.norm is None:
        for port, gradient in gradients.items():
            means.direct[port] = _direct(torch.ones_like(x[..., 0]), gradient, weights)
        return
    ((port, gradient),) = gradients.items()
    weight, bias = linear_weight(projection.linear).float(), linear_bias(projection.linear)
    # The norm is over the whole port, so the head's own rows are not enough.
    y = x @ weight.T if bias is None else x @ weight.T + bias.float()
    r = projection.norm.scale(y)
    means.direct[port] = _direct(r, gradient, weights)
    heads = gradient.shape[-2]
    start = PORTS.index(port) * heads
    share = _share(outputs[port], gradient, r, weights, y.shape[-1])
    means.norm_terms.append([NormTerm(slice(start, start + heads), share, (y @ weight).transpose(1, 2))])


def _direct(
    scale: Float[Tensor, "pair node position"],
    gradient: Float[Tensor, "pair node position head d_head"],
    weights: Float[Tensor, " node"],
) -> Float[Tensor, "head pair position d_head"]:
    """Return Σ over nodes of weight · scale · g."""
    return torch.einsum("pkt,pkthe->hpte", scale * weights[:, None], gradient)


def _share(
    varying: Float[Tensor, "pair node position head d_head"],
    gradient: Float[Tensor, "pair node position head d_head"],
    scale: Float[Tensor, "pair node position"],
    weights: Float[Tensor, " node"],
    width: int,
) -> Float[Tensor, "pair position head node"]:
    """Return weight · (scale² / width) (ŷ · g) of every node."""
    share = weights[:, None] * scale.square() / width
    return ((varying * gradient).sum(-1) * share[..., None]).permute(0, 2, 3, 1)


def _average_stream(
    access: HeadAccess, norm: NormAccess | None, reading: Reading, weights: Float[Tensor, " node"]
) -> Float[Tensor, "pair position d"]:
    """Return Σ over nodes of the gradient at the input of an MLP's norm or the final one, or at the stream without one.

    The whole output of such a norm is read, so ŷ is the output less its bias.
    """
    weights = weights.to(reading.residual.device)
    gradient = _split_nodes(reading.gradients[0], len(weights))
    if norm is None:
        return torch.einsum("k,pktd->ptd", weights, gradient)
    x = norm.centre(_split_nodes(reading.residual, len(weights)))
    r = norm.scale(x)
    output = _split_nodes(reading.outputs[0], len(weights))
    varying = output if norm.bias is None else output - norm.bias
    share = (varying * gradient).sum(-1) * weights[:, None] * r.square() / access.d_model
    direct = torch.einsum("pkt,pktd->ptd", r * weights[:, None], gradient) * norm.weight
    return norm.centre(direct) - torch.einsum("pkt,pktd->ptd", share, x)


def _expand_heads(
    access: HeadAccess,
    layer: int,
    means: HeadGradientMeans,
    positions: slice,
    block: Float[Tensor, "port_head pair position d"],
) -> None:
    """Write ḡ at a layer's 3H q, k and v inputs into ``block``; query heads of a group share their group's weights."""
    norm, heads = access.layers[layer].attention_norm, access.heads
    for projection in access.layers[layer].projections:
        for port, weights in projection.weights().items():
            weights = weights.float()
            weights = (weights if norm is None else norm.centre(weights * norm.weight)).to(block.dtype)
            start = PORTS.index(port) * heads
            target = block[start : start + heads].view(len(weights), -1, access.d_model)
            direct = means.direct[port][:, :, positions].to(block.dtype)
            torch.bmm(direct.reshape(len(weights), -1, access.d_head), weights, out=target)
    for terms in means.norm_terms:
        share = torch.cat([term.share[:, positions] for term in terms], dim=-1).flatten(0, 1).to(block.dtype)
        vector = torch.cat([term.vector[:, positions] for term in terms], dim=-2).flatten(0, 1).to(block.dtype)
        padding = pad_count(share.shape[-1], block.dtype) - share.shape[-1]
        stream = block[terms[0].heads].flatten(1, 2).transpose(0, 1)
        # In place, on the view: the block is the largest tensor of the contraction.
        stream.baddbmm_(functional.pad(share, (0, padding)), functional.pad(vector, (0, 0, 0, padding)), alpha=-1)


def _split_nodes(rows: Float[Tensor, "row ending width"], nodes: int) -> Float[Tensor, "pair node position width"]:
    return torch.unflatten(rows, 0, (-1, nodes)).float()
