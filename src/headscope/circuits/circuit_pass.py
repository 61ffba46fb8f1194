"""Run a forward pass with only a circuit's edges intact: every other edge carries its part of a ``Patch``.

Method section 4. The input of each destination v is rebuilt as

    x_v = patched residual stream + Σ over circuit edges u→v of (u's output in this pass − u's patched output),

separately for q, k and v of every query head; the model's own residual stream is not used. Several circuits are rows of
one pass.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headscope.circuits.patch_values import Patch
from headscope.circuits.prefix_cache import EndingRunner
from headscope.circuits.source_deltas import SourceWrites
from headscope.models import HeadAccess, Hook, attach_hooks, ungroup_kv
from headscope.results.graph import PORTS


@torch.no_grad()
def circuit_logits(
    runner: EndingRunner, writes: SourceWrites, patch: Patch, edges: Bool[Tensor, "circuit F B"]
) -> Float[Tensor, "pair circuit column vocab"]:
    """Return each circuit's logits of the clean endings at the evaluated columns, with every other edge patched."""
    inputs = runner.clean_embeddings[:, None].expand(-1, len(edges), -1, -1)
    with attach_hooks(_CircuitPass(runner, writes, patch, edges).hooks()), ungroup_kv(runner.access):
        return runner.logits(inputs)


def port_hooks(
    access: HeadAccess, layer: int, values: Callable[[], Float[Tensor, "row ending port_head d_head"]]
) -> list[Hook]:
    """Return hooks that make a layer's projections give q, k and v of every query head (3H) from ``values``.

    ``values`` is called when the projections run. Call this within ``ungroup_kv``.
    """

    def replace_output(projection: int, _output: Tensor) -> Tensor:
        ports = dict(zip(PORTS, torch.split(values(), access.heads, dim=-2), strict=True))
        return projections[projection].join(ports)

    projections = access.layers[layer].projections
    return [
        Hook(projection.module, "output", partial(replace_output, index))
        for index, projection in enumerate(projections)
    ]


class _CircuitPass:
    """One patched pass of several circuits.

    departures: write less patched write of each source so far, [circuit, F, pair, ending, d], float32. A destination
        reads the patched stream plus the departures of the circuit's edges into it.
    """

    def __init__(
        self, runner: EndingRunner, writes: SourceWrites, patch: Patch, edges: Bool[Tensor, "circuit F B"]
    ) -> None:
        self.access, self.patch, self.graph = runner.access, patch, runner.access.graph
        self.edges = edges.float()  # 0 and 1, so that the sum over edges is a matrix product
        pairs, _, ending, d = writes.residual[0].shape
        shape = (*edges.shape[:2], pairs, ending, d)
        self.departures = torch.zeros(shape, dtype=torch.float32, device=edges.device)
        self.departures[:, 0] = (writes.residual[0][:, 0] - patch.stream[0]).to(self.departures)
        self.ports = torch.empty(0)  # q, k and v of the layer that runs, between its two kinds of hooks

    def inputs(self, first: int, count: int, site: int, like: Tensor) -> Float[Tensor, "reader row ending d"]:
        """Return the inputs of ``count`` destinations from column ``first``, which read the stream at ``site``."""
        depth = int(self.graph.real[:, first].sum())  # sources that come before; later ones have not run yet
        kept_edges = self.edges[:, :depth, first : first + count].transpose(1, 2)
        departures = torch.bmm(kept_edges, self.departures[:, :depth].flatten(2))
        departures = torch.unflatten(departures, 2, self.departures.shape[2:]).permute(1, 2, 0, 3, 4)
        return (departures + self.patch.stream[site][:, None].to(departures)).flatten(1, 2).to(like)

    def read_heads(self, layer: int, residual: Tensor) -> None:
        """Compute q, k and v of every head of a layer, each from its own input, for the hooks of ``port_hooks``."""
        streams = self.inputs(self.graph.port(layer, "q"), len(PORTS) * self.access.heads, 2 * layer, residual)
        self.ports = self.access.read_heads(layer, streams)

    def read_stream(self, column: int, site: int, residual: Tensor) -> Tensor:
        """Return the input of an MLP or of the logits in place of the residual stream."""
        return self.inputs(column, 1, site, residual)[0]

    def write_heads(self, layer: int, z: Tensor) -> None:
        """Store how far the writes of a layer's heads depart from their patch."""
        departure = torch.unflatten(z, 0, (-1, len(self.edges))) - self.patch.heads[layer][:, None]
        departure = torch.unflatten(departure, -1, (self.access.heads, self.access.d_head)).float()
        weights = self.access.output_weights(layer).float()
        heads = slice(self.graph.head_source(layer), self.graph.mlp_source(layer))
        self.departures[:, heads] = torch.einsum("pcthe,hed->chptd", departure, weights).to(self.departures)

    def write_mlp(self, layer: int, output: Tensor) -> None:
        """Store how far an MLP's write departs from its patch."""
        departure = torch.unflatten(output, 0, (-1, len(self.edges))) - self.patch.mlps[layer][:, None]
        self.departures[:, self.graph.mlp_source(layer)] = departure.transpose(0, 1).to(self.departures)

    def hooks(self) -> list[Hook]:
        """Return every hook of the pass."""
        access, last = self.access, len(self.graph.destinations) - 1
        hooks = [Hook(access.final_norm.module, "input", partial(self.read_stream, last, 2 * len(access.layers)))]
        for index, layer in enumerate(access.layers):
            mlp_input = partial(self.read_stream, self.graph.mlp_destination(index), 2 * index + 1)
            hooks.append(Hook(layer.attention_input, "input", partial(self.read_heads, index)))
            hooks += port_hooks(access, index, lambda: self.ports)
            hooks += layer.write_hooks(partial(self.write_heads, index))
            hooks.append(Hook(layer.mlp_input, "input", mlp_input))
            hooks.append(Hook(layer.mlp_write, "output", partial(self.write_mlp, index)))
        return hooks
