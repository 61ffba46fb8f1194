"""Entry scores: the edge score at which a head enters the pruned circuit.

Keep the edges with |score| ≥ t and prune to the fixed point (method section 4): in a graph without cycles a head stays
exactly when a path of remaining edges leads from the input through it to the logits. So each head has one *entry
score*, the score of the weakest edge on its best such path (the bottleneck path, or widest path, of graph theory), and
the head is in the pruned circuit of every t up to it. One pass over the edges therefore serves all circuit sizes and
gives margins; pruning a mask gives yes or no for one size. ``tests/comparison/test_bottleneck_paths.py`` compares the
two.

An edge is in the pruned circuit of t exactly when its own score, the best path from the input to its source and the
best path from its destination to the logits all reach t.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from headscope.results.graph import Graph


@dataclass(frozen=True, slots=True)
class _Block:
    """A run of ``count`` destinations from ``first`` on, all of which read exactly the first ``reads`` sources.

    nodes: the source rows of the nodes they are inputs of (F for the logits).
    """

    first: int
    count: int
    reads: int
    nodes: "Int[np.ndarray, 'node']"


@dataclass(frozen=True)
class EdgeBlocks:
    """The real edges of a graph in one row, block by block of destinations that read the same sources.

    Within a block the edges are laid out [destination, source], so a block of any row of scores is a view,
    not a copy.
    """

    graph: Graph

    @cached_property
    def blocks(self) -> list[_Block]:
        """Return per layer the block of its q, k and v inputs, then that of its MLP; last the logits."""
        blocks = []
        for layer in range(self.graph.layers):
            blocks += self._layer_blocks(layer)
        sources = len(self.graph.sources)
        return [*blocks, _Block(len(self.graph.destinations) - 1, 1, sources, np.array([sources]))]

    def _layer_blocks(self, layer: int) -> list[_Block]:
        graph = self.graph
        first, mlp = graph.head_source(layer), graph.mlp_source(layer)
        heads = np.arange(first, first + graph.heads)
        attention = _Block(graph.port(layer, "q"), graph.attention_inputs, first, heads)
        reads = first if graph.parallel else mlp  # parallel blocks: the MLP does not read its own layer's heads
        return [attention, _Block(graph.mlp_destination(layer), 1, reads, np.array([mlp]))]

    @cached_property
    def index(self) -> "Int[np.ndarray, 'edge']":
        """Return the place of each edge in a flattened [F, B] matrix."""
        place = np.arange(self.graph.real.size).reshape(self.graph.real.shape)
        columns = [place[: block.reads, block.first : block.first + block.count] for block in self.blocks]
        return np.concatenate([column.T.ravel() for column in columns])

    @cached_property
    def sources(self) -> "Int[np.ndarray, 'edge']":
        """Return the row of each edge's source."""
        return self.index // len(self.graph.destinations)

    @cached_property
    def destinations(self) -> "Int[np.ndarray, 'edge']":
        """Return the column of each edge's destination."""
        return self.index % len(self.graph.destinations)

    def names(self, edges: "Int[np.ndarray, 'chosen']") -> list[str]:
        """Return the names, such as ``a0.h1->m2``, of the edges at those places in the row."""
        sources, destinations = self.graph.sources, self.graph.destinations
        ends = zip(self.sources[edges].tolist(), self.destinations[edges].tolist(), strict=True)
        return [f"{sources[source]}->{destinations[destination]}" for source, destination in ends]

    def strongest_inputs(
        self, scores: "Float[np.ndarray, 'row edge']"
    ) -> Iterator[tuple["Int[np.ndarray, 'node']", "Float[np.ndarray, 'row node source']"]]:
        """Yield per block the nodes it leads into (source rows; F for the logits) and the strongest edge to each.

        Every source has three edges into a head (its q, k and v, the last two possibly its group's), and one into an
        MLP or the logits.
        """
        start = 0
        for block in self.blocks:
            stop = start + block.count * block.reads
            inputs = scores[:, start:stop].reshape(len(scores), block.count, block.reads)
            yield block.nodes, inputs if block.count == 1 else self._into_heads(inputs)
            start = stop

    def _into_heads(self, inputs: "Float[np.ndarray, 'row input source']") -> "Float[np.ndarray, 'row head source']":
        """Return the strongest of a head's q, k and v, from a layer's inputs in the order all q, all k, all v."""
        # k and v enter one head together; in a grouped graph each serves the heads // groups query heads of its group.
        heads = self.graph.heads
        groups = self.graph.readers("k")
        query = inputs[:, :heads]
        shared = np.maximum(inputs[:, heads : heads + groups], inputs[:, heads + groups :])
        return np.asarray(np.maximum(query, np.repeat(shared, heads // groups, axis=1)))


@dataclass(frozen=True, eq=False)
class BottleneckPaths:
    """Width per row of scores and node (sources, then the logits): the weakest edge on the best path to it.

    forward: width from the input. backward: width to the logits.
    """

    blocks: EdgeBlocks
    forward: Float[np.ndarray, "row node"]
    backward: Float[np.ndarray, "row node"]

    @property
    def entry_scores(self) -> "Float[np.ndarray, 'row layer head']":
        """Return each head's entry score, the largest t at which the pruned circuit of |score| ≥ t holds it."""
        return np.asarray(self.blocks.graph.head_grid(np.minimum(self.forward, self.backward)[:, :-1]))

    def end_widths(self, edges: "Int[np.ndarray, 'chosen']") -> "Float[np.ndarray, 'row chosen']":
        """Return the smaller of the widths to each edge's source and from its destination, without its own
        score.
        """
        onward = self.onward[:, self.blocks.destinations[edges]]
        return np.asarray(np.minimum(self.forward[:, self.blocks.sources[edges]], onward))

    def rows(self, rows: slice) -> "BottleneckPaths":
        """Return the paths of some of the rows."""
        return BottleneckPaths(self.blocks, self.forward[rows], self.backward[rows])

    @cached_property
    def onward(self) -> "Float[np.ndarray, 'row destination']":
        """Return the width from each destination on; a key/value input leads on through any head of its group."""
        graph = self.blocks.graph
        # Inputs of one group stand next to one another in ``column``; each run of them is one destination.
        starts = np.flatnonzero(np.diff(graph.column, prepend=-1))
        return np.asarray(np.maximum.reduceat(self.backward[:, graph.owner], starts, axis=1))


def bottleneck_paths(blocks: EdgeBlocks, scores: "Float[np.ndarray, 'row edge']") -> BottleneckPaths:
    """Return the widest paths through the edges of each row of ``scores``, |score| in the order of ``blocks.index``.

    1. forward: the width of a node is the best over its incoming edges of min(width of the source, edge);
    2. backward: the same from the logits.
    """
    # One column more than sources: the logits, which own a destination and are no source. A width of 0 is no path.
    forward = np.zeros((len(scores), len(blocks.graph.sources) + 1), dtype=scores.dtype)
    backward = np.zeros_like(forward)
    forward[:, 0] = backward[:, -1] = np.inf  # the input is reached, and the logits reach themselves, at any threshold
    inputs = list(blocks.strongest_inputs(scores))
    # Blocks are in the order of computation: all that a block reads has its width before the block's nodes get theirs.
    for nodes, edges in inputs:
        forward[:, nodes] = np.minimum(edges, forward[:, None, : edges.shape[2]]).max(axis=2)
    for nodes, edges in reversed(inputs):
        reads = edges.shape[2]
        through = np.minimum(edges, backward[:, nodes, None]).max(axis=1)
        backward[:, :reads] = np.maximum(backward[:, :reads], through)
    return BottleneckPaths(blocks, forward, backward)
