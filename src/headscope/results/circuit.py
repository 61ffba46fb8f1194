"""A circuit: edges of one graph, and the heads that they connect."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float

from headscope import display, storage
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.results import eap_json, plots
from headscope.results.graph import Graph
from headscope.storage import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Circuit(Result):
    """Edges of a pruned circuit.

    edges: bool [F, B], true for edges in the circuit.
    settings: how it was selected (rule and size) and what it was selected from: plain JSON values.

    Raises InputError if the shape does not fit the graph or an edge is not one of the graph's.
    """

    kind: ClassVar[str] = "circuit"
    schema: ClassVar[int] = 1

    graph: Graph
    edges: Bool[np.ndarray, "F B"]
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        real = self.graph.real
        if self.edges.shape != real.shape or self.edges.dtype != bool:
            actual = f"shape {self.edges.shape} of {self.edges.dtype}"
            raise InputError(f"circuit edges have {actual}; a graph of {self.graph} needs {real.shape} of bool")
        if (self.edges & ~real).any():
            row, column = np.argwhere(self.edges & ~real)[0]
            name = f"{self.graph.sources[row]}->{self.graph.destinations[column]}"
            raise InputError(f"circuit edge {name} is not in the graph: its source writes after its destination reads")

    @property
    def heads(self) -> HeadSet:
        """Return the heads that have an outgoing edge in the circuit."""
        return HeadSet.from_grid(self.graph.head_grid(np.any(self.edges, axis=1)))

    def __len__(self) -> int:
        """Return the number of edges."""
        return int(self.edges.sum())

    def __repr__(self) -> str:
        total = int(self.graph.real.sum())
        size = f"{len(self):,} of {total:,} edges ({len(self) / total:.2%})"
        return display.line(self, str(self.graph), size, f"{len(self.heads)} heads: {self.heads}")

    def _repr_html_(self) -> str:
        edges = self.graph.head_grid(self.edges.sum(axis=1))
        return display.head_map(f"{self!r}; shaded by edges out", edges)

    def per_query(self) -> "Circuit":
        """Return the circuit with a k and a v input for every query head; an ungrouped one is returned unchanged.

        An edge into a group's input becomes one edge into each of its copies.
        """
        return replace(self, graph=self.graph.per_query, edges=self.graph.unfold(self.edges))

    def save(self, folder: str | Path) -> None:
        """Write ``circuit.safetensors`` and ``circuit.json`` into ``folder``, created if absent."""
        description = {"graph": asdict(self.graph), "settings": self.settings}
        storage.save(folder, "circuit", self.schema, {"edges": self.edges}, description)

    @classmethod
    def load(cls, folder: str | Path) -> "Circuit":
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        description, arrays = storage.load(folder, "circuit", cls.schema, keys=("graph", "settings"), arrays=("edges",))
        return cls(
            Graph.from_dict(description["graph"], f"circuit.json in {folder}"), arrays["edges"], description["settings"]
        )

    @property
    def _d_model(self) -> int:
        """Return the width of the model whose scores the circuit was selected from; 0 if unknown."""
        return int(self.settings.get("d_model") or self.settings.get("scores", {}).get("d_model") or 0)

    def to_eap_json(self, path: str | Path, scores: Float[np.ndarray, "F B"] | None = None) -> None:
        """Write EAP-IG's graph JSON: real edges with ``in_graph`` and score (0 without ``scores``).

        Raises InputError for a grouped circuit, which EAP-IG cannot express: export its ``per_query()``.
        """
        values = np.zeros(self.edges.shape, dtype=np.float32) if scores is None else scores
        eap_json.write(path, self.graph, self.edges, values, self._d_model)

    @classmethod
    def from_eap_json(cls, path: str | Path) -> "Circuit":
        """Read EAP-IG's graph JSON; edges it does not list are not in the circuit.

        Raises InputError if it is absent, damaged, or names an edge that is not its graph's.
        """
        graph, edges, _, d_model = eap_json.read(path)
        return cls(graph, edges, {"from": Path(path).name, "d_model": d_model})

    def plot(self) -> "Figure":
        """Return a figure of the number of circuit edges that leave each head."""
        edges = self.graph.head_grid(self.edges.sum(axis=1))
        return plots.head_grid(f"Circuit of {len(self):,} edges", edges, "edges out")
