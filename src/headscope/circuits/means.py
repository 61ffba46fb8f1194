"""Gradients of the loss at every destination's input, averaged over the nodes of a path.

Method section 3, fact 2. A gradient g at what a reader with weight W gives is pulled back through the projection and
the norm in closed form. With x_c the (centred) residual stream, r = rsqrt(variance + eps) and y the norm's output,

    Jᵀ Wᵀ g = C [ r · w ∘ (Wᵀ g) ] − (r² / d) (ŷ_W · g) x_c ,    ŷ_W = W (w ∘ r x_c),

ŷ_W being the reader's output less its constant part, and C the centring of LayerNorm (the identity for RMSNorm).

1. Each pass over nodes leaves Σ of r · g and, per node, (r² / d) (ŷ_W · g) beside x_c (``means_of``); passes add up
   (``Means.add``). Nothing of this is as wide as d per head.
2. Once all nodes are in, the gradients are made, block by block of destinations and some positions at a time
   (``Means.blocks``).

Where heads read the residual stream without a norm but through one over all their port's heads (OLMo 2: y = W x,
r = rsqrt(mean y² + eps)), the same holds with Wᵀy in place of x_c and the port's width in place of d.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from headscope.circuits.gradients import Reading
from headscope.circuits.operands import padded
from headscope.models import HeadAccess, NormAccess, Projection
from headscope.models.projections import linear_bias, linear_weight, repeat_heads
from headscope.results.graph import PORTS


@dataclass(frozen=True, eq=False)
class Along:
    """How a norm's scale answers: −Σ over nodes of share · vector is part of some heads' gradients.

    heads: which of a layer's 3H, in the graph's order.
    """

    heads: slice
    share: Float[Tensor, "pair position head node"]
    vector: Float[Tensor, "pair position node d"]


@dataclass(frozen=True, eq=False)
class HeadMeans:
    """What the gradients at a layer's q, k and v inputs are made of.

    direct: by port, Σ over nodes of weight · r · g. along: a list over passes for every norm in the way.
    """

    direct: dict[str, Float[Tensor, "head pair position d_head"]]
    along: list[list[Along]]

    def add(self, other: "HeadMeans") -> None:
        """Take in the same pairs' other nodes."""
        for port, mean in self.direct.items():
            mean.add_(other.direct[port])
        for mine, theirs in zip(self.along, other.along, strict=True):
            mine.extend(theirs)


@dataclass(frozen=True, eq=False)
class Means:
    """Weighted sums over nodes, a group of rows each: heads and MLPs by layer, and the final norm's last of streams.

    nodes: how many are in.
    """

    access: HeadAccess
    heads: list[HeadMeans]
    streams: list[Float[Tensor, "pair position d"]]
    nodes: int

    def add(self, other: "Means") -> "Means":
        """These with the same pairs' other nodes."""
        for layer, heads in enumerate(self.heads):
            heads.add(other.heads[layer])
        for site, stream in enumerate(self.streams):
            stream.add_(other.streams[site])
        return Means(self.access, self.heads, self.streams, self.nodes + other.nodes)

    def blocks(
        self, positions: slice, dtype: torch.dtype
    ) -> Iterator[tuple[range, Float[Tensor, "destination pair position d"]]]:
        """Blocks of destinations and their gradients ḡ at some ending positions; more rows (``padded``) are 0.

        A layer's q, k and v inputs go with the MLP before them, the last MLP with the logits: what reads nearly the
        same sources is contracted together.
        """
        graph = self.access.graph
        for layer, heads in enumerate(self.heads):
            before = self.streams[layer - 1 : layer]
            block = range(graph.port(layer, "q") - len(before), graph.mlp_destination(layer))
            gradients = _zeros(self.streams[layer][:, positions], len(block), dtype)
            for stream in before:
                gradients[0] = stream[:, positions]
            _expand(self.access, layer, heads, positions, gradients[len(before) : len(block)])
            yield block, gradients
        last = self.streams[-2:]
        gradients = _zeros(last[-1][:, positions], len(last), dtype)
        for row, stream in enumerate(last):
            gradients[row] = stream[:, positions]
        yield range(len(graph.destinations) - len(last), len(graph.destinations)), gradients


def _zeros(
    like: Float[Tensor, "pair position d"], count: int, dtype: torch.dtype
) -> Float[Tensor, "destination pair position d"]:
    """Room for some destinations' gradients; what is beyond them is zero."""
    room = like.new_empty(padded(count, dtype), *like.shape, dtype=dtype)
    room[count:] = 0
    return room


def means_of(access: HeadAccess, read: list[Reading], weights: Float[Tensor, " node"]) -> Means:
    """The means of one pass, whose rows are groups of ``weights``' length."""
    layers = enumerate(access.layers)
    streams = [_stream(access, blocks.mlp_norm, read[2 * layer + 1], weights) for layer, blocks in layers]
    streams.append(_stream(access, access.final_norm, read[-1], weights))
    heads = [_heads(access, layer, read[2 * layer], weights) for layer in range(len(access.layers))]
    return Means(access, heads, streams, len(weights))


def _heads(access: HeadAccess, layer: int, reading: Reading, weights: Float[Tensor, " node"]) -> HeadMeans:
    blocks = access.layers[layer]
    weights = weights.to(reading.residual.device)
    x = _by_node(reading.residual, len(weights))
    direct: dict[str, Tensor] = {}
    along: list[list[Along]] = []
    read = zip(blocks.projections, reading.outputs, reading.gradients, strict=True)
    if blocks.attention_norm is None:
        for projection, output, gradient in read:
            outputs, gradients = (projection.split(_by_node(each, len(weights))) for each in (output, gradient))
            along += _through_projection(projection, x, outputs, gradients, weights, direct)
        return HeadMeans(direct, along)
    shares: dict[str, Tensor] = {}
    norm = blocks.attention_norm
    x = norm.centre(x)
    r = norm.scale(x)
    for projection, output, gradient in read:
        outputs, gradients = (projection.split(_by_node(each, len(weights))) for each in (output, gradient))
        for port, own in gradients.items():
            direct[port] = _direct(r, own, weights)
            varying = outputs[port] - repeat_heads(_constant(projection, norm, port), own.shape[-2])
            shares[port] = _share(varying, own, r, weights, access.d_model)
    together = torch.cat([shares[port] for port in PORTS], dim=2)
    return HeadMeans(direct, [[Along(slice(0, len(PORTS) * access.heads), together, _by_position(x, reading))]])


def _constant(projection: Projection, norm: NormAccess, port: str) -> Float[Tensor, "own_head d_head"]:
    """What the port's heads read whatever the residual stream is."""
    constant = projection.biases()[port].float()
    return constant if norm.bias is None else constant + projection.weights()[port].float() @ norm.bias


def _through_projection(
    projection: Projection,
    x: Float[Tensor, "pair node position d"],
    outputs: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    weights: Float[Tensor, " node"],
    direct: dict[str, Tensor],
) -> list[list[Along]]:
    """The residual stream itself is projected, with or without a norm over all heads of the port."""
    if projection.norm is None:
        direct |= {port: _direct(torch.ones_like(x[..., 0]), own, weights) for port, own in gradients.items()}
        return []
    ((port, gradient),) = gradients.items()
    weight, bias = linear_weight(projection.linear).float(), linear_bias(projection.linear)
    y = x @ weight.T if bias is None else x @ weight.T + bias.float()
    r = projection.norm.scale(y)
    direct[port] = _direct(r, gradient, weights)
    heads = gradient.shape[-2]
    first = PORTS.index(port) * heads
    share = _share(outputs[port], gradient, r, weights, y.shape[-1])
    return [[Along(slice(first, first + heads), share, (y @ weight).transpose(1, 2))]]


def _direct(
    scale: Float[Tensor, "pair node position"],
    gradient: Float[Tensor, "pair node position head d_head"],
    weights: Float[Tensor, " node"],
) -> Float[Tensor, "head pair position d_head"]:
    """Σ over nodes of weight · scale · g."""
    return torch.einsum("pkt,pkthe->hpte", scale * weights[:, None], gradient)


def _share(
    varying: Float[Tensor, "pair node position head d_head"],
    gradient: Float[Tensor, "pair node position head d_head"],
    scale: Float[Tensor, "pair node position"],
    weights: Float[Tensor, " node"],
    width: int,
) -> Float[Tensor, "pair position head node"]:
    """Per node weight · (scale² / width) (ŷ · g)."""
    share = weights[:, None] * scale.square() / width
    return ((varying * gradient).sum(-1) * share[..., None]).permute(0, 2, 3, 1)


def _stream(
    access: HeadAccess, norm: NormAccess | None, reading: Reading, weights: Float[Tensor, " node"]
) -> Float[Tensor, "pair position d"]:
    """Σ over nodes of the gradient at the input of a norm whose whole output is read, an MLP's or the final one; at the
    stream itself where there is none."""
    weights = weights.to(reading.residual.device)
    gradient = _by_node(reading.gradients[0], len(weights))
    if norm is None:
        return torch.einsum("k,pktd->ptd", weights, gradient)
    x = norm.centre(_by_node(reading.residual, len(weights)))
    r = norm.scale(x)
    output = _by_node(reading.outputs[0], len(weights))
    varying = output if norm.bias is None else output - norm.bias
    along = (varying * gradient).sum(-1) * weights[:, None] * r.square() / access.d_model
    direct = torch.einsum("pkt,pktd->ptd", r * weights[:, None], gradient) * norm.weight
    return norm.centre(direct) - torch.einsum("pkt,pktd->ptd", along, x)


def _expand(
    access: HeadAccess,
    layer: int,
    means: HeadMeans,
    positions: slice,
    block: Float[Tensor, "port_head pair position d"],
) -> None:
    """Write ḡ at a layer's 3H q, k and v inputs into ``block``; query heads of a group share their group's rows."""
    norm, heads = access.layers[layer].attention_norm, access.heads
    for projection in access.layers[layer].projections:
        for port, rows in projection.weights().items():
            rows = rows.float()
            rows = (rows if norm is None else norm.centre(rows * norm.weight)).to(block.dtype)
            first = PORTS.index(port) * heads
            own = block[first : first + heads].view(len(rows), -1, access.d_model)
            mean = means.direct[port][:, :, positions].to(block.dtype)
            torch.bmm(mean.reshape(len(rows), -1, access.d_head), rows, out=own)
    for passes in means.along:
        share = torch.cat([each.share[:, positions] for each in passes], dim=-1).flatten(0, 1).to(block.dtype)
        vector = torch.cat([each.vector[:, positions] for each in passes], dim=-2).flatten(0, 1).to(block.dtype)
        more = padded(share.shape[-1], block.dtype) - share.shape[-1]
        stream = block[passes[0].heads].flatten(1, 2).transpose(0, 1)
        stream.baddbmm_(functional.pad(share, (0, more)), functional.pad(vector, (0, 0, 0, more)), alpha=-1)


def _by_node(rows: Float[Tensor, "row ending width"], nodes: int) -> Float[Tensor, "pair node position width"]:
    return torch.unflatten(rows, 0, (-1, nodes)).float()


def _by_position(x: Float[Tensor, "pair node position d"], reading: Reading) -> Float[Tensor, "pair position node d"]:
    """x as it is kept: no wider than the model's own numbers."""
    return x.to(reading.residual.dtype).transpose(1, 2)
