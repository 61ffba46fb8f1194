"""Synthetic runs for the page of one head: every kind of result it reads, at any number of layers and heads."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from headscope.heads import HeadId, HeadSet
from headscope.results.attention import Attention, AttentionText, encode_rows
from headscope.results.comparison import Comparison
from headscope.results.counts import HeadEstimates
from headscope.results.edges import EdgeScores
from headscope.results.failures import FailureChanges, KindChange
from headscope.results.graph import Graph
from headscope.results.head_roles import HeadRole, HeadRoles, RoleShares
from headscope.results.head_scaling import HeadScaling
from headscope.results.role_losses import RoleLosses
from headscope.results.training_effects import HeadContrast, TrainingEffects
from headscope.runs import RunDirectory

from .runs import RunWriter, dynamics, emergence, estimate, verdict

STEPS = (10, 20, 30)
ROLES = ("retrieval", "iteration", "answer")
PIECES = (
    "<|im_start|>",
    "user",
    "\n",
    "f",
    "=",
    "9",
    "; ",
    "?",
    "f",
    "<|im_end|>",
    "\n",
    "f",
    " is",
    " ",
    "",
    "é",
    "9",
    ".",
)


def comparison(variant: str, shape: tuple[int, int], seed: int, steps: tuple[int, ...] = STEPS) -> Comparison:
    """Return checkpoints of drawn states; L1H1 is kept, L1H2 is new from the second one on, L0H0 in neither."""
    rng = np.random.default_rng(seed)
    base = rng.choice([0.0, 0.5, 1.0], size=shape, p=[0.7, 0.1, 0.2])
    base[0, 0], base[1, 1], base[1, 2] = 0.0, 1.0, 0.0
    series = []
    for number, _ in enumerate(steps):
        post = np.where(rng.random(shape) < 0.15, rng.choice([0.0, 1.0], size=shape), base)
        post[0, 0], post[1, 1], post[1, 2] = 0.0, 1.0, float(number > 0)
        series.append(emergence(base, post))
    importance = rng.dirichlet(np.full(math.prod(shape), 0.3)).reshape(shape)
    change = rng.normal(0, 0.2, shape) * importance
    grid = HeadEstimates(change, change - 0.01, change + 0.01)
    series[-1] = replace(series[-1], base_importance=importance, importance_change=grid)
    q_value = rng.random((len(steps), *shape))
    return Comparison(variant, steps, tuple(series), tuple(series), dynamics(series, steps), change_q=q_value)


def scores(graph: Graph, seed: int) -> EdgeScores:
    """Return drawn scores of all edges."""
    edges = (np.random.default_rng(seed).standard_cauchy(graph.real.shape) * graph.real * 1e-3).astype(np.float32)
    heads = np.zeros((2, graph.layers, graph.heads), dtype=np.float32)
    return EdgeScores(graph, edges, np.abs(edges), heads, None, math.nan, math.nan)


def training_effects(variant: str, shape: tuple[int, int], seed: int) -> TrainingEffects:
    """Return drawn effects; the training effect of L1H2 is 0.8 nats and called a change."""
    value = np.random.default_rng(seed).normal(0, 0.01, shape)
    value[1, 2] = 0.8
    heads = HeadEstimates(value, value - 0.1, value + 0.1, np.ones(shape))
    contrast = HeadContrast(heads, np.where(value > 0.5, 0.001, 1.0), {}, 40)
    base = replace(heads, value=np.abs(value) / 2)
    models = {"metric": "kl", "base": base, "post": heads, "corruption": (4.0, 5.0)}
    counted = {"new": HeadSet.of(["L1H2"])}
    size = {"pairs": 40, "problems": 40, "ranks": estimate(0.9, 0.05)}
    return TrainingEffects(
        variant, STEPS[-1], recipe=variant, null="", training=contrast, above_twin={"twin": contrast}, counted=counted,
        **models, **size,
    )  # fmt: skip


def head_scaling(shape: tuple[int, int]) -> HeadScaling:
    """Return the loss without each head: L1H2 is needed, L0H0 was not scaled."""
    value = np.zeros(shape)
    value[0, 0], value[1, 2] = np.nan, 0.5
    heads = HeadEstimates(value, value - 0.1, value + 0.1, np.ones(shape))
    q_value = np.where(np.isnan(value), np.nan, np.where(value > 0, 1e-3, 1.0))
    return HeadScaling("T1", "all but one", (0.5, 1.5), 0.2, heads, heads, q_value, q_value, 30, 80)


def role_losses(task: str = "T1") -> RoleLosses:
    """Return losses by role of two heads: retrieval needs L1H2."""
    change = np.array([[0.4, 0.0, 0.01], [0.0, 0.01, 0.0]])
    q_value = np.array([[1e-4, 0.9, 0.8], [0.9, 0.7, np.nan]])
    count, whole = np.array([30, 30, 9]), np.full(3, 0.1)
    heads = HeadSet.of(["L1H2", "L2H0"])
    return RoleLosses(
        task, "text", heads, "the 2 heads of a set", ROLES, count, count, whole, change, change - 0.05, change + 0.05,
        q_value, 30, 80, "t 95 %",
    )  # fmt: skip


def head_roles(variant: str, shape: tuple[int, int] = (3, 4), task: str = "T1") -> HeadRoles:
    """Return roles of heads: L0H1 is kept in retrieval, L1H2 takes iteration over from L1H1; nobody closes."""
    base, post = np.full((2, 3, *shape), 0.01)
    base[0, 0, 1] = post[0, 0, 1] = 0.4
    base[1, 1, 1], post[1, 1, 2] = 0.6, 0.7
    models = []
    for share in (base, post):
        q_value = np.where(share > 0.1, 1e-4, 0.9)
        q_value[2] = np.nan
        models.append(RoleShares(share, share - 0.05, share + 0.05, np.full_like(share, 0.02), q_value))
    change = post - base
    spread = change - 0.02, change + 0.02, np.where(abs(change) > 0.05, 1e-4, 1.0)
    taken, lost = (
        HeadRole(HeadId(1, 2), "iteration", "moved", HeadId(1, 1)),
        HeadRole(HeadId(1, 1), "iteration", "lost"),
    )
    labels = (HeadRole(HeadId(0, 1), "retrieval", "kept"), lost, taken)
    roles, counts = ("retrieval", "iteration", "closer"), (np.array([30, 29, 9]), np.array([300, 60, 20]))
    return HeadRoles(
        variant, STEPS[-1], task, "lab", roles, *counts, models[0], models[1], change, *spread, labels, 30, 0, "t 95 %"
    )


def failures(heads: HeadSet) -> FailureChanges:
    """Return one kind of failure that removing the heads raises."""
    share, controls = estimate(0.2, 0.05, 80), np.array([0.0, 0.1])
    kind = KindChange(
        "retrieval failures", False, share, share, share, controls, share, 1, 1 / 3, 0.01, 0.002, "raised"
    )
    return FailureChanges("T1", "zero", heads, (kind,), "removing them raises retrieval failures", 80, 1, 2)


def attention(
    variant: str, heads: list[HeadId], texts: list[tuple[str, ...]], seed: int = 0, concentration: float = 0.1
) -> Attention:
    """Return drawn attention: of the base on any earlier token, of the variant more on the one before."""
    rng = np.random.default_rng(seed)
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for pieces in texts:
        tokens = len(pieces)
        draws = rng.gamma(concentration, size=(len(heads), tokens, tokens)) + 1e-9
        base = np.tril(draws)
        base /= base.sum(axis=-1, keepdims=True)
        before = np.eye(tokens, k=-1)
        before[0, 0] = 1.0
        sides[0].append(encode_rows(base))
        sides[1].append(encode_rows(0.5 * base + 0.5 * before))
    kept = []
    for number, pieces in enumerate(texts):
        kept.append(AttentionText(f"T1-{number}", tuple(range(len(pieces))), pieces, len(pieces) - 3, len(pieces)))
    base, post = (np.concatenate(side, axis=1) for side in sides)
    words = "clean texts of the pairs on which heads were counted, drawn with seed 0"
    return Attention(variant, STEPS[-1], tuple(heads), f"{len(heads)} heads", tuple(kept), words, base, post)


def head_run(
    path: Path,
    shape: tuple[int, int] = (3, 4),
    variants: tuple[str, ...] = ("sft", "grpo"),
    texts: list[tuple[str, ...]] | None = None,
    steps: tuple[int, ...] = STEPS,
) -> RunDirectory:
    """Write a run with all the page reads; grpo has no attention, and no set of its heads was removed."""
    run, graph = RunWriter(path, variants), Graph(*shape)
    heads = [HeadId(*place) for place in np.ndindex(*shape)][:64]
    for number, variant in enumerate(variants):
        run.save(comparison(variant, shape, number, steps), variant=variant)
        for model, step in (("base", 0), (variant, steps[-1])):
            run.save(scores(graph, 2 * number + step), variant=variant, model=model, step=step, pairs="main")
        run.save(training_effects(variant, shape, number), variant=variant)
        run.save(head_scaling(shape), variant=variant, task="T1")
        if variant != "grpo":
            run.save(attention(variant, heads, texts or [PIECES, PIECES[:8]], number), variant=variant)
            run.save(head_roles(variant, shape), variant=variant, task="T1")
    first = variants[0]
    together, alone = HeadSet.of(["L1H2", "L1H1"]), HeadSet.of(["L1H2"])
    for group, members in (("emergent", together), ("kept", alone)):
        place = {"variant": first, "heads": group, "operator": "zero", "task": "T1"}
        run.save(replace(verdict(-0.14, "supported"), heads=members), **place)
        run.save(failures(members), **place)
    run.save(role_losses(), variant=first, task="T1")
    return run.close()
