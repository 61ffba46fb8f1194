"""Controls of the claims that planted heads do not show without a training: answers and scores made to measure."""

import random
from collections.abc import Callable, Sequence

import numpy as np

from headscope.comparison import Resampling, ablation_verdict, think_on_off
from headscope.comparison.claims import Ablation, Answers, Modes, StudyResults
from headscope.evaluation import check_answers
from headscope.evaluation.passk import pass_at_k_by_problem
from headscope.heads import HeadSet
from headscope.lab import chains
from headscope.measures.intervals import paired_difference
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.graph import Graph
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking
from headscope.studies.answers.traces import trace_samples

PROBLEMS, SAMPLES, PAIRS = 60, 16, 40
GRAPH = Graph(6, 8)
FRACTIONS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def trade(true: bool, seed: int = 0) -> StudyResults:
    """C7: at × 1.3 one task gains 0.15 and another loses 0.15; in the twin neither changes."""
    ablations = []
    for number, change in enumerate((0.15, -0.15)):
        rng = np.random.default_rng([7, number, seed])
        chance = rng.uniform(0.2, 0.8, PROBLEMS)
        whole, scaled = _draw(rng, chance), _draw(rng, chance + change * true)
        ablations.append(_ablation("sft", "emergent", "x1.3", f"task {number + 1}", whole, scaled))
    return StudyResults(ablations=tuple(ablations))


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


def over_thinking(true: bool, seed: int = 0) -> StudyResults:
    """C10: half of the easy problems end in a re-check that spoils a right result, half of T3 is now solved, and T4 is
    guessed as before; in the twin nothing changes.
    """
    rng = random.Random(10 + seed)
    answers = []
    for tier, before, after in (("T1", _right, _rechecked), ("T3", _guessed, _half_right), ("T4", _guessed, _guessed)):
        items = chains.draw_items(tier, "test", 40, seed=seed)
        base = _answer(items, before, rng)
        post = _answer(items, after if true else before, rng)
        traces = trace_samples(post, {item.prompt: item.prompt for item in items})
        rows = traces.answers.groupby("problem", sort=False)["failure"]
        failures = tuple(tuple(kinds) for _, kinds in rows)
        tiers = tuple(post.groups)
        answers.append(Answers("sft", "sft", tier, base.correct, post.correct, tiers, failures=failures))
    return StudyResults(answers=tuple(answers))


SIMULATED: dict[str, tuple[Callable[[bool, int], StudyResults], str]] = {
    "C7": (trade, "simulated answers"),
    "C8": (modes, "simulated scores"),
    "C9": (sharpening, "simulated answers"),
    "C10": (over_thinking, "constructed lab answers, read by the checker and the traces"),
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


Writer = Callable[[chains.Item, random.Random], str]


def _right(item: chains.Item, rng: random.Random) -> str:
    return chains.thinking_turn(item)


def _rechecked(item: chains.Item, rng: random.Random) -> str:
    """Every fold is checked again; half of the answers' checks spoil what was right."""
    return chains.thinking_turn(item, recheck=1.0, slip=float(rng.random() < 0.5), rng=rng)


def _guessed(item: chains.Item, rng: random.Random) -> str:
    """A wrong digit after a thought about a variable that is not there."""
    wrong = (item.answer + rng.randint(1, 9)) % 10
    return f"<think> z=q+1; </think> <ans> {wrong}"


def _half_right(item: chains.Item, rng: random.Random) -> str:
    return (_right if rng.random() < 0.5 else _guessed)(item, rng)


def _answer(items: Sequence[chains.Item], write: Writer, rng: random.Random) -> Samples:
    """Return four checked answers to each item."""
    rows = []
    for item in items:
        responses = [write(item, rng) for _ in range(4)]
        verdicts = check_answers(responses, [str(item.answer)] * 4, kind="exact")
        for sample, (response, verdict) in enumerate(zip(responses, verdicts, strict=True)):
            row = {"problem": item.prompt, "group": item.tier, "sample": sample, "seed": 0, "response": response}
            row |= {"tokens": len(response.split()), "finish": "stop", "verdict": verdict.status}
            rows.append(row | {"answer": verdict.answer, "gold": str(item.answer), "kind": "exact"})
    return Samples.from_records(rows, model="constructed", task=items[0].tier)
