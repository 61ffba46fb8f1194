"""Intervals and tests of the comparison checked by simulation, where the truth is known.

    .venv/bin/python benchmarks/comparison_checks.py [--trials N]

1. emergence: a model scored on fresh pairs, taken for a post-trained one, and one with changed heads: false emergence,
   coverage of the excess, how often its test says p ≤ 0.05; the paper's method beside ours;
2. changes of importance: coverage, false positives, and false discoveries after Benjamini and Hochberg;
3. reward coupling of independent random walks, ten times as many: how often p ≤ 0.05;
4. persistence of heads that stay with a known chance: coverage;
5. random sets next to one and to two heads of eight per layer: how often p ≤ 0.05 if the heads are like any others, if
   effects grow with the layer and with importance, and if the heads matter.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headscope.comparison import Resampling, emergence_by_method, importance_change, persistence, reward_coupling
from headscope.comparison.control_sets import control_sets
from headscope.heads import HeadSet
from headscope.measures.multiplicity import q_values
from headscope.measures.permutation import permutation_p_value
from headscope.results.dynamics import Dynamics
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.graph import Graph

GRAPH = Graph(6, 8)


@dataclass(frozen=True)
class Population:
    """Log-normal edge sizes between pairs. noise: their σ. changed: heads whose edges are larger in post, by factor.

    shared: correlation of the noise of base and post, which see the same pairs.
    """

    noise: float = 0.8
    changed: int = 0
    factor: float = 1.0
    shared: float = 0.0

    def sizes(self, post: bool) -> np.ndarray:
        """Of every edge."""
        sizes = np.random.default_rng(7).lognormal(sigma=0.8, size=GRAPH.real.shape)
        sizes[0] *= 4
        sizes[:, -1] *= 4
        for place in np.random.default_rng(3).choice(48, self.changed, replace=False) if post else ():
            layer, head = divmod(int(place), 8)
            sizes[GRAPH.head_source(layer, head)] *= self.factor
            sizes[:, [GRAPH.port(layer, port, head) for port in "qkv"]] *= self.factor
        return sizes

    def draw(self, trial: int, pairs: int = 40) -> tuple[EdgeScores, EdgeScores, EdgeScores]:
        """Base and post, and base on fresh pairs."""
        base, own, fresh = np.random.default_rng([5, trial]).normal(size=(3, pairs, *GRAPH.real.shape))
        post = self.shared * base + np.sqrt(1 - self.shared**2) * own
        draws = ((base, False), (post, True), (fresh, False))
        return tuple(_scores(np.exp(self.noise * each) * self.sizes(changed)) for each, changed in draws)


POPULATIONS = {
    "nothing changed": Population(),
    "nothing changed, noisy": Population(noise=2.0),
    "8 heads x 3": Population(changed=8, factor=3.0, shared=0.5),
}


def emerging(name: str, trials: int) -> str:
    """40 pairs, circuits of 5 % of the edges: new heads, the interval of their excess and its test, by both methods.

    The true excess is 0 where nothing changed, otherwise the mean number of new heads over the trials, less that
    between base and itself.
    """
    found: dict[str, list[Emergence]] = {"bootstrap": [], "paper": []}
    null: dict[str, list[int]] = {"bootstrap": [], "paper": []}
    doubled = []
    for trial in range(trials):
        base, post, again = POPULATIONS[name].draw(trial)
        methods = dict.fromkeys(found, Resampling(0.05, seed=trial))
        once = emergence_by_method(base, [post], methods, base_again=again)
        # Base against itself on other pairs, as if it were a post-trained model.
        itself = emergence_by_method(base, [again], dict.fromkeys(found, Resampling(0.05, seed=trial)))
        doubled.append(len(set(once["bootstrap"][0].doubled)) / 48)
        for method in found:
            found[method] += once[method]
            null[method].append(len(itself[method][0].new))
    lines = []
    for method, results in found.items():
        new = np.array([len(each.new) for each in results])
        truth = float(new.mean() - np.mean(null[method])) if POPULATIONS[name].changed else 0.0
        covered = np.mean([_holds(each.excess.new, truth) for each in results])
        width = np.mean([each.excess.new.high - each.excess.new.low for each in results])
        called = np.mean([each.new_p_value <= 0.05 for each in results])
        lines.append(
            f"{method}: {new.mean() / 48:.1%} of heads new; excess {truth:+.2f} heads, covered by {covered:.1%} of the "
            f"intervals (mean width {width:.1f}); p ≤ 0.05 in {called:.1%}"
        )
    return "; ".join([f"{name}: {lines[0]}", lines[1], f"doubled: {np.mean(doubled):.1%} of heads"])


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
    """14 checkpoints of two independent series, tested at 5 %: differences without memory, and autoregressive ones."""
    lines = []
    for memory, seeds in ((0.0, 1), (0.6, 1), (0.6, 3)):
        rejected = []
        for trial in range(trials):
            rng = np.random.default_rng([9, trial])
            runs = [(_walk(rng, memory), _walk(rng, memory)) for _ in range(seeds)]
            rejected.append(reward_coupling(runs, draws=199, seed=trial).after_p <= 0.05)
        lines.append(f"{np.mean(rejected):.1%} (differences' autocorrelation {memory}, seeds pooled: {seeds})")
    return f"reward coupling: false positives {', '.join(lines)}"


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


def one_in_a_layer(trials: int, controls: int = 20) -> str:
    """Heads of a model of 6 layers × 8 heads, picked without regard to their effects, among their random sets.

    An effect has a part by layer and one by importance, in standard deviations of its own part, which is normal.
    """
    lines = []
    for name, heads, by_layer, by_importance, planted in (
        ("like any others", 1, 0.0, 0.0, 0.0),
        ("two of them", 2, 0.0, 0.0, 0.0),
        ("effects grow by 0.5 sd a layer", 1, 0.5, 0.0, 0.0),
        ("and by 0.5 sd with importance, times e", 1, 0.5, 0.5, 0.0),
        ("mattering by 4 sd", 1, 0.0, 0.0, 4.0),
    ):
        p_values, p_before = [], []
        for trial in range(trials):
            rng = np.random.default_rng([11, trial])
            importance = rng.lognormal(size=(6, 8))
            effects = rng.normal(size=(6, 8)) + by_layer * np.arange(6)[:, None] + by_importance * np.log(importance)
            picked = rng.choice(48, heads, replace=False)
            chosen = HeadSet.of([divmod(int(place), 8) for place in picked])
            effects[chosen.grid(6, 8)] += planted
            sets, neighbouring = control_sets(chosen, HeadSet(()), importance, controls, trial)
            null = np.array([effects[drawn.grid(6, 8)].sum() for drawn in sets])
            observed = float(effects[chosen.grid(6, 8)].sum())
            p_values.append(permutation_p_value(observed, null))
            p_before.append(permutation_p_value(observed, null[: len(null) - neighbouring]))
        rejected, before = (np.mean(np.array(values) <= 0.05) for values in (p_values, p_before))
        lines.append(f"{rejected:.1%}, own layers alone {before:.1%} ({name}; least p {min(p_values):.3f})")
    return f"random sets: p ≤ 0.05 in {'; '.join(lines)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trials", type=int, default=400, help="of each check; of the first half as many (default: 400)"
    )
    trials = parser.parse_args(arguments).trials
    for name in POPULATIONS:
        print(emerging(name, max(1, trials // 2)))
    print(changes(trials))
    print(coupling(10 * trials))
    print(staying(trials))
    print(one_in_a_layer(trials))
    return 0


def _walk(rng: np.random.Generator, memory: float, checkpoints: int = 14) -> np.ndarray:
    """A drifting series whose differences are autoregressive."""
    steps = rng.normal(size=checkpoints + 50)
    for now in range(1, len(steps)):
        steps[now] += memory * steps[now - 1]
    return np.cumsum(0.5 + steps[50:])


def _scores(sizes: np.ndarray) -> EdgeScores:
    pair_edges = (sizes * GRAPH.real).astype(np.float32)
    mean = pair_edges.mean(axis=0)
    return EdgeScores(GRAPH, mean, mean, GRAPH.head_grid(pair_edges.sum(axis=2)), pair_edges, 0.0, 0.0)


def _heads(graph: Graph, sums: np.ndarray) -> EdgeScores:
    nothing = np.zeros(graph.real.shape, dtype=np.float32)
    heads = sums.astype(np.float32)
    return EdgeScores(graph, nothing, nothing, heads, None, 0.0, 0.0, pair_net=heads)


def _holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


if __name__ == "__main__":
    sys.exit(main())
