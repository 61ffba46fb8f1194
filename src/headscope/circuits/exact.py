"""Exact patching: every edge, or every head, replaced for real (method section 3, "Other methods").

Score(u→v) is the metric with v alone reading u's corrupt output, less the metric of the clean run: one forward pass per
edge. What keeps that affordable:

1. Endings over a shared prefix, many edges side by side as rows of a pass (``endings``).
2. A pass starts where the patch does: before v everything is as in the clean run, so earlier blocks hand on what they
   are given, and v's block is given the clean residual stream (``Replay``).
3. Heads of a layer do not see each other: one row in which *all* heads read the patched stream at one port holds the z
   of each patched head. A row per input then takes its heads' z alone, and attention is not run again.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headscope.circuits.batches import collate
from headscope.circuits.contrast import contrast, differences
from headscope.circuits.endings import endings, frozen
from headscope.circuits.footprint import replayed
from headscope.circuits.memory import Budget
from headscope.circuits.objective import Metric, Objective
from headscope.circuits.record import record
from headscope.circuits.replay import Changes, Replay
from headscope.errors import InputError
from headscope.models import as_model, head_access
from headscope.pairs import Pairs
from headscope.progress import SILENT, Bar, Progress
from headscope.results.edges import EdgeScores
from headscope.results.graph import PORTS, Graph
from headscope.results.head_scores import HeadScores

# Patches one batch and gives its scores [pair, …], reporting to the bar.
_Patcher = Callable[[Replay, Float[Tensor, "source pair ending d"], Bar], Float[np.ndarray, "pair *scores"]]


def exact_edges(
    model: Any,
    pairs: Pairs,
    metric: str | Metric = "kl",
    *,
    kv: str = "query",
    keep_pairs: bool = False,
    batch: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> EdgeScores:
    """Patch every edge of the model's graph on its own and measure: the gold standard that ``attribute`` approximates.

    metric, keep_pairs, batch, memory: as in ``attribute``; signs too. kv: ``query`` patches each query head's own copy
        of its group's key or value input; ``group`` patches the input itself, for all its query heads at once (which is
        not the sum of its copies' scores).
    The result's ``residual`` is no error here: it says how far single edges from the input are from adding up.
    Raises InputError where an argument is not one of these, one patch of one pair does not fit in memory, or scores are
    not finite.
    """
    started = time.perf_counter()
    if kv not in ("query", "group"):
        raise InputError(f"kv {kv!r} is unknown; 'query' and 'group' are allowed")
    access = head_access(as_model(model))
    whole = access.graph
    graph = whole if kv == "query" else Graph(whole.layers, whole.heads, whole.parallel, access.kv_heads)

    steps = len(pairs) * int(graph.real.sum())
    with progress.bar("exact edges", steps) as bar:
        scores, losses, settings = _measure(model, pairs, metric, partial(_edges, graph), batch, memory, bar)
    signed, lost = scores.mean(axis=0, dtype=np.float64), float(losses[1] - losses[0])
    return EdgeScores(
        graph=graph,
        edges=signed.astype(np.float32),
        edges_abs=np.abs(scores).mean(axis=0, dtype=np.float64).astype(np.float32),
        pair_heads=graph.head_grid(np.abs(scores).sum(axis=2)),
        pair_edges=scores if keep_pairs else None,
        residual=abs(float(signed[0].sum()) - lost) / max(abs(lost), 1e-30),
        seconds=time.perf_counter() - started,
        settings=settings | {"kv": kv},
    )


def exact_heads(
    model: Any,
    pairs: Pairs,
    metric: str | Metric = "kl",
    *,
    batch: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> HeadScores:
    """Replace each head's whole output by its corrupt one and measure: all its outgoing edges patched together.

    Metric, batch, memory and sign as in ``exact_edges``. To first order the sum of a head's outgoing edge scores. In
    post-norm models what is replaced is the head's part of what is added to the residual stream. Raises as
    ``exact_edges``.
    """
    started = time.perf_counter()
    graph = head_access(as_model(model)).graph
    steps = len(pairs) * graph.layers * graph.heads
    with progress.bar("exact heads", steps) as bar:
        scores, _, settings = _measure(model, pairs, metric, _heads, batch, memory, bar)
    return HeadScores(scores, time.perf_counter() - started, settings)


def _measure(
    model: Any, pairs: Pairs, metric: str | Metric, patcher: _Patcher, batch: int | None, memory: int | None, bar: Bar
) -> tuple[Float[np.ndarray, "pair *scores"], Float[np.ndarray, " run"], dict[str, Any]]:
    """Scores in the order of the pairs, mean losses of the clean and the corrupt run, and what was measured."""
    plain = as_model(model)
    access = head_access(plain)
    # Δ of every source is kept.
    budget = Budget(replayed(plain, access, held=4 * access.d_model * len(access.graph.sources)), memory)
    budget.check(pairs)
    losses = np.zeros((len(pairs), 2), dtype=np.float64)

    def patch(group: list[int], bar: Bar) -> tuple[list[int], np.ndarray]:
        run = endings(plain, access, collate(pairs, group, access.device))
        writes = contrast(run)
        objective = Objective(metric, run.batch, writes.logits[:, 0], writes.logits[:, 1])
        losses[group] = objective.losses(writes.logits)
        deltas = differences(run, writes, slice(None), torch.float32).transpose(0, 1)
        return group, patcher(Replay(run, writes, objective, budget), deltas, bar)

    with frozen(plain), torch.no_grad():
        groups, scores = zip(*budget.over_pairs(pairs, batch, patch, bar), strict=True)
    mean = losses.mean(axis=0)
    settings = record(model, pairs, metric) | {
        "method": "exact",
        "loss_clean": float(mean[0]),
        "loss_corrupt": float(mean[1]),
    }
    return np.concatenate(scores)[np.argsort(np.concatenate(groups))], mean, settings | budget.about


def _edges(
    graph: Graph, replay: Replay, deltas: Float[Tensor, "source pair ending d"], bar: Bar
) -> Float[np.ndarray, "pair F B"]:
    """Scores of one batch, destination by destination."""
    scores = np.zeros((deltas.shape[1], *graph.real.shape), dtype=np.float32)

    def read(first: int) -> Float[Tensor, "source pair ending d"]:
        return deltas[: int(graph.real[:, first].sum())]

    def note(first: int, changes: Changes) -> None:
        for sources, values in changes:
            scores[:, sources, first : first + values.shape[2]] = values
            bar.advance(values.size)

    ports, heads = (torch.as_tensor(array, device=deltas.device) for array in _head_inputs(graph))
    for layer in range(graph.layers):
        first, mlp = graph.port(layer, "q"), graph.mlp_destination(layer)
        note(first, replay.into_heads(layer, read(first), ports, heads))
        note(mlp, replay.into_mlp(layer, read(mlp)))
    note(len(graph.destinations) - 1, replay.into_logits(deltas))
    return scores


def _heads(
    replay: Replay, deltas: Float[Tensor, "source pair ending d"], bar: Bar
) -> Float[np.ndarray, "pair layer head"]:
    graph = replay.access.graph
    scores = np.zeros((deltas.shape[1], graph.layers, graph.heads), dtype=np.float32)
    for layer in range(graph.layers):
        own = deltas[graph.head_source(layer) : graph.mlp_source(layer)]
        for heads, values in replay.after_heads(layer, own):
            scores[:, layer, heads] = values[..., 0]
            bar.advance(values.size)
    return scores


def _head_inputs(graph: Graph) -> tuple[Int[np.ndarray, " reader"], Bool[np.ndarray, "reader head"]]:
    """Of each of a layer's attention inputs: its port (0 q, 1 k, 2 v), and which query heads read it."""
    columns = graph.column[: len(PORTS) * graph.heads].reshape(len(PORTS), graph.heads)
    reads = columns == np.arange(graph.attention_inputs)[:, None, None]
    return reads.any(axis=2).argmax(axis=1), reads.any(axis=1)
