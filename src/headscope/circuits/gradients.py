"""Gradients of the loss at every destination's input, without a copy of the residual stream per head.

Method section 3, facts 2 and 3. The gradient is taken at the outputs of q_proj, k_proj and v_proj (k and v
repeated so that each query head reads its own copy) and of the norms before the MLPs and the unembedding, and
pulled back through the projection and the norm in closed form. With x_c the (centred) residual stream, r =
rsqrt(variance + eps) and y the norm's output, a reader with weight W and gradient g at its output has the
gradient

    Jᵀ Wᵀ g = C [ r · w ∘ (Wᵀ g) ] − (r² / d) (ŷ_W · g) x_c ,    ŷ_W = W (w ∘ r x_c),

ŷ_W being the reader's output less its constant part, and C the centring of LayerNorm (the identity for
RMSNorm). Both terms are linear in numbers that can be averaged over the quadrature nodes *before* anything as
wide as d is made per head.

Where heads read the residual stream without a norm but through one over all their port's heads (OLMo 2: y = W x,
r = rsqrt(mean y² + eps)), the same holds with Wᵀy in place of x_c and the port's width in place of d.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from headscope.circuits.endings import Endings
from headscope.circuits.objective import Objective
from headscope.errors import InputError
from headscope.models import HeadAccess, Hook, NormAccess, Projection, attached, ungrouped
from headscope.models.hooks import UNSEEN
from headscope.models.projections import copies, linear_bias, linear_weight
from headscope.results.graph import PORTS


@dataclass(frozen=True, eq=False)
class Reading:
    """One reading of the residual stream, and what was read: outputs and the loss's gradients there; rows are pair ×
    node.

    residual: [row, ending, d]. outputs, gradients: [row, ending, width], of projections, of the norm, or (an MLP
        without a norm) of the stream itself.
    """

    residual: Tensor
    outputs: list[Tensor]
    gradients: list[Tensor]


class _Tape:
    """Residual streams and what was read from them in one pass, in the order of ``HeadAccess.stream_inputs``."""

    def __init__(self, access: HeadAccess) -> None:
        sites = len(access.stream_inputs)
        self.residuals: list[Tensor | None] = [None] * sites
        self.outputs: list[list[Tensor]] = [[] for _ in range(sites)]

    def residual(self, site: int, value: Tensor) -> None:
        self.residuals[site] = value.detach()

    def output(self, site: int, value: Tensor) -> Tensor:
        self.outputs[site].append(value)
        return value

    def hooks(self, access: HeadAccess) -> list[Hook]:
        """Hooks that fill the tape; keys and values become query-head copies on the way."""
        hooks = [
            Hook(module, "input", partial(self.residual, site)) for site, module in enumerate(access.stream_inputs)
        ]
        for index, layer in enumerate(access.layers):
            for one in layer.projections:
                hooks.append(Hook(one.module, "output", partial(self._repeated, 2 * index, one, access.heads)))
            hooks.append(self._whole(2 * index + 1, layer.mlp, layer.mlp_norm))
        last = len(access.stream_inputs) - 1
        return [*hooks, self._whole(last, access.final_norm.module, access.final_norm)]

    def _repeated(self, site: int, projection: Projection, heads: int, value: Tensor) -> Tensor:
        return self.output(site, projection.repeat(value, heads))

    def _whole(self, site: int, reader: torch.nn.Module, norm: NormAccess | None) -> Hook:
        if norm is not None:
            return Hook(norm.module, "output", partial(self.output, site))
        # A view of its own parts the reader's branch from the rest of the stream.
        return Hook(reader, "input", lambda value: self.output(site, value.view_as(value)))

    def readings(self, loss: Tensor) -> list[Reading]:
        """The tape as readings, with the loss's gradients. Raises InputError where a hook saw nothing that matters."""
        for site, (residual, outputs) in enumerate(zip(self.residuals, self.outputs, strict=True)):
            if residual is None or not outputs:
                raise self._unseen(site)
        flat = [output for outputs in self.outputs for output in outputs]
        rest = iter(torch.autograd.grad(loss, flat, allow_unused=True))
        return [self._reading(site, [next(rest) for _ in outputs]) for site, outputs in enumerate(self.outputs)]

    def _reading(self, site: int, gradients: list[Tensor | None]) -> Reading:
        outputs, residual = self.outputs[site], self.residuals[site]
        found = [gradient for gradient in gradients if gradient is not None]
        if residual is None or len(found) < len(outputs):  # read, but by nothing the loss depends on
            raise self._unseen(site)
        return Reading(residual.to(outputs[0].device), [output.detach() for output in outputs], found)

    def _unseen(self, site: int) -> InputError:
        reader = ("attention", "MLP")[site % 2] if site < len(self.residuals) - 1 else "final norm"
        return InputError(f"layer {site // 2} shows nothing of its {reader}: {UNSEEN}")


def readings(run: Endings, objective: Objective, embeddings: Float[Tensor, "pair node ending d"]) -> list[Reading]:
    """Forward and backward over the nodes: per layer the heads' and the MLP's reading, last the logits'."""
    tape = _Tape(run.access)
    with attached(tape.hooks(run.access)), ungrouped(run.access), torch.enable_grad():
        loss = objective(run.logits(embeddings.requires_grad_())).sum()
    return tape.readings(loss)


def head_gradients(
    access: HeadAccess, layer: int, reading: Reading, weights: Float[Tensor, " node"], positions: slice
) -> Float[Tensor, "port_head pair position d"]:
    """ḡ at the q, k, v inputs of a layer's heads (3H, the graph's order), at some ending positions."""
    blocks = access.layers[layer]
    weights = weights.to(reading.residual.device)
    x = _by_node(reading.residual, len(weights), positions)
    ports: dict[str, Tensor] = {}
    for projection, output, gradient in zip(blocks.projections, reading.outputs, reading.gradients, strict=True):
        outputs = projection.split(_by_node(output, len(weights), positions))
        gradients = projection.split(_by_node(gradient, len(weights), positions))
        if blocks.attention_norm is None:
            ports.update(_through_projection(projection, x, outputs, gradients, weights))
        else:
            ports.update(_through_norm(blocks.attention_norm, projection, x, outputs, gradients, weights))
    return torch.cat([ports[port] for port in PORTS])


def stream_gradient(
    access: HeadAccess, norm: NormAccess | None, reading: Reading, weights: Float[Tensor, " node"], positions: slice
) -> Float[Tensor, "pair position d"]:
    """ḡ at the input of a norm whose whole output is read, an MLP's or the final one; at the stream itself where there
    is none."""
    weights = weights.to(reading.residual.device)
    gradient = _by_node(reading.gradients[0], len(weights), positions)
    if norm is None:
        return torch.einsum("k,pktd->ptd", weights, gradient)
    x = norm.centre(_by_node(reading.residual, len(weights), positions))
    r = norm.scale(x)
    output = _by_node(reading.outputs[0], len(weights), positions)
    varying = output if norm.bias is None else output - norm.bias
    along = (varying * gradient).sum(-1) * weights[:, None] * r.square() / access.d_model
    direct = torch.einsum("pkt,pktd->ptd", r * weights[:, None], gradient) * norm.weight
    return norm.centre(direct) - torch.einsum("pkt,pktd->ptd", along, x)


# One port's numbers per quadrature node: [pair, node, position, head, d_head], by port.
_Ports = Mapping[str, Tensor]


def _through_norm(
    norm: NormAccess,
    projection: Projection,
    x: Float[Tensor, "pair node position d"],
    outputs: _Ports,
    gradients: _Ports,
    weights: Float[Tensor, " node"],
) -> dict[str, Float[Tensor, "head pair position d"]]:
    """ḡ by port at the inputs of a norm, one copy per head."""
    x = norm.centre(x)
    r = norm.scale(x)
    rows, biases = projection.weights(), projection.biases()
    found = {}
    for port, gradient in gradients.items():
        constant = biases[port].float()
        if norm.bias is not None:
            constant = constant + rows[port].float() @ norm.bias
        varying = outputs[port] - copies(constant, gradient.shape[-2])
        direct = norm.centre(_direct(rows[port], r, gradient, weights).mul_(norm.weight))
        found[port] = direct - _along(varying, gradient, r, x, weights)
    return found


def _through_projection(
    projection: Projection,
    x: Float[Tensor, "pair node position d"],
    outputs: _Ports,
    gradients: _Ports,
    weights: Float[Tensor, " node"],
) -> dict[str, Float[Tensor, "head pair position d"]]:
    """ḡ by port where the residual stream itself is projected, with or without a norm over all heads."""
    rows = projection.weights()
    if projection.norm is None:
        scale = torch.ones_like(x[..., 0])
        return {port: _direct(rows[port], scale, gradient, weights) for port, gradient in gradients.items()}
    ((port, gradient),) = gradients.items()
    weight, bias = linear_weight(projection.linear).float(), linear_bias(projection.linear)
    y = x @ weight.T if bias is None else x @ weight.T + bias.float()
    r = projection.norm.scale(y)
    along = _along(outputs[port], gradient, r, y @ weight, weights, width=y.shape[-1])
    return {port: _direct(rows[port], r, gradient, weights) - along}


def _direct(
    rows: Float[Tensor, "own_head d_head d"],
    scale: Float[Tensor, "pair node position"],
    gradient: Float[Tensor, "pair node position head d_head"],
    weights: Float[Tensor, " node"],
) -> Float[Tensor, "head pair position d"]:
    """Σ over nodes of scale · Wᵀ g; query heads of a group share their group's rows."""
    averaged = torch.einsum("pkt,pkthe->hpte", scale * weights[:, None], gradient)
    grouped = torch.unflatten(averaged, 0, (len(rows), -1))
    return torch.einsum("ngpte,ned->ngptd", grouped, rows.float()).flatten(0, 1)


def _along(
    varying: Float[Tensor, "pair node position head d_head"],
    gradient: Float[Tensor, "pair node position head d_head"],
    scale: Float[Tensor, "pair node position"],
    vector: Float[Tensor, "pair node position d"],
    weights: Float[Tensor, " node"],
    width: int = 0,
) -> Float[Tensor, "head pair position d"]:
    """Σ over nodes of (scale² / width) (ŷ · g) · vector: how the norm's scale answers; width is d unless given."""
    share = weights[:, None] * scale.square() / (width or vector.shape[-1])
    return torch.einsum("pkth,pktd->hptd", (varying * gradient).sum(-1) * share[..., None], vector)


def _by_node(
    rows: Float[Tensor, "row ending width"], nodes: int, positions: slice
) -> Float[Tensor, "pair node position width"]:
    return torch.unflatten(rows, 0, (-1, nodes))[:, :, positions].float()
