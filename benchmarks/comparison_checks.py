"""Intervals and tests of the comparison checked by simulation, where the truth is known.

    .venv/bin/python benchmarks/comparison_checks.py [--trials N]

1. false emergence: a model scored on fresh pairs, taken for a post-trained one; the paper's rule beside ours;
2. changes of importance: coverage, false positives, and false discoveries after Benjamini and Hochberg;
3. reward coupling of independent random walks: how often p ≤ 0.05;
4. persistence of heads that stay with a known chance: coverage.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from headscope.comparison import emergence, importance_change, persistence, reward_coupling
from headscope.measures.multiplicity import q_values
from headscope.results.dynamics import Dynamics
from headscope.results.edges import EdgeScores
from headscope.results.estimate import Estimate
from headscope.results.graph import Graph

GRAPH = Graph(6, 8)


def false_emergence(trials: int) -> str:
    """40 pairs with log-normal noise, circuits of 5 % of the edges."""
    rows = []
    for trial in range(trials):
        base, post, again = (_population(3 * trial + part) for part in range(3))
        core = emergence(base, post, base_again=again, fraction=0.05, seed=trial)
        paper = emergence(base, post, base_again=again, fraction=0.05, seed=trial, method="paper")
        rows.append([len(core.new) / 48, len(paper.new) / 48, _holds(core.excess.new, 0), _holds(paper.excess.new, 0)])
    ours, paper_rule, covered, paper_covered = np.mean(rows, axis=0)
    return (
        f"false emergence: {ours:.1%} of heads, by the paper's rule {paper_rule:.1%}; "
        f"the excess's interval holds 0 in {covered:.1%} and {paper_covered:.1%}"
    )


def changes(trials: int) -> str:
    """40 pairs, 4 of 12 heads changed."""
    graph, rng = Graph(3, 4), np.random.default_rng(0)
    before = np.exp(np.random.default_rng(1).normal(size=(3, 4)))
    after = before * np.array([[1.6, 0.6, 1, 1], [1, 1, 1.3, 1], [1, 1, 1, 1]])
    after[2, 2] += before.sum() - after.sum()  # the others' shares stay
    truth = (after - before) / before.sum()
    still = np.abs(truth) < 1e-12
    rows = []
    for _ in range(trials):
        shared = np.exp(0.5 * rng.normal(size=(40, 3, 4)))
        drawn = (sizes * shared * np.exp(0.3 * rng.normal(size=(40, 3, 4))) for sizes in (before, after))
        found = importance_change(*(_heads(graph, sums) for sums in drawn))
        assert found.p_value is not None
        chosen = q_values(found.p_value) <= 0.05
        covered = ((found.low <= truth) & (truth <= found.high)).mean()
        rows.append([covered, (found.p_value[still] <= 0.05).mean(), (chosen & still).sum() / max(1, chosen.sum())])
    covered, false, discovered = np.mean(rows, axis=0)
    return f"changes of importance: coverage {covered:.1%}, false positives {false:.1%}, FDR {discovered:.1%}"


def coupling(trials: int) -> str:
    """14 checkpoints of two independent random walks, tested at 5 %."""
    rejected = []
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        walks = [np.cumsum(0.5 + rng.normal(size=14)) for _ in range(2)]
        rejected.append(reward_coupling([(walks[0], walks[1])], draws=199, seed=trial).after_p <= 0.05)
    return f"reward coupling: false positives {np.mean(rejected):.1%}"


def staying(trials: int) -> str:
    """40 heads over 12 checkpoints that stay with chance 0.8."""
    covered = []
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        states = np.zeros((12, 1, 40), dtype=bool)
        for now in range(1, 12):
            states[now] = np.where(states[now - 1], rng.random((1, 40)) > 0.2, rng.random((1, 40)) < 0.3)
        nothing = np.zeros_like(states)
        run = Dynamics(np.arange(12), states, nothing, nothing[0], states.argmax(axis=0), 1, ())
        covered.append(_holds(persistence(run).persistence, 0.8))
    return f"persistence: coverage {np.mean(covered):.1%}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=400, help="of each check; of the first a tenth (default: 400)")
    trials = parser.parse_args(arguments).trials
    print(false_emergence(max(1, trials // 10)))
    for check in (changes, coupling, staying):
        print(check(trials))
    return 0


def _population(sample: int, pairs: int = 40) -> EdgeScores:
    sizes = np.random.default_rng(7).lognormal(sigma=0.8, size=GRAPH.real.shape)
    sizes[0] *= 4
    sizes[:, -1] *= 4
    noise = np.random.default_rng([5, sample]).lognormal(sigma=0.8, size=(pairs, *GRAPH.real.shape))
    pair_edges = (sizes * noise * GRAPH.real).astype(np.float32)
    mean = pair_edges.mean(axis=0)
    return EdgeScores(GRAPH, mean, mean, GRAPH.head_grid(pair_edges.sum(axis=2)), pair_edges, 0.0, 0.0)


def _heads(graph: Graph, sums: np.ndarray) -> EdgeScores:
    nothing = np.zeros(graph.real.shape, dtype=np.float32)
    return EdgeScores(graph, nothing, nothing, sums.astype(np.float32), None, 0.0, 0.0)


def _holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


if __name__ == "__main__":
    sys.exit(main())
