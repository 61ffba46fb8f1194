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
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headscope.circuits.batches import Batch, batches
from headscope.circuits.contrast import contrast, differences
from headscope.circuits.endings import endings
from headscope.circuits.objective import Metric, Objective
from headscope.circuits.record import record
from headscope.circuits.replay import Changes, Replay
from headscope.errors import InputError
from headscope.models import HeadAccess, as_model, head_access
from headscope.pairs import Pairs
from headscope.progress import SILENT, Bar, Progress
from headscope.results.edges import EdgeScores
from headscope.results.graph import PORTS, Graph
from headscope.results.head_scores import HeadScores

# Bytes that Δ of all sources may take for the pairs of one batch.
DELTA_BYTES = 512 * 2**20

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
    progress: Progress = SILENT,
) -> EdgeScores:
    """Patch every edge of the model's graph on its own and measure: the gold standard that ``attribute`` approximates.

    metric, keep_pairs, batch: as in ``attribute``; signs too. kv: ``query`` patches each query head's own copy
        of its group's key or value input; ``group`` patches the input itself, for all its query heads at once (which is
        not the sum of its copies' scores).
    The result's ``residual`` is no error here: it says how far single edges from the input are from adding up.
    Raises InputError where an argument is not one of these, or scores are not finite.
    """
    started = time.perf_counter()
    if kv not in ("query", "group"):
        raise InputError(f"kv {kv!r} is unknown; 'query' and 'group' are allowed")
    access = head_access(as_model(model))
    whole = access.graph
    graph = whole if kv == "query" else Graph(whole.layers, whole.heads, whole.parallel, access.kv_heads)

    def patcher(replay: Replay, deltas: Float[Tensor, "source pair ending d"], bar: Bar) -> np.ndarray:
        return _edges(replay, graph, deltas, bar)

    steps = len(pairs) * int(graph.real.sum())
    scores, losses, settings = _measure(model, pairs, metric, patcher, batch, progress.bar("exact edges", steps))
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
    progress: Progress = SILENT,
) -> HeadScores:
    """Replace each head's whole output by its corrupt one and measure: all its outgoing edges patched together.

    Metric, batch and sign as in ``exact_edges``. To first order the sum of a head's outgoing edge scores. In post-norm
    models what is replaced is the head's part of what is added to the residual stream. Raises as ``exact_edges``.
    """
    started = time.perf_counter()
    graph = head_access(as_model(model)).graph
    steps = len(pairs) * graph.layers * graph.heads
    scores, _, settings = _measure(model, pairs, metric, _heads, batch, progress.bar("exact heads", steps))
    return HeadScores(scores, time.perf_counter() - started, settings)


def _measure(
    model: Any,
    pairs: Pairs,
    metric: str | Metric,
    patcher: _Patcher,
    batch: int | None,
    progress: AbstractContextManager[Bar],
) -> tuple[Float[np.ndarray, "pair *scores"], Float[np.ndarray, " run"], dict[str, Any]]:
    """Scores in the order of the pairs, mean losses of the clean and the corrupt run, and what was measured."""
    plain = as_model(model)
    access = head_access(plain)
    parts, losses = [], np.zeros((len(pairs), 2), dtype=np.float64)
    chosen = _batches(pairs, access, batch)
    with torch.no_grad(), progress as bar:
        for one in chosen:
            run = endings(plain, access, one)
            writes = contrast(run)
            objective = Objective(metric, one, writes.logits[:, 0], writes.logits[:, 1])
            losses[list(one.indices)] = objective(writes.logits).float().cpu().numpy()
            parts.append(patcher(Replay(run, writes, objective), differences(run, writes, slice(None)), bar))
    order = np.argsort([index for one in chosen for index in one.indices])
    mean = losses.mean(axis=0)
    settings = record(model, pairs, metric) | {
        "method": "exact",
        "loss_clean": float(mean[0]),
        "loss_corrupt": float(mean[1]),
    }
    return np.concatenate(parts)[order], mean, settings


def _batches(pairs: Pairs, access: HeadAccess, size: int | None) -> list[Batch]:
    """The engine's batches, smaller where Δ of all sources would take more than ``DELTA_BYTES``."""
    widest = 4 * len(access.graph.sources) * access.d_model * max(len(text) for text in pairs.clean)
    chosen = batches(pairs, size, access)
    most = max(1, DELTA_BYTES // widest)
    return chosen if max(len(one.indices) for one in chosen) <= most else batches(pairs, most, access)


def _edges(
    replay: Replay, graph: Graph, deltas: Float[Tensor, "source pair ending d"], bar: Bar
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
