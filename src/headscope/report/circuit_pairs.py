"""The strongest edges of the base's circuit and of a variant's, on the same pairs, small enough for the page.

1. Rank all real edges of either model by the mean over pairs of |score|, as circuits are chosen.  2. Keep the union of
the first ``MOST_EDGES`` of both, with both ranks.  3. Pack it: 16 bytes an edge.

Circuits are those of ``results.circuit_rule``: the edges of rank below ``size``, less loose ends; an edge below τ has a
rank beyond every size. Up to ``MOST_EDGES`` a circuit is whole here. Of a larger one only the strongest edges are, and
which of them are loose cannot be said.

A packed score is its sign and how many 1024ths of a factor 2 it lies below the largest: within 0.034 % of its value
down to 2⁻³² of the largest; what is smaller is shown as that. Ranks are exact.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.plain_text import plain_text
from headscope.report.run_results import RunResults
from headscope.results.circuit_rule import CircuitRule, circuit_of_ranks, edge_ranks
from headscope.results.codec import Json
from headscope.results.edges import EdgeScores
from headscope.results.estimate import Estimate
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.results.graph import Graph
from headscope.results.node_names import destination_label, source_label
from headscope.results.numbers import format_estimate

MOST_EDGES = 2000
"""Edges of each of the two models."""
DEFAULT_SIZE = 200
"""Edges shown first if no comparison chose a size."""
UNKNOWN_SIZE = CircuitRule(fraction=None)
"""The rule of a run without a comparison."""
_STEPS = 1024
"""Steps of a packed score per factor of 2."""


@dataclass(frozen=True, slots=True)
class EvaluatedSize:
    """A circuit size whose faithfulness was measured.

    edges: so many of the real ones, before loose ends are pruned. share: of the real edges. base, post: faithfulness of
        the two models' circuits; None if it was not measured.
    """

    edges: int
    share: float
    base: Estimate | None
    post: Estimate | None


@dataclass(frozen=True, eq=False)
class CircuitPair:
    """The edges of two models of one graph.

    rows, columns: source and destination of each edge, in the graph's order.
    base_rank, post_rank: places in order of the mean |score|, 0 for the largest (``circuit_rule.edge_ranks``).
    base_score, post_score: mean signed score, positive if corrupting the edge raises the loss.
    size: edges of the circuits in which heads are counted, before those below ``tau`` and loose ends are left out.
    tau: the least |score| of an edge in a circuit.
    """

    variant: str
    step: int
    graph: Graph
    rows: Int[np.ndarray, " edge"]
    columns: Int[np.ndarray, " edge"]
    base_rank: Int[np.ndarray, " edge"]
    post_rank: Int[np.ndarray, " edge"]
    base_score: Float[np.ndarray, " edge"]
    post_score: Float[np.ndarray, " edge"]
    sizes: tuple[EvaluatedSize, ...]
    size: int
    caveat: str
    tau: float

    @classmethod
    def of(
        cls,
        variant: str,
        step: int,
        base: EdgeScores,
        post: EdgeScores,
        rule: CircuitRule = UNKNOWN_SIZE,
        sizes: tuple[EvaluatedSize, ...] = (),
        caveat: str = "",
    ) -> "CircuitPair":
        """Return the union of both models' strongest edges, in the graph's order.

        rule: the circuits in which the variant's heads are counted.
        """
        graph = base.graph
        base_rank = edge_ranks(graph, base.edges_abs, rule.tau)
        post_rank = edge_ranks(graph, post.edges_abs, rule.tau)
        on_page = np.minimum(base_rank, post_rank) < MOST_EDGES
        all_rows, all_columns = np.nonzero(graph.real)
        rows, columns = all_rows[on_page], all_columns[on_page]
        return cls(
            variant=variant,
            step=step,
            graph=graph,
            rows=rows,
            columns=columns,
            base_rank=base_rank[on_page],
            post_rank=post_rank[on_page],
            base_score=base.edges[rows, columns],
            post_score=post.edges[rows, columns],
            sizes=sizes,
            size=rule.count(graph) or min(DEFAULT_SIZE, len(all_rows)),
            caveat=caveat,
            tau=rule.tau,
        )

    def circuit(self, rank: "Int[np.ndarray, ' edge']", size: int) -> "Bool[np.ndarray, ' edge']":
        """Return which edges are in one model's circuit of a size; of a large one, loose ends are among them."""
        if size > MOST_EDGES:
            return np.asarray(rank < size)
        ranks = np.full(self.graph.real.shape, self.graph.real.size)
        ranks[self.rows, self.columns] = rank
        circuit = circuit_of_ranks(self.graph, ranks[self.graph.real], size)
        return np.asarray(circuit[self.rows, self.columns])

    def packed(self) -> dict[str, Json]:
        """Return plain JSON values: the edges in base64, little-endian, all of one array after all of another."""
        largest = float(max(np.abs(self.base_score).max(), np.abs(self.post_score).max())) or 1.0
        index = self.rows * len(self.graph.destinations) + self.columns
        words = [array.astype("<u4").tobytes() for array in (index, self.base_rank, self.post_rank)]
        codes = [_score_codes(score, largest).astype("<i2").tobytes() for score in (self.base_score, self.post_score)]
        return {
            "variant": plain_text(self.variant),
            "step": self.step,
            "layers": self.graph.layers,
            "heads": self.graph.heads,
            "readers": self.graph.readers("k"),
            "total": int(self.graph.real.sum()),
            "most": MOST_EDGES,
            "size": self.size,
            "sizes": [_size_json(size) for size in self.sizes],
            "caveat": plain_text(self.caveat),
            "tau": self.tau,
            "count": len(self.rows),
            "largest": largest,
            "edges": base64.b64encode(b"".join(words + codes)).decode(),
        }

    def edge_names(self) -> Iterator[tuple[str, str, str]]:
        """Yield source, destination and port of every edge, as people read them: ``L2H3``, ``L4H1``, ``k``."""
        for row, column in zip(self.rows.tolist(), self.columns.tolist(), strict=True):
            yield source_label(self.graph, row), *destination_label(self.graph, column)


def circuit_pairs(results: RunResults) -> list[CircuitPair]:
    """Return one per variant whose last checkpoint and base were scored on its pairs."""
    pairs = []
    for variant in results.variants:
        base_scores = results.mean_scores(variant, "base")
        post_scores = results.mean_scores(variant, variant)
        if base_scores is None or post_scores is None:
            continue
        _, base = base_scores
        step, post = post_scores
        circuit = results.circuit(variant)
        rule = results.circuit_rules[variant]
        sizes = _evaluated_sizes(results, variant, step, base.graph)
        caveat = "" if circuit is None else circuit.caveat
        pairs.append(CircuitPair.of(variant, step, base, post, rule, sizes, caveat))
    return pairs


def _score_codes(scores: "Float[np.ndarray, ' edge']", largest: float) -> "Int[np.ndarray, ' edge']":
    """Return 0 for 0, else the sign times one more than the steps below the largest."""
    with np.errstate(divide="ignore"):
        steps = np.rint(-_STEPS * np.log2(np.abs(scores) / largest))
    codes = np.sign(scores) * (1 + np.clip(steps, 0, 2**15 - 2))
    return np.asarray(codes.astype(np.int64))


def _evaluated_sizes(results: RunResults, variant: str, step: int, graph: Graph) -> tuple[EvaluatedSize, ...]:
    curves: dict[str, FaithfulnessEstimates] = {}
    for unit in results.faithfulness:
        for model, at in (("base", None), (variant, step)):
            labels = unit.labels
            if labels["variant"] == variant and labels["model"] == model and at in (None, labels["step"]):
                curves[model] = unit.whole
    fractions = sorted({fraction for curve in curves.values() for fraction in curve.fractions})

    def faithfulness_at(model: str, fraction: float) -> Estimate | None:
        return curves[model].at(fraction) if model in curves else None

    sizes = []
    for fraction in fractions:
        edges = CircuitRule(fraction).count(graph) or 1
        base = faithfulness_at("base", fraction)
        sizes.append(EvaluatedSize(edges, fraction, base, faithfulness_at(variant, fraction)))
    return tuple(sizes)


def _size_json(size: EvaluatedSize) -> dict[str, Json]:
    return {
        "edges": size.edges,
        "share": f"{size.share:.3g}",
        "base": None if size.base is None else format_estimate(size.base),
        "variant": None if size.post is None else format_estimate(size.post),
    }
