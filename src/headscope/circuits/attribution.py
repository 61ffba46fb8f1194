"""Edge attribution: EAP and EAP-IG on a plain Hugging Face model (method section 3).

1. Pairs of like lengths share a batch; its prefixes are run once (``batches``, ``endings``).
2. One pass over clean and corrupt endings gives Δ of every source (``contrast``).
3. Forward and backward over quadrature nodes give the gradients at every destination (``gradients``): equally many
   nodes for all pairs, or for each pair where its own path needs them (``quadrature``, ``refinement``).
4. One matrix product per destination layer contracts the two over positions and width, per pair (``integration``).
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from transformers import PreTrainedModel

from headscope.circuits.batches import NODES, collate
from headscope.circuits.contrast import contrast
from headscope.circuits.endings import endings, frozen
from headscope.circuits.exact import exact_edges
from headscope.circuits.integration import Integrand
from headscope.circuits.memory import Budget, attribution_budget
from headscope.circuits.objective import Metric, Objective
from headscope.circuits.record import record
from headscope.circuits.refinement import TOLERANCE
from headscope.errors import InputError, suggestion
from headscope.measures.quadrature import AT_CLEAN, quadrature
from headscope.models import HeadAccess, as_model, head_access
from headscope.pairs import Pairs
from headscope.progress import SILENT, Bar, Progress
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph

METHODS = ("eap", "eap-ig", "exact")
KV = ("query", "group")


@dataclass(frozen=True)
class _Plan:
    metric: str | Metric
    method: str
    rule: str
    nodes: int | str
    kv: str
    keep_pairs: bool


@dataclass(frozen=True, eq=False)
class _Part:
    """What is kept of one batch: sums over its pairs, and per pair what the result holds per pair.

    signed, absolute: float64 Σ over pairs of score and |score|. edges: the scores, or None when not kept.
    losses: of clean and corrupt. nodes: used per pair. paths: judged error, norm and whether that is within the
        tolerance, per pair; empty where the rule is fixed.
    """

    indices: tuple[int, ...]
    signed: Float[np.ndarray, "F B"]
    absolute: Float[np.ndarray, "F B"]
    heads: Float[np.ndarray, "pair layer head"]
    edges: Float[np.ndarray, "pair F B"] | None
    losses: Float[np.ndarray, "pair 2"]
    nodes: list[int]
    paths: list[tuple[float, float, bool]]


def attribute(
    model: Any,
    pairs: Pairs,
    *,
    metric: str | Metric = "kl",
    method: str = "eap-ig",
    rule: str = "gauss",
    nodes: int | str = "adaptive",
    kv: str = "query",
    keep_pairs: bool = False,
    batch: int | None = None,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> EdgeScores:
    """Score every edge of the model's graph on ``pairs``: Σ over positions of Δ_u · ḡ_v, averaged over pairs.

    model: a ``Subject`` or a plain Hugging Face model in evaluation mode; it is left as it was.
    metric: ``kl``, ``logit_diff``, ``nll`` (see ``Objective``), or a function of (logits [run, position,
        vocab], clean logits [position, vocab]) of one pair to one loss per run.
    method: ``eap-ig`` integrates the gradient from the corrupt to the clean embedding; ``eap`` takes it at
        the clean one; ``exact`` patches every edge (``exact_edges``; a pass per edge, for small models).
    nodes, rule: ``adaptive`` (which has a rule of its own) gives each pair the nodes its own path needs for an error
        of 1 % of its scores, 9 to 128 of them (``refinement``; ``settings`` say how many were used, the judged error,
        and whether that sufficed); a number is one of nodes of ``rule``: gauss, left, right, midpoint.
    kv: ``query``: every query head has its own copy of its group's key and value input; ``group``: one input per
        key/value head, scored by the sum of its copies' scores.
    keep_pairs: keep [pair, F, B] scores as well. batch: pairs side by side at most; None chooses.
    memory: bytes that may be taken beside the weights; None takes up to half of what the device has free. It decides
        how many pairs, nodes and positions go through at a time; scores are the same but for rounding. Where memory
        runs out all the same, fewer nodes go through at a time from then on.
    Source: Hanna, Pezzelle, Belinkov, "Have Faith in Faithfulness", arXiv 2403.17806. Sign as there: positive
    when corrupting the edge raises the loss.
    Raises InputError where an argument is not one of these, the model is in training mode or of an unknown
    architecture, one node of one pair does not fit in memory, or scores are not finite.
    """
    started = time.perf_counter()
    plan = _checked(_Plan(metric, method, rule, nodes, kv, keep_pairs))
    if method == "exact":
        return exact_edges(
            model, pairs, metric, kv=kv, keep_pairs=keep_pairs, batch=batch, memory=memory, progress=progress
        )
    plain = as_model(model)
    access = head_access(plain)
    with frozen(plain), progress.bar("attribute", len(pairs)) as bar:
        budget = attribution_budget(plain, access, pairs, NODES if isinstance(nodes, str) else nodes, memory)

        def scored(group: list[int], bar: Bar) -> _Part:
            part = _part(plain, access, pairs, group, plan, budget)
            bar.advance(len(group))
            return part

        parts = budget.over_pairs(pairs, batch, scored, bar)
    about = record(model, pairs, metric) | {"d_model": access.d_model, "kv": kv, "positions": _positions(pairs)}
    about["vocabulary"] = pairs.vocabulary or access.vocabulary
    about |= _about_run(plan, parts, budget)
    return _gathered(_graph(access, plan), parts, about, time.perf_counter() - started)


def _graph(access: HeadAccess, plan: _Plan) -> Graph:
    return access.graph if plan.kv == "query" else replace(access.graph, kv_heads=access.kv_heads)


def _checked(plan: _Plan) -> _Plan:
    if plan.method not in METHODS:
        raise InputError(f"method {plan.method!r} is unknown{suggestion(plan.method, METHODS)}")
    if plan.kv not in KV:
        raise InputError(f"kv {plan.kv!r} is unknown{suggestion(plan.kv, KV)}")
    if isinstance(plan.nodes, bool) or not isinstance(plan.nodes, int | str):
        raise InputError(f"found nodes={plan.nodes!r}; give a whole number or 'adaptive'")
    if isinstance(plan.nodes, str) and plan.nodes != "adaptive":
        raise InputError(f"nodes {plan.nodes!r} is unknown; give a number or 'adaptive'")
    quadrature(plan.rule, 1 if isinstance(plan.nodes, str) else plan.nodes)
    if plan.method == "eap-ig" and plan.nodes == "adaptive" and plan.rule != "gauss":
        raise InputError(f"found rule={plan.rule!r} with adaptive nodes, which have a rule of their own; give a number")
    return plan


def _part(
    model: PreTrainedModel, access: HeadAccess, pairs: Pairs, group: list[int], plan: _Plan, budget: Budget
) -> _Part:
    run = endings(model, access, collate(pairs, group, access.device))
    writes = contrast(run)
    # Only Δ is needed from here on, and Δ of the input is the first residual stream's.
    writes = replace(writes, residual=writes.residual[:1])
    objective = Objective(plan.metric, run.batch, writes.logits[:, 0], writes.logits[:, 1])
    losses = objective.losses(writes.logits)
    integrand = Integrand(run, writes, objective, budget)
    if plan.method == "eap-ig" and isinstance(plan.nodes, str):
        paths = integrand.refined()
        scores, nodes = np.stack([path.integral for path in paths]), [len(path.alphas) for path in paths]
        judged = [(path.error, path.norm, path.settled) for path in paths]
    else:
        rule = AT_CLEAN if plan.method == "eap" else quadrature(plan.rule, int(plan.nodes))
        scores, nodes, judged = integrand.integrated(rule), [len(rule.alphas)] * len(group), []
    return _summed(_graph(access, plan), scores, run.batch.indices, plan, losses, nodes, judged)


def _summed(
    graph: Graph,
    scores: Float[np.ndarray, "pair F B_query"],
    indices: tuple[int, ...],
    plan: _Plan,
    losses: Float[np.ndarray, "pair 2"],
    nodes: list[int],
    paths: list[tuple[float, float, bool]],
) -> _Part:
    folded = graph.fold(scores)
    absolute = np.abs(folded)
    return _Part(
        indices=indices,
        signed=folded.sum(axis=0, dtype=np.float64),
        absolute=absolute.sum(axis=0, dtype=np.float64),
        heads=graph.head_grid(absolute.sum(axis=2)),
        edges=folded if plan.keep_pairs else None,
        losses=losses,
        nodes=nodes,
        paths=paths,
    )


def _positions(pairs: Pairs) -> str:
    last = all(pair.positions.tolist() == [len(pair.clean) - 1] for pair in pairs)
    return "last" if last else "several"


def _about_run(plan: _Plan, parts: list[_Part], budget: Budget) -> dict[str, Any]:
    """Settings: method and metric, losses, quadrature, and rows per pass where memory ran out."""
    losses = np.concatenate([part.losses for part in parts]).mean(axis=0)
    about = {"method": plan.method, "loss_clean": float(losses[0]), "loss_corrupt": float(losses[1])} | budget.about
    return about if plan.method == "eap" else about | _about_quadrature(plan, parts)


def _about_quadrature(plan: _Plan, parts: list[_Part]) -> dict[str, Any]:
    """Rule and nodes; where adaptive, the judged error of all pairs together and how many miss the tolerance."""
    nodes = [count for part in parts for count in part.nodes]
    if plan.nodes != "adaptive":
        return {"rule": plan.rule, "nodes": max(nodes)}
    errors, norms, settled = zip(*(path for part in parts for path in part.paths), strict=True)
    error, unsettled = sum(errors) / max(sum(norms), 1e-30), settled.count(False)
    return {
        "rule": "adaptive",
        "nodes": max(nodes),
        "nodes_mean": float(np.mean(nodes)),
        "adaptive_error": error,
        "adaptive_unsettled": unsettled,
        "adaptive_converged": error <= TOLERANCE or unsettled == 0,
    }


def _gathered(graph: Graph, parts: list[_Part], about: dict[str, Any], seconds: float) -> EdgeScores:
    order = np.argsort(np.concatenate([part.indices for part in parts]))
    signed = np.sum([part.signed for part in parts], axis=0) / len(order)
    absolute = np.sum([part.absolute for part in parts], axis=0) / len(order)
    kept = [part.edges for part in parts if part.edges is not None]
    lost = about["loss_corrupt"] - about["loss_clean"]
    return EdgeScores(
        graph=graph,
        edges=signed.astype(np.float32),
        edges_abs=absolute.astype(np.float32),
        pair_heads=np.concatenate([part.heads for part in parts])[order],
        pair_edges=np.concatenate(kept)[order] if kept else None,
        residual=abs(float(signed[0].sum()) - lost) / max(abs(lost), 1e-30),
        seconds=seconds,
        settings=about,
    )
