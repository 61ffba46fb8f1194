"""Edge scores: the result of attribution, from which all later results are computed."""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from headscope import display, storage
from headscope.errors import InputError
from headscope.heads import HeadId, top_heads
from headscope.pairs.problems import Labels, ProblemGroups, check_labels, problem_labels
from headscope.results import eap_json, plots
from headscope.results.graph import Graph
from headscope.results.numbers import format_residual
from headscope.storage import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HeadScore = Literal["net", "flow"]
"""How a head's outgoing edge scores make one number per pair: the size of their sum, or the sum of their sizes.

The sum of all edges out of a head is to first order what replacing its whole output does; edges of both signs cancel in
it as they do in the model. Flow, the paper's importance (A.6), counts them twice, and ranks heads worse by what they do
when they are patched (``benchmarks/head_scores.py``).
"""

_ARRAYS = ("edges", "edges_abs", "pair_heads")


@dataclass(frozen=True, eq=False)
class EdgeScores(Result):
    """Scores of all edges of one model on one set of pairs.

    graph: names, order and real edges; F sources, B destinations.
    edges: float32 [F, B], mean over pairs of the signed score; positive when corrupting the edge raises the
        metric. 0 if ``graph.real`` is false.
    edges_abs: float32 [F, B], mean over pairs of |score|; in a grouped graph, of the |sum over a group's copies|.
    pair_heads: float32 [pair, layer, head], per pair the sum of |score| over a head's outgoing edges: its flow.
    pair_edges: float32 [pair, F, B] signed, or None when not kept.
    residual: completeness, |Σ_v score(input→v) − (L(corrupt) − L(clean))| / |L(corrupt) − L(clean)|, of the
        means; NaN if unknown (scores read from EAP-IG's JSON).
    seconds: wall time of the attribution; NaN in a run directory, where the unit's record keeps it.
    settings: method, rule, nodes, metric, positions, kv, model name and commit, pairs digest: plain JSON
        values.
    problems: the name of each pair's problem; None if every pair is its own problem.
    pair_net: float32 [pair, layer, head], per pair the signed sum of a head's outgoing edges; computed from per-pair
        edges if it is absent, None if there are none either.

    Raises InputError if a shape does not fit the graph, or a score is not a number, naming the first such layer.
    """

    kind: ClassVar[str] = "scores"
    schema: ClassVar[int] = 1
    rows: ClassVar[str] = "layer head"
    derived: ClassVar[tuple[str, ...]] = ("head_importance",)

    graph: Graph
    edges: Float[np.ndarray, "F B"]
    edges_abs: Float[np.ndarray, "F B"]
    pair_heads: Float[np.ndarray, "pair layer head"]
    pair_edges: Float[np.ndarray, "pair F B"] | None
    residual: float
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)
    problems: Labels = None
    pair_net: Float[np.ndarray, "_ _ _"] | None = None  # its shape is checked with a sentence

    def __post_init__(self) -> None:
        if self.pair_net is None and self.pair_edges is not None:
            object.__setattr__(self, "pair_net", self.graph.head_grid(self.pair_edges.sum(axis=2)))
        shape = self.graph.real.shape
        self._check_shape("edge scores", self.edges, shape)
        self._check_shape("mean |score|", self.edges_abs, shape)
        self._check_shape("head scores", self.pair_heads, (self.graph.layers, self.graph.heads))
        if self.pair_net is not None and self.pair_net.shape != self.pair_heads.shape:
            shapes = f"{self.pair_net.shape} and {self.pair_heads.shape}"
            raise InputError(f"net and flow of the heads have the shapes {shapes}; both are needed of the same pairs")
        if self.pair_edges is not None:
            self._check_shape("edge scores per pair", self.pair_edges, shape)
        check_labels(self.problems, len(self.pair_heads))
        if not np.isfinite(self.edges).all() or not np.isfinite(self.edges_abs).all():
            column = int(np.flatnonzero(~(np.isfinite(self.edges) & np.isfinite(self.edges_abs)).all(axis=0))[0])
            node = self.destinations[column].split("<")[0]
            raise InputError(f"edge scores are not finite, first at the input of {node}; check weights and dtype there")

    def _check_shape(self, title: str, array: "np.ndarray[Any, np.dtype[Any]]", needed: tuple[int, ...]) -> None:
        """Raise InputError unless the last axes are those of the graph; before them come the pairs."""
        if array.shape[-len(needed) :] != needed or array.dtype.kind != "f":
            actual = f"shape {array.shape} of {array.dtype}"
            raise InputError(f"{title} have {actual}; a graph of {self.graph} needs {needed} of float")

    @property
    def problem_groups(self) -> ProblemGroups:
        """Return the pairs grouped by problem, for resampling, halving and counting."""
        return ProblemGroups.of((self.problems, len(self.pair_heads)))

    @property
    def sources(self) -> list[str]:
        """Return the names of the F sources."""
        return self.graph.sources

    @property
    def destinations(self) -> list[str]:
        """Return the names of the B destinations."""
        return self.graph.destinations

    def pair_importance(self, score: HeadScore = "net") -> Float[np.ndarray, "pair layer head"]:
        """Return every head's importance in every pair, 0 or more, in float64.

        Raises InputError for net scores if neither they nor per-pair edges were kept (older versions).
        """
        if score == "flow":
            return self.pair_heads.astype(np.float64)
        if self.pair_net is None:
            raise InputError(
                "the scores were made before heads had net scores, and kept no per-pair edges to sum; attribute again"
            )
        return np.abs(self.pair_net.astype(np.float64))

    @property
    def head_importance(self) -> Float[np.ndarray, "layer head"]:
        """Return the mean over pairs of each head's |net score|; without per-pair scores, that of the mean edges."""
        if self.pair_net is not None and len(self.pair_net):
            return np.asarray(np.abs(self.pair_net).mean(axis=0))
        return np.asarray(np.abs(self.graph.head_grid(self.edges.sum(axis=1))))

    def top_heads(self, count: int = 8) -> list[HeadId]:
        """Return the ``count`` heads of largest importance, largest first."""
        return top_heads(self.head_importance, count)

    def __repr__(self) -> str:
        settings = self.settings
        metric = ", ".join(str(settings[name]) for name in ("method", "metric") if name in settings)
        nodes = (
            f"{settings.get('nodes_mean', settings['nodes']):.3g} {settings.get('rule')} nodes"
            if "nodes" in settings
            else ""
        )
        completeness = "" if math.isnan(self.residual) else f"residual {format_residual(self.residual)}"
        return display.line(
            self,
            display.source(settings),
            str(self.graph),
            str(self.problem_groups.size),
            metric,
            nodes,
            completeness,
            f"most in {' '.join(map(str, self.top_heads()))}",
        )

    def _repr_html_(self) -> str:
        return display.head_map(repr(self), self.head_importance)

    def per_group(self, kv_heads: int) -> "EdgeScores":
        """Return the scores as with ``kv="group"``: k and v summed per key/value head in each pair.

        Raises InputError if no per-pair edges were kept (|score| is taken per pair, after summing), the scores
        are grouped already, or ``kv_heads`` does not divide the number of heads.
        """
        if self.pair_edges is None or self.graph.kv_heads is not None:
            state = "keep no per-pair edges" if self.pair_edges is None else "are grouped already"
            raise InputError(f"the scores {state}; attribute with kv='query' and keep_pairs=True to group them")
        graph = replace(self.graph, kv_heads=kv_heads)
        pair_edges = graph.fold(self.pair_edges)
        return replace(
            self,
            graph=graph,
            edges=pair_edges.mean(axis=0, dtype=np.float64).astype(np.float32),
            edges_abs=np.abs(pair_edges).mean(axis=0, dtype=np.float64).astype(np.float32),
            pair_heads=graph.head_grid(np.abs(pair_edges).sum(axis=2)),
            pair_edges=pair_edges,
            settings=self.settings | {"kv": "group"},
        )

    def save(self, folder: str | Path) -> None:
        """Write ``scores.safetensors`` and ``scores.json`` into ``folder``, created if absent."""
        arrays = {name: getattr(self, name) for name in (*_ARRAYS, "pair_edges", "pair_net")}
        description: dict[str, Any] = {
            "graph": asdict(self.graph),
            "residual": None if math.isnan(self.residual) else self.residual,
            "seconds": None if math.isnan(self.seconds) else self.seconds,
            "settings": self.settings,
        }
        if self.problems is not None:
            description["problems"] = list(self.problems)
        kept_arrays = {name: array for name, array in arrays.items() if array is not None}
        storage.save(folder, "scores", self.schema, kept_arrays, description)

    @classmethod
    def load(cls, folder: str | Path, *, pair_edges: bool = True) -> "EdgeScores":
        """Read what ``save`` wrote; ``pair_edges=False`` skips the per-pair edges, which are most of the file.

        Raises InputError if it is absent, damaged or made by a newer schema.
        """
        keys = ("graph", "residual", "seconds", "settings")
        left_out = () if pair_edges else ("pair_edges",)
        description, arrays = storage.load(folder, "scores", cls.schema, keys=keys, arrays=_ARRAYS, left_out=left_out)
        return cls(
            graph=Graph.from_dict(description["graph"], f"scores.json in {folder}"),
            edges=arrays["edges"],
            edges_abs=arrays["edges_abs"],
            pair_heads=arrays["pair_heads"],
            pair_edges=arrays.get("pair_edges"),
            residual=math.nan if description["residual"] is None else description["residual"],
            seconds=math.nan if description["seconds"] is None else description["seconds"],
            settings=description["settings"],
            problems=problem_labels(description.get("problems")),  # None in files of earlier versions
            pair_net=arrays.get("pair_net"),
        )

    def to_eap_json(self, path: str | Path) -> None:
        """Write the signed means as EAP-IG's graph JSON with an empty circuit, which EAP-IG's ``apply_topn`` fills.

        Raises InputError for grouped scores, which EAP-IG cannot express.
        """
        nothing = np.zeros(self.edges.shape, dtype=bool)
        eap_json.write(path, self.graph, nothing, self.edges, self.settings.get("d_model", 0))

    @classmethod
    def from_eap_json(cls, path: str | Path) -> "EdgeScores":
        """Read scores from EAP-IG's graph JSON, which holds one signed mean per edge and no pairs.

        So ``edges_abs`` is |signed mean| (a lower bound of the mean |score|), ``pair_heads`` is empty and
        ``residual`` NaN. Raises InputError if the file is absent or damaged, or an edge has no score.
        """
        graph, _, scores, d_model = eap_json.read(path)
        unscored = np.argwhere(np.isnan(scores) & graph.real)
        if len(unscored):
            first = f"{graph.sources[unscored[0][0]]}->{graph.destinations[unscored[0][1]]}"
            raise InputError(f"{path} has no score for {len(unscored)} of {graph.real.sum()} edges, first {first}")
        signed = np.where(graph.real, scores, np.float32(0))
        no_pairs = np.zeros((0, graph.layers, graph.heads), dtype=np.float32)
        settings = {"from": Path(path).name, "d_model": d_model}
        return cls(graph, signed, np.abs(signed), no_pairs, None, math.nan, 0.0, settings)

    def plot(self) -> "Figure":
        """Return a figure of every head's importance."""
        return plots.head_grid(f"Importance, {self.problem_groups.size}", self.head_importance, "mean |net score|")
