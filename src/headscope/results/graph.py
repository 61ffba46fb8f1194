"""The graph of method section 3: F sources, B destinations, and which edges between them are real.

Sources, in order: ``input``, then per layer ``a{l}.h0 … a{l}.h{H-1}`` and ``m{l}``: F = 1 + L(H + 1).
Destinations, in order: per layer all ``<q>``, all ``<k>``, all ``<v>`` inputs of its heads and ``m{l}``;
last ``logits``: B = L(3H + 1) + 1. Names and order are those of EAP-IG, so score matrices can be compared directly.

A *grouped* graph (``kv_heads=K``) has one k and one v input per key/value head instead of a copy per query head:
B = L(H + 2K + 1) + 1. They are named ``a{l}.kv0<k> … a{l}.kv{K-1}<v>`` — EAP-IG has no name for them, and ``h1<k>``
would be read as query head 1's. An input of a group is an input of each of its query heads: key/value head j serves
the query heads j·H/K … (j + 1)·H/K − 1.
"""

import dataclasses
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Num, Shaped

from headscope.errors import InputError
from headscope.results.codec import from_json

PORTS = ("q", "k", "v")


@dataclass(frozen=True)
class Graph:
    """Nodes and real edges of a transformer of ``layers`` layers with ``heads`` query heads each.

    parallel: attention and MLP of a layer read the same residual stream (GPT-NeoX), so no edge runs from a layer's
        heads to its own MLP.
    kv_heads: key/value heads K of a grouped graph; None if every query head has its own k and v input. K equal to
        H is the same and stored as None.

    Raises InputError if K does not divide H.
    """

    layers: int
    heads: int
    parallel: bool = False
    kv_heads: int | None = None

    def __post_init__(self) -> None:
        if self.kv_heads is not None and not (1 <= self.kv_heads <= self.heads and self.heads % self.kv_heads == 0):
            raise InputError(
                f"found {self.kv_heads} key/value heads for {self.heads} query heads; "
                f"a divisor of {self.heads} is needed"
            )
        if self.kv_heads == self.heads:
            object.__setattr__(self, "kv_heads", None)

    def __str__(self) -> str:
        grouped = "" if self.kv_heads is None else f" ({self.kv_heads} key/value)"
        return f"{self.layers} × {self.heads} heads{grouped}{', parallel' if self.parallel else ''}"

    def edge_share(self, edges: int) -> float:
        """Return ``edges`` edges as a share of the real ones, at most 1."""
        total = int(self.real.sum())
        return min(edges, total) / total

    @classmethod
    def from_dict(cls, fields: Any, origin: str) -> "Graph":
        """Return the graph a file describes. Raises InputError, naming ``origin``, if its fields are not a graph's."""
        counts = [fields.get(name) for name in ("layers", "heads")] if isinstance(fields, dict) else [None]
        is_known = isinstance(fields, dict) and fields.keys() <= {field.name for field in dataclasses.fields(cls)}
        if not is_known or not all(type(count) is int and count > 0 for count in counts):
            raise InputError(f"{origin} describes its graph as {fields!r}; layers and heads above 0 are needed")
        return from_json(cls, fields, f"the graph in {origin}")

    @property
    def per_query(self) -> "Graph":
        """Return the same model's graph with a k and a v input for every query head."""
        return replace(self, kv_heads=None)

    @cached_property
    def sources(self) -> list[str]:
        """Return the names of the F sources."""
        blocks = ([*(f"a{layer}.h{head}" for head in range(self.heads)), f"m{layer}"] for layer in range(self.layers))
        return ["input", *(name for block in blocks for name in block)]

    @cached_property
    def destinations(self) -> list[str]:
        """Return the names of the B destinations."""
        names = []
        for layer in range(self.layers):
            for port in PORTS:
                reader = "h" if port == "q" or self.kv_heads is None else "kv"
                names += [f"a{layer}.{reader}{index}<{port}>" for index in range(self.readers(port))]
            names.append(f"m{layer}")
        return [*names, "logits"]

    def readers(self, port: str) -> int:
        """Return the number of a layer's inputs at a port: H, or K for k and v of a grouped graph."""
        return self.heads if port == "q" or self.kv_heads is None else self.kv_heads

    @property
    def attention_inputs(self) -> int:
        """Return the number of destinations per layer that heads read: 3H, or H + 2K."""
        return sum(self.readers(port) for port in PORTS)

    def head_source(self, layer: int, head: int = 0) -> int:
        """Return the row of a head's output; ``head=0`` is the first row of the layer."""
        return 1 + layer * (self.heads + 1) + head

    def mlp_source(self, layer: int) -> int:
        """Return the row of a layer's MLP output."""
        return self.head_source(layer, self.heads)

    def port(self, layer: int, port: str, head: int = 0) -> int:
        """Return the column of a head's q, k or v input (a key/value head's k or v in a grouped graph).

        ``head=0`` is the first of that port's block of ``readers(port)`` columns.
        """
        before = sum(self.readers(earlier) for earlier in PORTS[: PORTS.index(port)])
        return layer * (self.attention_inputs + 1) + before + head

    def mlp_destination(self, layer: int) -> int:
        """Return the column of a layer's MLP input."""
        return layer * (self.attention_inputs + 1) + self.attention_inputs

    @cached_property
    def source_depth(self) -> "Int[np.ndarray, 'F']":
        """Return the half-layers before each source's write: 0 for the input, 2l + 1 for heads, 2l + 2 for MLPs."""
        depth = np.zeros(len(self.sources), dtype=np.int64)
        for layer in range(self.layers):
            depth[self.head_source(layer) : self.mlp_source(layer)] = 2 * layer + 1
            depth[self.mlp_source(layer)] = 2 * layer + 2
        return depth

    @cached_property
    def destination_depth(self) -> "Int[np.ndarray, 'B']":
        """Return the last ``source_depth`` each destination reads: 2l for heads, 2l + 1 for MLPs (2l if parallel), 2L
        for the logits.
        """
        depth = np.full(len(self.destinations), 2 * self.layers, dtype=np.int64)
        for layer in range(self.layers):
            depth[self.port(layer, "q") : self.mlp_destination(layer)] = 2 * layer
            depth[self.mlp_destination(layer)] = 2 * layer + (0 if self.parallel else 1)
        return depth

    @cached_property
    def real(self) -> "Bool[np.ndarray, 'F B']":
        """Return whether each source writes before each destination reads, so that the edge exists."""
        return self.source_depth[:, None] <= self.destination_depth[None, :]

    @cached_property
    def owner(self) -> "Int[np.ndarray, 'B_query']":
        """Return the source row of the node each input of ``per_query`` belongs to; F for ``logits``, no source."""
        per_layer = np.r_[np.tile(np.arange(self.heads), len(PORTS)), self.heads]
        rows = self.head_source(0) + np.arange(self.layers)[:, None] * (self.heads + 1) + per_layer
        return np.append(rows.ravel(), len(self.sources))

    @cached_property
    def column(self) -> "Int[np.ndarray, 'B_query']":
        """Return the destination that holds each input of ``per_query``: its own, or its group's.

        Together with ``owner`` it gives the inputs of a node, one row per input: three of a head, one of an MLP.
        """
        if self.kv_heads is None:
            return np.arange(len(self.destinations))
        group = np.arange(self.heads) // (self.heads // self.kv_heads)
        starts = [self.port(0, "q") + np.arange(self.heads), self.port(0, "k") + group, self.port(0, "v") + group]
        per_layer = np.r_[np.concatenate(starts), self.mlp_destination(0)]
        columns = np.arange(self.layers)[:, None] * (self.attention_inputs + 1) + per_layer
        return np.append(columns.ravel(), len(self.destinations) - 1)

    def fold(self, scores: "Num[np.ndarray, '*batch F B_query']") -> "Num[np.ndarray, '*batch F B']":
        """Return signed scores of ``per_query`` as this graph's: k and v summed over the query heads of a group.

        The group's input is one vector that all its query heads read, so corrupting it corrupts every copy: the
        effects add, and |score| is taken of the sum. Fold per pair, then average.
        """
        if self.kv_heads is None:
            return scores
        # Copies of one group stand side by side, so its sum is one run of columns.
        folded: np.ndarray = np.add.reduceat(scores, np.flatnonzero(np.diff(self.column, prepend=-1)), axis=-1)
        return folded

    def unfold(self, values: "Shaped[np.ndarray, '*batch F B']") -> "Shaped[np.ndarray, '*batch F B_query']":
        """Return masks (or scores) of this graph as ``per_query``'s: a group's repeated for each of its query heads.

        This is the mask to patch with: all copies of a group's input are kept or replaced together.
        """
        return values if self.kv_heads is None else values[..., self.column]

    def head_grid(self, values: "np.ndarray[Any, np.dtype[Any]]") -> "np.ndarray[Any, np.dtype[Any]]":
        """Return per-source values [..., F] as [..., layer, head], leaving input and MLPs out."""
        grid = values[..., 1:].reshape(*values.shape[:-1], self.layers, self.heads + 1)
        return grid[..., : self.heads]
