"""A model run with only a circuit's edges intact: every other edge carries what its source writes under a ``Patch``
(method section 4).

One forward pass. The input of each destination v is rebuilt as

    x_v = patched residual stream + Σ over circuit edges u→v of (u's output in this pass − u's patched output),

separately for q, k and v of every query head; the model's own residual stream is not used. Several circuits are rows of
one pass.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headscope.circuits.contrast import Writes
from headscope.circuits.endings import Endings
from headscope.circuits.patches import Patch
from headscope.models import HeadAccess, Hook, attach_hooks, ungroup_kv
from headscope.results.graph import PORTS


@torch.no_grad()
def patched_logits(
    run: Endings, writes: Writes, patch: Patch, edges: Bool[Tensor, "circuit F B"]
) -> Float[Tensor, "pair circuit column vocab"]:
    """Logits of the clean endings at the evaluated columns, each circuit's with every edge outside it patched."""
    inputs = run.clean[:, None].expand(-1, len(edges), -1, -1)
    with attach_hooks(_Pass(run, writes, patch, edges).hooks()), ungroup_kv(run.access):
        return run.logits(inputs)


def own_ports(
    access: HeadAccess, layer: int, values: Callable[[], Float[Tensor, "row ending port_head d_head"]]
) -> list[Hook]:
    """Hooks that make a layer's projections give q, k and v of every query head (3H) as ``values`` has them when they
    run; attention must be ``ungrouped``.
    """

    def joined(projection: int, _output: Tensor) -> Tensor:
        ports = dict(zip(PORTS, torch.split(values(), access.heads, dim=-2), strict=True))
        return access.layers[layer].projections[projection].join(ports)

    projections = access.layers[layer].projections
    return [Hook(one.module, "output", partial(joined, index)) for index, one in enumerate(projections)]


class _Pass:
    """One patched pass: how far each source departs from its patched output, [circuit, F, pair, ending, d], float32."""

    def __init__(self, run: Endings, writes: Writes, patch: Patch, edges: Bool[Tensor, "circuit F B"]) -> None:
        self.access, self.patch, self.graph = run.access, patch, run.access.graph
        self.edges = edges.float()
        pairs, _, ending, d = writes.residual[0].shape
        self.departures = torch.zeros(*edges.shape[:2], pairs, ending, d, device=edges.device)
        self.departures[:, 0] = (writes.residual[0][:, 0] - patch.stream[0]).to(self.departures)
        self.ports = torch.empty(0)

    def inputs(self, first: int, count: int, site: int, like: Tensor) -> Float[Tensor, "reader row ending d"]:
        """Inputs of ``count`` destinations from column ``first``, which read the stream at ``site``."""
        depth = int(self.graph.real[:, first].sum())
        kept = self.edges[:, :depth, first : first + count].transpose(1, 2)
        carried = torch.bmm(kept, self.departures[:, :depth].flatten(2))
        carried = torch.unflatten(carried, 2, self.departures.shape[2:]).permute(1, 2, 0, 3, 4)
        return (carried + self.patch.stream[site][:, None].to(carried)).flatten(1, 2).to(like)

    def heads(self, layer: int, residual: Tensor) -> None:
        """At what reads a layer's stream: work out q, k and v of every head, each from its own input."""
        streams = self.inputs(self.graph.port(layer, "q"), len(PORTS) * self.access.heads, 2 * layer, residual)
        self.ports = self.access.read_heads(layer, streams)

    def stream(self, column: int, site: int, residual: Tensor) -> Tensor:
        """At what reads the stream for an MLP or the logits: its own input."""
        return self.inputs(column, 1, site, residual)[0]

    def wrote_heads(self, layer: int, z: Tensor) -> None:
        """Note what a layer's heads wrote."""
        departed = torch.unflatten(z, 0, (-1, len(self.edges))) - self.patch.heads[layer][:, None]
        first, split = self.graph.head_source(layer), (self.access.heads, self.access.d_head)
        heads = torch.unflatten(departed, -1, split).float(), self.access.output_weights(layer).float()
        rows = slice(first, first + self.access.heads)
        self.departures[:, rows] = torch.einsum("pcthe,hed->chptd", *heads).to(self.departures)

    def wrote_mlp(self, layer: int, output: Tensor) -> None:
        """Note what an MLP added to the stream."""
        departed = torch.unflatten(output, 0, (-1, len(self.edges))) - self.patch.mlps[layer][:, None]
        self.departures[:, self.graph.mlp_source(layer)] = departed.transpose(0, 1).to(self.departures)

    def hooks(self) -> list[Hook]:
        """Every hook of the pass."""
        access, last = self.access, len(self.graph.destinations) - 1
        hooks = [Hook(access.final_norm.module, "input", partial(self.stream, last, 2 * len(access.layers)))]
        for index, layer in enumerate(access.layers):
            mlp = partial(self.stream, self.graph.mlp_destination(index), 2 * index + 1)
            hooks.append(Hook(layer.attention_input, "input", partial(self.heads, index)))
            hooks += own_ports(access, index, lambda: self.ports)
            hooks += layer.write_hooks(partial(self.wrote_heads, index))
            hooks.append(Hook(layer.mlp_input, "input", mlp))
            hooks.append(Hook(layer.mlp_write, "output", partial(self.wrote_mlp, index)))
        return hooks
