"""Figures 15 to 18: circuits as graphs of their strongest edges, layer by head, inputs below and logits above."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from headscope.report.palette import INK
from headscope.report.paper import subjects
from headscope.report.paper.captions import seeds_sentence
from headscope.report.paper.exhibit import Exhibit, lacking
from headscope.report.paper.style import ONE_COLUMN, TWO_COLUMNS, Look, mark_points, new_figure, panel_title, short_name
from headscope.report.run_results import RunResults
from headscope.results.colours import BLUE, GREY, ORANGE, VERMILION
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph
from headscope.results.numbers import format_estimate
from headscope.results.table import Row, Table
from headscope.runs.records import Finished

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MOST_EDGES = 120
"""Edges of one panel: more would be a blot at the width of a column."""
_NAMED_HEADS = 6
"""Heads whose names stand next to them."""
_PORT = 0.12
"""Of the distance between heads: how far from a head's middle its query and value inputs are drawn."""


@dataclass(frozen=True)
class _Panel:
    """A panel that the figure should have: a model's scores on the pairs of a variant, under a title."""

    title: str
    unit: Finished[EdgeScores]


def distilled_circuits(results: RunResults) -> Exhibit:
    """Draw figure 15: circuits of the base, and of the distilled model with and without its think marker."""
    names = subjects.variants_trained_by(results, subjects.DISTILL)
    pairs_of = [*names, *results.variants]
    base = _first(_scores(results, variant, "base", last=False) for variant in dict.fromkeys(pairs_of))
    distilled = _first(_scores(results, name, name) for name in names)
    panels = [_Panel("base", base)] if base else []
    lacks = [] if base else ["no edge scores of the base are finished"]
    if distilled:
        panels.append(_Panel(distilled.labels["variant"], distilled))
    else:
        lacks.append(subjects.absent(names, subjects.DISTILL))
    lacks.append(
        "the distilled model on openings of its own without the think marker: headscope contrasts the openings of two "
        "models (discover.contrast), and no key asks for that"
    )
    return _exhibit(results, panels, lacks, "the base and the distilled model")


def trained_circuits(results: RunResults) -> Exhibit:
    """Draw figure 16: circuits after SFT and after GRPO."""
    if subjects.is_second_base(results):
        return lacking(f"the base is {subjects.base_model(results)}: this run's is figure 18")
    return _trained_circuits(results)


def second_base_circuits(results: RunResults) -> Exhibit:
    """Draw figure 18: figure 16 on the paper's second base model."""
    if not subjects.is_second_base(results):
        return lacking(
            f"figure 16 on a Llama base model; a run has one base (here: {subjects.base_model(results)}), so it takes "
            "a run of its own (base.model; headscope run llama-3.2)"
        )
    return _trained_circuits(results)


def _trained_circuits(results: RunResults) -> Exhibit:
    panels, lacks = [], []
    for method in (subjects.SFT, subjects.GRPO):
        names = subjects.variants_trained_by(results, method)
        unit = _first(_scores(results, name, name) for name in names)
        if unit:
            panels.append(_Panel(unit.labels["variant"], unit))
        else:
            lacks.append(subjects.absent(names, method).replace("comparison", "edge scores"))
    return _exhibit(results, panels, lacks, "the models after SFT and after GRPO")


def think_circuits(results: RunResults) -> Exhibit:
    """Draw figure 17: circuits of one model with thinking on and off."""
    modes = results.thinking
    if not modes:
        return lacking(
            "no variant is the think-off mode of another (variants: the same model twice, with chat: {enable_thinking: "
            "true} and false; headscope run qwen3-think or lab-think)"
        )
    panels, lacks = [], []
    for mode, name in (("on", modes[0].labels["think_on"]), ("off", modes[0].labels["variant"])):
        unit = _scores(results, name, name)
        if unit:
            panels.append(_Panel(f"thinking {mode}: {short_name(name, 16)}", unit))
        else:
            lacks.append(f"no edge scores of {name} are finished")
    return _exhibit(results, panels, lacks, "one model with thinking on and off")


def _scores(results: RunResults, variant: str, model: str, *, last: bool = True) -> Finished[EdgeScores] | None:
    """Return a model's scores on the variant's main pairs, of its last checkpoint or of its first."""
    units = results.units(EdgeScores, variant=variant, pairs="main", model=model)
    units.sort(key=lambda unit: int(unit.labels["step"]))
    return None if not units else units[-1 if last else 0]


def _first(units: Iterable[Finished[EdgeScores] | None]) -> Finished[EdgeScores] | None:
    return next((unit for unit in units if unit is not None), None)


def _exhibit(results: RunResults, panels: list[_Panel], lacks: list[str], what: str) -> Exhibit:
    if not panels:
        return lacking(*lacks)
    scores = [panel.unit.read() for panel in panels]
    is_alone = len(panels) == 1
    figure = new_figure(ONE_COLUMN if is_alone else TWO_COLUMNS, 3.9)
    rows: list[Row] = []
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel, score, letter in zip(grid, panels, scores, "ABC", strict=False):
        edges = strongest_edges(score)
        _draw_circuit(axes, score, edges)
        axes.label_outer()
        panel_title(
            axes, "" if is_alone else letter, f"{short_name(panel.title, 30)}, step {panel.unit.labels['step']}"
        )
        rows += _edge_rows(panel, score, edges)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3 if is_alone else 6, handlelength=2.2)
    table = Table("edges", tuple(rows), "One row per edge that is drawn; score: mean over pairs.")
    return Exhibit((table,), _caption(results, panels, scores, what), tuple(lacks), figure)


def strongest_edges(scores: EdgeScores) -> "Int[np.ndarray, 'edge 2']":
    """Return (source row, destination column) of the edges of largest mean |score|, the largest first."""
    sizes = np.where(scores.graph.real, scores.edges_abs, 0.0)
    order = np.argsort(-sizes, axis=None, kind="stable")[:MOST_EDGES]
    places = np.stack(np.unravel_index(order, sizes.shape), axis=1)
    return np.asarray(places[sizes[places[:, 0], places[:, 1]] > 0])


def _draw_circuit(axes: "Axes", scores: EdgeScores, edges: "Int[np.ndarray, 'edge 2']") -> None:
    from matplotlib.collections import LineCollection

    graph = scores.graph
    sizes = scores.edges_abs[edges[:, 0], edges[:, 1]]
    strength = sizes / sizes.max() if len(sizes) else sizes
    lines: dict[bool, tuple[list[list[tuple[float, float]]], list[float]]] = {True: ([], []), False: ([], [])}
    for (source, destination), share in zip(edges.tolist(), strength.tolist(), strict=True):
        segments, widths = lines[bool(scores.edges[source, destination] >= 0)]
        segments.append(_edge_path(_source_place(graph, source), _destination_place(graph, destination)))
        widths.append(0.25 + 1.6 * share)
    # The weakest first, so that strong edges lie on top.
    for is_positive, (segments, widths) in lines.items():
        look: Look = {"colors": BLUE if is_positive else VERMILION, "linestyles": "-" if is_positive else (0, (3, 1.5))}
        axes.add_collection(LineCollection(segments[::-1], linewidths=widths[::-1], alpha=0.55, zorder=1, **look))
    _draw_nodes(axes, graph, edges, sizes)


def _draw_nodes(axes: "Axes", graph: Graph, edges: "Int[np.ndarray, 'edge 2']", sizes: np.ndarray) -> None:
    layers, heads = graph.layers, graph.heads
    carried = np.zeros(len(graph.sources))
    np.add.at(carried, edges[:, 0], sizes)
    reading = {_reader(graph, column) for column in edges[:, 1].tolist()}
    points = 1.4 * mark_points(layers, heads)
    by_look: dict[tuple[str, str, bool], list[tuple[float, float]]] = {}
    for row, name in enumerate(graph.sources):
        marker, colour = "o", "white"
        if name.startswith("m"):
            marker, colour = "s", ORANGE
        elif name == "input":
            colour = INK
        is_in = bool(carried[row] > 0) or row in reading
        by_look.setdefault((marker, colour, is_in), []).append(_source_place(graph, row))
    for (marker, colour, is_in), places in by_look.items():
        look: Look = {"facecolor": colour if is_in else "none", "edgecolor": INK if is_in else GREY, "zorder": 2}
        size = points if is_in else 0.35 * points
        columns, rows = np.array(places).T
        axes.scatter(columns, rows, s=size**2, marker=marker, linewidth=0.6 if is_in else 0.25, **look)
    x, y = _logits_place(graph)
    axes.scatter(x, y, s=points**2, marker="^", facecolor=INK, zorder=2)
    _name_heads(axes, graph, carried)
    # On the side where no edge is.
    for name, place, below in (("input", _source_place(graph, 0), True), ("logits", (x, y), False)):
        side = "top" if below else "bottom"
        axes.annotate(name, place, (0, -5 if below else 5), textcoords="offset points", ha="center", va=side)
    step = 1 if heads <= 8 else 4
    axes.set_xticks([*range(0, heads, step), heads + 0.5], [*map(str, range(0, heads, step)), "MLP"])
    axes.set_yticks(range(0, layers, 1 if layers <= 8 else 4))
    lowest, highest = -1.6 * _margin(graph), _logits_place(graph)[1] + 0.7 * _margin(graph)
    axes.set(xlabel="head", ylabel="layer", xlim=(-0.8, 1.08 * heads + 1.2), ylim=(lowest, highest))


def _name_heads(axes: "Axes", graph: Graph, carried: np.ndarray) -> None:
    """Write the names of the heads whose drawn edges carry most, each on a pale ground of its own."""
    heads = [row for row in np.argsort(-carried, kind="stable").tolist() if graph.sources[row].startswith("a")]
    for row in [row for row in heads if carried[row] > 0][:_NAMED_HEADS]:
        layer, head = _layer_head(graph, row)
        box: Look = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.2}
        axes.annotate(
            f"L{layer}H{head}", (head, layer), (0, 4.5), textcoords="offset points", ha="center", fontsize=6, bbox=box
        )


def _layer_head(graph: Graph, row: int) -> tuple[int, int]:
    return divmod(row - 1, graph.heads + 1)


def _source_place(graph: Graph, row: int) -> tuple[float, float]:
    """Return (x, y) of a source: heads by index, the MLP right of and above them, the input below the first layer."""
    if row == 0:
        return (graph.heads - 1) / 2, -_margin(graph)
    layer, head = _layer_head(graph, row)
    return (head + 0.5, layer + 0.5) if head == graph.heads else (float(head), float(layer))


def _margin(graph: Graph) -> float:
    """Return how far, in layers, the input lies below the first layer and the logits above the last."""
    return max(1.0, 0.07 * graph.layers)


def _logits_place(graph: Graph) -> tuple[float, float]:
    return (graph.heads - 1) / 2, graph.layers - 1 + 1.2 * _margin(graph)


def _destination_place(graph: Graph, column: int) -> tuple[float, float]:
    """Return (x, y) of an input: queries enter a head on its left, keys in the middle, values on its right."""
    name = graph.destinations[column]
    if name == "logits":
        return _logits_place(graph)
    x, y = _source_place(graph, _reader(graph, column))
    port = name.partition("<")[2][:1]
    return x + {"q": -_PORT, "v": _PORT}.get(port, 0.0), y


def _edge_path(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the points of an edge: a straight line, or an arc from one MLP to a later one, all in one column."""
    (x, y), (to_x, to_y) = start, end
    if x != to_x or to_y - y < 1.5:
        return [start, end]
    bend = 0.22 * (to_y - y) ** 0.5
    shares = np.linspace(0, 1, 13)
    return [(x + 4 * bend * share * (1 - share), y + (to_y - y) * share) for share in shares.tolist()]


def _reader(graph: Graph, column: int) -> int:
    """Return the source row of the node that an input belongs to; of a shared input, its group's first head."""
    name = graph.destinations[column]
    if name == "logits":
        return -1
    layer, _, rest = name.removeprefix("a").removeprefix("m").partition(".")
    if not rest:
        return graph.mlp_source(int(layer))
    node = rest.split("<")[0]
    if node.startswith("kv"):
        return graph.head_source(int(layer), int(node[2:]) * (graph.heads // (graph.kv_heads or graph.heads)))
    return graph.head_source(int(layer), int(node[1:]))


def _legend() -> "list[Line2D]":
    from matplotlib.lines import Line2D

    def mark(shape: str, colour: str, label: str) -> Line2D:
        return Line2D([], [], linestyle="", marker=shape, markerfacecolor=colour, markeredgecolor=INK, label=label)

    return [
        Line2D([], [], color=BLUE, label="positive score"),
        Line2D([], [], color=VERMILION, linestyle="--", label="negative score"),
        mark("o", "white", "head"),
        mark("s", ORANGE, "MLP"),
        mark("o", INK, "input"),
        mark("^", INK, "logits"),
    ]


def _edge_rows(panel: _Panel, scores: EdgeScores, edges: "Int[np.ndarray, 'edge 2']") -> list[Row]:
    rows: list[Row] = []
    for source, destination in edges.tolist():
        row: Row = {
            "pairs of": str(panel.unit.labels["variant"]),
            "model": str(panel.unit.labels["model"]),
            "step": int(panel.unit.labels["step"]),
            "edge": f"{scores.graph.sources[source]}->{scores.graph.destinations[destination]}",
            "score": float(scores.edges[source, destination]),
            "mean |score|": float(scores.edges_abs[source, destination]),
        }
        rows.append(row)
    return rows


def _caption(results: RunResults, panels: Sequence[_Panel], scores: Sequence[EdgeScores], what: str) -> str:
    sentences = []
    for panel, score in zip(panels, scores, strict=True):
        labels = panel.unit.labels
        share = score.graph.edge_share(min(MOST_EDGES, int(score.graph.real.sum())))
        sentence = f"{panel.title}: {share:.2%} of the edges are drawn, {score.problem_groups.size}"
        size = results.circuit_size(labels["variant"])
        faithful = results.circuit_faithfulness(labels["variant"], labels["model"], labels["step"])
        if faithful is not None and size is not None:
            sentence += f"; the circuit of {size:.1%} of them has a faithfulness of {format_estimate(faithful)}"
        sentences.append(sentence)
    return (
        f"Circuits of {what}: the {MOST_EDGES} edges of largest mean |score|, the wider the larger; an edge enters a "
        "head left for its query, in the middle for its key, right for its value. Large nodes have a drawn edge. "
        "These are the strongest edges of the circuit in which heads are counted, not the whole. "
        f"{'. '.join(sentences)}. Intervals over problems; no null: edges are chosen by their size. "
        + seeds_sentence(results)
    )
