"""EAP and EAP-IG: edges scored by gradients, on a plain Hugging Face model (method section 3).

1. Pairs of like lengths share a batch; its prefixes are run once (``batches``, ``prefix_cache``).
2. One pass over clean and corrupt endings gives Δ of every source (``source_deltas``).
3. Forward and backward over quadrature nodes give the gradients at every destination (``gradients``): equally many
   nodes for all pairs, or for each pair as its own path needs them (``quadrature``, ``adaptive_quadrature``).
4. One matrix product per destination layer contracts the two over positions and width, per pair (``integration``).

Source: Hanna, Pezzelle, Belinkov, "Have Faith in Faithfulness", arXiv 2403.17806. Sign as there: positive when
corrupting the edge raises the loss.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import nn
from transformers import PreTrainedModel

from headscope.circuits.adaptive_quadrature import TOLERANCE
from headscope.circuits.batches import NODES, collate
from headscope.circuits.budget import Budget, attribution_budget
from headscope.circuits.integration import Integrand
from headscope.circuits.objective import Metric, Objective, provenance
from headscope.circuits.prefix_cache import cache_prefix, frozen_model
from headscope.circuits.source_deltas import record_writes
from headscope.measures.quadrature import AT_CLEAN, Quadrature, quadrature
from headscope.models import HeadAccess, Subject, as_model, head_access
from headscope.pairs import Pairs
from headscope.progress import SILENT, Bar, Progress
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph


def eap(
    model: Subject | nn.Module,
    pairs: Pairs,
    metric: str | Metric = "kl",
    *,
    kv: str = "query",
    keep_pairs: bool = False,
    batch: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> EdgeScores:
    """Score edges by the gradient at the clean embedding. Arguments and errors as in ``attribute``."""
    request = _Request("eap", metric, AT_CLEAN, "", kv, keep_pairs)
    return _score_edges(model, pairs, request, NODES, batch, memory, progress)


def eap_ig(
    model: Subject | nn.Module,
    pairs: Pairs,
    metric: str | Metric = "kl",
    *,
    rule: str = "gauss",
    nodes: int | str = "adaptive",
    kv: str = "query",
    keep_pairs: bool = False,
    batch: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> EdgeScores:
    """Score edges by the gradient integrated from the corrupt to the clean embedding. Arguments as in ``attribute``."""
    fixed_rule = None if isinstance(nodes, str) else quadrature(rule, nodes)
    request = _Request("eap-ig", metric, fixed_rule, rule, kv, keep_pairs)
    return _score_edges(model, pairs, request, NODES if isinstance(nodes, str) else nodes, batch, memory, progress)


@dataclass(frozen=True)
class _Request:
    """Settings of every batch. rule: None for adaptive nodes."""

    method: str
    metric: str | Metric
    rule: Quadrature | None
    rule_name: str
    kv: str
    keep_pairs: bool

    def graph(self, access: HeadAccess) -> Graph:
        """Return the graph whose edges are scored."""
        return access.graph if self.kv == "query" else replace(access.graph, kv_heads=access.kv_heads)


@dataclass(frozen=True, eq=False)
class _BatchScores:
    """What is kept of one batch: sums over its pairs, and per pair what the result holds per pair.

    indices: which pairs they are.
    signed: float64 Σ over pairs of the score.
    absolute: float64 Σ over pairs of |score|.
    heads: per pair Σ of |score| over the edges out of each head.
    edges: the scores, or None if they are not kept.
    losses: of the clean and the corrupt run.
    nodes: used per pair.
    paths: judged error, norm and whether the error is within the tolerance, per pair; empty if the rule is fixed.
    """

    indices: tuple[int, ...]
    signed: Float[np.ndarray, "F B"]
    absolute: Float[np.ndarray, "F B"]
    heads: Float[np.ndarray, "pair layer head"]
    edges: Float[np.ndarray, "pair F B"] | None
    losses: Float[np.ndarray, "pair 2"]
    nodes: list[int]
    paths: list[tuple[float, float, bool]]


def _score_edges(
    model: Subject | nn.Module,
    pairs: Pairs,
    request: _Request,
    nodes: int,
    batch: int | None,
    memory: int | None,
    progress: Progress,
) -> EdgeScores:
    """Score all pairs batch by batch. nodes: how many of each pair the memory is planned for."""
    started = time.perf_counter()
    plain = as_model(model)
    access = head_access(plain)
    with frozen_model(plain), progress.bar("attribute", len(pairs)) as bar:
        budget = attribution_budget(plain, access, pairs, nodes, memory)

        def score(group: list[int], bar: Bar) -> _BatchScores:
            scores = _score_batch(plain, access, pairs, group, request, budget)
            bar.advance(len(group))
            return scores

        batches = budget.over_pairs(pairs, batch, score, bar)
    loss_clean, loss_corrupt = np.concatenate([scores.losses for scores in batches]).mean(axis=0).tolist()
    settings = provenance(model, pairs, request.metric)
    settings |= {"d_model": access.d_model, "kv": request.kv, "positions": _name_positions(pairs)}
    settings |= {"vocabulary": pairs.vocabulary or access.vocabulary}
    settings |= {"method": request.method, "loss_clean": loss_clean, "loss_corrupt": loss_corrupt}
    settings |= budget.shortages | _quadrature_settings(request, batches)
    # Back in the order of the pairs, and summed in float64: the mean does not depend on how pairs were batched.
    order = np.argsort(np.concatenate([scores.indices for scores in batches]))
    signed = np.sum([scores.signed for scores in batches], axis=0) / len(order)
    absolute = np.sum([scores.absolute for scores in batches], axis=0) / len(order)
    pair_edges = [scores.edges for scores in batches if scores.edges is not None]
    # Scores of the input's edges must add up to what corrupting the text costs (completeness).
    lost = loss_corrupt - loss_clean
    return EdgeScores(
        graph=request.graph(access),
        edges=signed.astype(np.float32),
        edges_abs=absolute.astype(np.float32),
        pair_heads=np.concatenate([scores.heads for scores in batches])[order],
        pair_edges=np.concatenate(pair_edges)[order] if pair_edges else None,
        residual=abs(float(signed[0].sum()) - lost) / max(abs(lost), 1e-30),
        seconds=time.perf_counter() - started,
        settings=settings,
        problems=pairs.problems,
    )


def _score_batch(
    model: PreTrainedModel, access: HeadAccess, pairs: Pairs, group: list[int], request: _Request, budget: Budget
) -> _BatchScores:
    runner = cache_prefix(model, access, collate(pairs, group, access.device))
    writes = record_writes(runner)
    # Only Δ is needed from here on, and Δ of the input is the first residual stream's.
    writes = replace(writes, residual=writes.residual[:1])
    objective = Objective.from_runs(request.metric, runner.batch, writes.logits)
    losses = objective.losses(writes.logits)
    integrand = Integrand(runner, writes, objective, budget)
    paths = []
    if request.rule is None:
        integrals = integrand.integrate_adaptively()
        scores = np.stack([path.integral for path in integrals])
        nodes = [len(path.alphas) for path in integrals]
        paths = [(path.error, path.norm, path.settled) for path in integrals]
    else:
        scores = integrand.integrate(request.rule)
        nodes = [len(request.rule.alphas)] * len(group)
    graph = request.graph(access)
    scores = graph.fold(scores)
    absolute = np.abs(scores)
    return _BatchScores(
        indices=runner.batch.indices,
        signed=scores.sum(axis=0, dtype=np.float64),
        absolute=absolute.sum(axis=0, dtype=np.float64),
        heads=graph.head_grid(absolute.sum(axis=2)),
        edges=scores if request.keep_pairs else None,
        losses=losses,
        nodes=nodes,
        paths=paths,
    )


def _name_positions(pairs: Pairs) -> str:
    only_last = all(pair.positions.tolist() == [len(pair.clean) - 1] for pair in pairs)
    return "last" if only_last else "several"


def _quadrature_settings(request: _Request, batches: list[_BatchScores]) -> dict[str, object]:
    """Return rule and nodes; if adaptive, the judged error of all pairs together and how many miss the tolerance."""
    if request.method == "eap":
        return {}
    nodes = [count for scores in batches for count in scores.nodes]
    if request.rule is not None:
        return {"rule": request.rule_name, "nodes": max(nodes)}
    errors, norms, settled = zip(*(path for scores in batches for path in scores.paths), strict=True)
    # 1e-30: pairs that score nothing have an error of 0, not NaN.
    error = sum(errors) / max(sum(norms), 1e-30)
    unsettled = settled.count(False)
    return {
        "rule": "adaptive",
        "nodes": max(nodes),
        "nodes_mean": float(np.mean(nodes)),
        "adaptive_error": error,
        "adaptive_unsettled": unsettled,
        "adaptive_converged": error <= TOLERANCE or unsettled == 0,
    }
