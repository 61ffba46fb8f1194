"""Controls of the claims about one model in two modes (C8, C9): scores and answers made to measure."""

from collections.abc import Callable

import numpy as np

from headscope.comparison import Resampling, ablation_verdict, think_on_off
from headscope.comparison.claims import Ablation, Modes, StudyResults
from headscope.evaluation.passk import pass_at_k_by_problem
from headscope.heads import HeadSet
from headscope.measures.intervals import paired_difference
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.graph import Graph
from headscope.results.thinking import Thinking

PROBLEMS, SAMPLES, PAIRS = 60, 16, 40
GRAPH = Graph(6, 8)
FRACTIONS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def sharpening(true: bool, seed: int = 0) -> StudyResults:
    """C9: without the heads half of the problems are solved nearly always and half never, where all were at times."""
    rng = np.random.default_rng([9, seed])
    chance = np.full(PROBLEMS, 0.3)
    sharp = np.where(np.arange(PROBLEMS) % 2, 0.9, 0.0)
    whole, removed = _draw(rng, chance), _draw(rng, sharp if true else chance)
    ablation = _ablation("think-off", "think-off-only", "zero", "task", whole, removed)
    return StudyResults(ablations=(ablation,), thinking=(Modes("think-off", "think-off", _thinking(off=24, on=12)),))


def modes(true: bool, seed: int = 0) -> StudyResults:
    """C8: think-on uses half of the heads that think-off uses; in the twin it is the other way round."""
    thinking = _thinking(off=24, on=12, seed=seed) if true else _thinking(off=12, on=24, seed=seed)
    return StudyResults(thinking=(Modes("think-off", "think-off", thinking),))


SIMULATED: dict[str, tuple[Callable[[bool, int], StudyResults], str]] = {
    "C8": (modes, "simulated scores"),
    "C9": (sharpening, "simulated answers"),
}


def _draw(rng: np.random.Generator, chance: np.ndarray) -> np.ndarray:
    return rng.random((len(chance), SAMPLES)) < chance[:, None]


def _ablation(variant: str, group: str, operator: str, task: str, whole: np.ndarray, changed: np.ndarray) -> Ablation:
    verdict = ablation_verdict(whole, changed, [], task=task, operator=operator, heads=HeadSet.of(["L0H0"]))
    coverage = paired_difference(pass_at_k_by_problem(changed, SAMPLES), pass_at_k_by_problem(whole, SAMPLES))
    return Ablation(variant, group, operator, task, verdict, (SAMPLES, coverage))


def _thinking(off: int, on: int, seed: int = 0) -> Thinking:
    """Compare two modes whose score runs through so many of 48 heads; the fewer are among the more."""
    off_scores, again, on_scores = (_scores(heads, 3 * seed + draw) for heads, draw in ((off, 1), (off, 2), (on, 3)))
    curves = _curve(on_scores), _curve(off_scores)
    return think_on_off(on_scores, off_scores, *curves, off_again=again, resampling=Resampling(0.05))


def _scores(heads: int, seed: int) -> EdgeScores:
    """Log-normal edge sizes; those of the other heads are a hundredth."""
    sizes = np.random.default_rng(7).lognormal(sigma=0.5, size=GRAPH.real.shape)
    sizes[0] *= 4
    sizes[:, -1] *= 4
    for place in np.random.default_rng(8).permutation(48)[heads:].tolist():
        layer, head = divmod(place, 8)
        sizes[GRAPH.head_source(layer, head)] *= 0.01
        sizes[:, [GRAPH.port(layer, port, head) for port in "qkv"]] *= 0.01
    noise = np.random.default_rng(seed).lognormal(sigma=0.5, size=(PAIRS, *GRAPH.real.shape))
    edges = (sizes * noise * GRAPH.real).astype(np.float32)
    mean = edges.mean(axis=0)
    return EdgeScores(GRAPH, mean, mean, GRAPH.head_grid(edges.sum(axis=2)), edges, 0.0, 0.0)


def _curve(scores: EdgeScores) -> FaithfulnessCurve:
    """Return a curve in which a circuit is as faithful as the share of all score that its edges carry."""
    assert scores.pair_edges is not None
    order = np.argsort(-scores.edges_abs, axis=None)
    by_edge = scores.pair_edges.reshape(PAIRS, -1)[:, order]
    shares = by_edge.cumsum(axis=1) / by_edge.sum(axis=1, keepdims=True)
    counts = tuple(round(fraction * int(GRAPH.real.sum())) for fraction in FRACTIONS)
    circuits = np.stack([1 - shares[:, max(0, count - 1)] for count in counts]).astype(np.float32)
    nothing, everything = np.zeros(PAIRS, np.float32), np.ones(PAIRS, np.float32)
    return FaithfulnessCurve(nothing, everything, circuits, np.array(FRACTIONS), counts)
