"""Exact patching: patch every edge, or every head, on its own and measure (method section 3, "Other methods").

Score(u→v) is the metric with v alone reading u's corrupt output, less the metric of the clean run: one forward pass per
edge. It is made affordable by three facts:

1. Endings run over a shared prefix, with many edges side by side as rows of a pass (``prefix_cache``).
2. A pass starts at the patch: before v everything is as in the clean run, so earlier blocks return their
   input, and v's block gets the clean residual stream (``Replay``).
3. Heads of a layer do not see each other: one row in which *all* heads read the patched stream at one port holds the z
   of each patched head. A row per input then takes its heads' z alone, and attention is not run again.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from headscope.circuits.batches import check_pairs, collate
from headscope.circuits.budget import Budget
from headscope.circuits.footprint import replay_footprint
from headscope.circuits.frozen_model import frozen_model
from headscope.circuits.objective import Metric, Objective, provenance
from headscope.circuits.options import AttributionOptions
from headscope.circuits.prefix_cache import cache_prefix
from headscope.circuits.replay import Changes, Replay
from headscope.circuits.scored_graph import scored_graph
from headscope.circuits.source_deltas import record_writes, source_deltas
from headscope.models import Subject, as_model, head_access
from headscope.pairs import Pairs
from headscope.progress import SILENT, Bar, Progress
from headscope.results.edges import EdgeScores
from headscope.results.graph import PORTS, Graph
from headscope.results.head_scores import HeadScores

# Patches one batch and gives its scores [pair, …], reporting to the bar.
_Patcher = Callable[[Replay, Float[Tensor, "source pair ending d"], Bar], Float[np.ndarray, "pair *scores"]]


def exact_edges(
    model: Subject | nn.Module,
    pairs: Pairs,
    metric: str | Metric = "kl",
    options: AttributionOptions = AttributionOptions(),
) -> EdgeScores:
    """Patch every edge of the model's graph on its own and measure: the gold standard that ``attribute`` approximates.

    The result's ``residual`` is not an error here: it shows how far the effects of the input's edges are from additive.

    Args:
        model: as in ``attribute``.
        pairs: as in ``attribute``.
        metric: as in ``attribute``; the scores have the same sign.
        options: as in ``attribute``, except that ``kv="group"`` patches the input of a key/value head itself, for all
            its query heads at once (which is not the sum of its copies' scores). ``progress`` counts pairs × edges.

    Raises:
        InputError: if an option is not one of its values, one patch of one pair does not fit in memory, or scores are
            not finite.
    """
    started = time.perf_counter()
    check_pairs(pairs, differ=False)
    graph = scored_graph(head_access(as_model(model)), options.kv)
    steps = len(pairs) * int(graph.real.sum())
    patcher = partial(_patch_edges, graph)
    with options.progress.bar("exact edges", steps) as bar:
        scores, losses, settings = _measure(model, pairs, metric, patcher, options.batch, options.memory, bar)
    signed = scores.mean(axis=0, dtype=np.float64)  # of float32 scores, which would lose digits over many pairs
    lost = float(losses[1] - losses[0])
    return EdgeScores(
        graph=graph,
        edges=signed.astype(np.float32),
        edges_abs=np.abs(scores).mean(axis=0, dtype=np.float64).astype(np.float32),
        pair_heads=graph.head_grid(np.abs(scores).sum(axis=2)),
        pair_edges=scores if options.keep_pairs else None,
        pair_net=graph.head_grid(scores.sum(axis=2)),
        residual=abs(float(signed[0].sum()) - lost) / max(abs(lost), 1e-30),
        seconds=time.perf_counter() - started,
        settings=settings | {"kv": options.kv},
        problems=pairs.problems,
    )


def exact_heads(
    model: Subject | nn.Module,
    pairs: Pairs,
    metric: str | Metric = "kl",
    *,
    batch: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> HeadScores:
    """Patch each head's whole output on its own and measure, which patches all its outgoing edges together.

    A score is in the metric's unit and positive if it raises the metric; to first order it is the sum of the head's
    outgoing edge scores. In post-norm models the head's part of what is added to the residual stream is replaced.
    Arguments are those of ``attribute``, errors those of ``exact_edges``; ``progress`` counts pairs × heads.
    """
    started = time.perf_counter()
    check_pairs(pairs, differ=False)
    graph = head_access(as_model(model)).graph
    steps = len(pairs) * graph.layers * graph.heads
    with progress.bar("exact heads", steps) as bar:
        scores, _, settings = _measure(model, pairs, metric, _patch_heads, batch, memory, bar)
    return HeadScores(scores, time.perf_counter() - started, settings, pairs.problems)


def _measure(
    model: Subject | nn.Module,
    pairs: Pairs,
    metric: str | Metric,
    patcher: _Patcher,
    batch: int | None,
    memory: int | None,
    bar: Bar,
) -> tuple[Float[np.ndarray, "pair *scores"], Float[np.ndarray, " run"], dict[str, object]]:
    """Return scores in the order of the pairs, mean losses of the clean and the corrupt run, and the settings."""
    plain = as_model(model)
    access = head_access(plain)
    # Δ of every source is held, in float32.
    footprint = replay_footprint(plain, access, held=4 * access.d_model * len(access.graph.sources))
    budget = Budget(footprint, memory, batch)
    budget.check(pairs)
    losses = np.zeros((len(pairs), 2), dtype=np.float64)

    def patch(group: list[int], bar: Bar) -> tuple[list[int], Float[np.ndarray, "pair *scores"]]:
        runner = cache_prefix(plain, access, collate(pairs, group, access.device))
        writes = record_writes(runner)
        objective = Objective.from_runs(metric, runner.batch, writes.logits)
        losses[group] = objective.losses(writes.logits)
        deltas = source_deltas(access, writes, slice(None), torch.float32).transpose(0, 1)
        return group, patcher(Replay(runner, writes, objective, budget), deltas, bar)

    with frozen_model(plain), torch.no_grad():
        groups, scores = zip(*budget.over_pairs(pairs, patch, bar), strict=True)
    order = np.argsort(np.concatenate(groups))
    mean_losses = losses.mean(axis=0)
    settings = provenance(model, pairs, metric)
    settings |= {"method": "exact", "loss_clean": float(mean_losses[0]), "loss_corrupt": float(mean_losses[1])}
    return np.concatenate(scores)[order], mean_losses, settings | budget.shortages


def _patch_edges(
    graph: Graph, replay: Replay, deltas: Float[Tensor, "source pair ending d"], bar: Bar
) -> Float[np.ndarray, "pair F B"]:
    """Return scores of one batch, patched destination by destination."""
    scores = np.zeros((deltas.shape[1], *graph.real.shape), dtype=np.float32)

    def deltas_before(column: int) -> Float[Tensor, "source pair ending d"]:
        # Sources come in the order of layers, so those that a destination reads come first.
        return deltas[: int(graph.real[:, column].sum())]

    def store(column: int, changes: Changes) -> None:
        for sources, values in changes:
            scores[:, sources, column : column + values.shape[2]] = values
            bar.advance(values.size)

    ports, heads = _head_inputs(graph)
    for layer in range(graph.layers):
        first, mlp = graph.port(layer, "q"), graph.mlp_destination(layer)
        store(first, replay.into_heads(layer, deltas_before(first), ports, heads))
        store(mlp, replay.into_mlp(layer, deltas_before(mlp)))
    store(len(graph.destinations) - 1, replay.into_logits(deltas))
    return scores


def _patch_heads(
    replay: Replay, deltas: Float[Tensor, "source pair ending d"], bar: Bar
) -> Float[np.ndarray, "pair layer head"]:
    graph = replay.access.graph
    scores = np.zeros((deltas.shape[1], graph.layers, graph.heads), dtype=np.float32)
    for layer in range(graph.layers):
        layer_deltas = deltas[graph.head_source(layer) : graph.mlp_source(layer)]
        for heads, values in replay.after_heads(layer, layer_deltas):
            scores[:, layer, heads] = values[..., 0]
            bar.advance(values.size)
    return scores


def _head_inputs(graph: Graph) -> tuple[Int[Tensor, " reader"], Bool[Tensor, "reader head"]]:
    """Return for each of a layer's attention inputs its port (0 q, 1 k, 2 v), and which query heads read it."""
    columns = graph.column[: len(PORTS) * graph.heads].reshape(len(PORTS), graph.heads)
    reads = columns == np.arange(graph.attention_inputs)[:, None, None]
    return torch.as_tensor(reads.any(axis=2).argmax(axis=1)), torch.as_tensor(reads.any(axis=1))
