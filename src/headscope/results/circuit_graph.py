"""A circuit as nodes and edges with their attributes, next to the base model's."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from headscope.results.graph import PORTS, Graph
from headscope.results.node_names import source_label

KEPT, BORN, LOST = "kept", "born", "lost"
"""In both circuits, in the variant's alone, in the base's alone."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a model's graph.

    name: as in EAP-IG: ``input``, ``a3.h5``, ``m3``, ``logits``. label: its name for readers (``node_names``).
    kind: ``input``, ``head``, ``mlp`` or ``logits``.
    layer: from 0; −1 for the input, the number of layers for the logits. head: from 0; None unless it is a head.
    status: kept, born or lost; None if there is no base to compare with.
    """

    name: str
    label: str
    kind: str
    layer: int
    head: int | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge of a circuit.

    source, destination: names of nodes. port: ``q``, ``k`` or ``v`` of a head's input; None into MLPs and logits.
    score: mean over pairs of the signed score in the variant: positive if corrupting the edge raises the metric.
    base_score: the same in the base; None without a base.
    status: kept, born or lost; None without a base.
    """

    source: str
    destination: str
    port: str | None
    score: float
    base_score: float | None
    status: str | None

    @property
    def sign(self) -> str:
        """Return ``+`` or ``-``, the sign of the score; ``0`` if it is 0."""
        return "+" if self.score > 0 else "-" if self.score < 0 else "0"


@dataclass(frozen=True, eq=False)
class CircuitGraph:
    """The edges of a variant's circuit, and of the base's circuit by the same rule.

    graph: with a k and a v input for every query head (of a grouped graph, unfold it first).
    scores, base_scores: signed means over pairs; base_scores is None if there is nothing to compare with.
    edges, base_edges: true for edges in the pruned circuit.
    title: one line that describes it. facts: how it was made, as plain JSON values for a file's header.
    """

    graph: Graph
    scores: Float[np.ndarray, "F B"]
    edges: Bool[np.ndarray, "F B"]
    title: str
    facts: dict[str, str | int | float]
    base_scores: Float[np.ndarray, "F B"] | None = None
    base_edges: Bool[np.ndarray, "F B"] | None = None

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes of either circuit, inputs first, and always the logits."""
        names = [*self.graph.sources, "logits"]
        in_variant = self._has_outgoing(self.edges)
        in_base = None if self.base_edges is None else self._has_outgoing(self.base_edges)
        nodes = []
        for place, name in enumerate(names):
            status = None if in_base is None else _status(bool(in_variant[place]), bool(in_base[place]))
            if in_variant[place] or (in_base is not None and in_base[place]):
                nodes.append(self._node(place, name, status))
        return tuple(nodes)

    @cached_property
    def listed(self) -> tuple[Edge, ...]:
        """Return the edges of either circuit, largest |score| in the variant first."""
        either = self.edges if self.base_edges is None else self.edges | self.base_edges
        edges = [self._edge(int(row), int(column)) for row, column in np.argwhere(either)]
        return tuple(sorted(edges, key=lambda edge: -abs(edge.score)))

    def _has_outgoing(self, edges: "Bool[np.ndarray, 'F B']") -> "Bool[np.ndarray, 'F_and_logits']":
        return np.append(np.any(edges, axis=1), bool(edges[:, -1].any()))

    def _node(self, place: int, name: str, status: str | None) -> Node:
        label = source_label(self.graph, place)
        if place == 0:
            return Node(name, label, "input", -1, None, status)
        if place == len(self.graph.sources):
            return Node(name, label, "logits", self.graph.layers, None, status)
        layer, head = divmod(place - 1, self.graph.heads + 1)
        if head == self.graph.heads:
            return Node(name, label, "mlp", layer, None, status)
        return Node(name, label, "head", layer, head, status)

    def _edge(self, row: int, column: int) -> Edge:
        reader, _, port = self.graph.destinations[column].partition("<")
        base_score, status = None, None
        if self.base_edges is not None and self.base_scores is not None:
            base_score = float(self.base_scores[row, column])
            status = _status(bool(self.edges[row, column]), bool(self.base_edges[row, column]))
        return Edge(
            self.graph.sources[row],
            reader,
            port.rstrip(">") if port else None,
            float(self.scores[row, column]),
            base_score,
            status,
        )

    def links(self) -> Iterator[tuple[str, str, list[Edge]]]:
        """Yield each pair of joined nodes of the variant's circuit with its edges, one per port, in their order."""
        joined: dict[tuple[str, str], list[Edge]] = {}
        for edge in self.listed:
            if edge.status != LOST:
                joined.setdefault((edge.source, edge.destination), []).append(edge)
        for (source, destination), edges in joined.items():
            yield source, destination, sorted(edges, key=lambda edge: PORTS.index(edge.port) if edge.port else -1)


def _status(is_here: bool, was_there: bool) -> str:
    if not is_here:
        return LOST
    return KEPT if was_there else BORN
