"""Intervals and tests of the comparison checked by simulation, where the truth is known.

    .venv/bin/python benchmarks/comparison_checks.py [--trials N]

1. emergence: a model scored on fresh pairs, taken for a post-trained one, and one with changed heads: false emergence,
   coverage of the excess, how often its test says p ≤ 0.05; the paper's method beside ours;
2. changes of importance: coverage, false positives, and false discoveries after Benjamini and Hochberg;
3. reward coupling at lag 0, of independent random walks, ten times as many, and of such whose differences correlate by
   a known amount: how often p ≤ 0.05, by checkpoints and seeds;
4. persistence of heads that stay with a known chance: coverage;
5. depth of new heads less that of the base's: coverage, and how often 0 is excluded where both are drawn alike;
6. labelled share of lost answers less that of others, several answers to each problem: the same.
7. training effects: false positives, coverage and false discoveries; and of the mean over heads that were chosen for
   their change, on the same and on other pairs.
8. random sets next to one and to two heads of eight per layer: how often p ≤ 0.05 if the heads are like any others, if
   effects grow with the layer and with importance, and if the heads matter.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from table import markdown_table

from headscope.comparison import (
    Resampling,
    effect_contrast,
    emergence_by_method,
    importance_change,
    persistence,
    reward_coupling,
)
from headscope.comparison.claims.lost_answers import excess_of_labels
from headscope.comparison.control_sets import control_sets
from headscope.comparison.training_effects import pool_contrasts
from headscope.heads import HeadId, HeadSet
from headscope.measures.independent_estimates import welch_difference
from headscope.measures.multiplicity import q_values
from headscope.measures.permutation import permutation_p_value
from headscope.results.dynamics import Dynamics
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.graph import Graph
from headscope.results.head_scores import HeadScores

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


POINTS = ((1, 14), (1, 21), (1, 31), (1, 41), (3, 8), (3, 11), (3, 16), (3, 21), (8, 6), (8, 8))
"""Seeds, and checkpoints of each."""


def coupling(trials: int) -> str:
    """Rates of p ≤ 0.05 at lag 0: of independent series, and of differences that correlate at 0.3 and 0.5.

    memory: autocorrelation of the differences of both series.
    """
    rows = []
    for seeds, checkpoints in POINTS:
        cells = [f"{seeds} × {checkpoints}", str(seeds * (checkpoints - 1))]
        for memory in (0.0, 0.6):
            for correlation, count in ((0.0, trials), (0.3, trials // 4), (0.5, trials // 4)):
                rate = _rejection_rate(seeds, checkpoints, memory, correlation, max(1, count))
                cells.append(f"{rate:.1%}" if correlation == 0 else f"{rate:.2f}")
        rows.append(tuple(cells))
    no_memory, memory = "differences without memory", "autocorrelation 0.6"
    header = ["seeds × checkpoints", "points"]
    header += [f"{series}: {what}" for series in (no_memory, memory) for what in ("ρ = 0", "ρ = 0.3", "ρ = 0.5")]
    return f"reward coupling, rate of p ≤ 0.05\n{markdown_table(tuple(header), rows)}"


def _rejection_rate(seeds: int, checkpoints: int, memory: float, correlation: float, trials: int) -> float:
    rejected = 0
    for trial in range(trials):
        rng = np.random.default_rng([9, trial])
        runs = [_walks(rng, memory, correlation, checkpoints) for _ in range(seeds)]
        result = reward_coupling(runs, lags=0, draws=199, seed=trial)
        rejected += float(result.p_value[0]) <= 0.05
    return rejected / trials


def depths(trials: int) -> str:
    """12 layers; the base has 30 core heads, of early layers more often than of late ones.

    ``nothing``: 8 new heads drawn from the same layers; ``deeper``: drawn alike from all layers.
    """
    lines = []
    early = np.linspace(2, 1, 12) / np.linspace(2, 1, 12).sum()
    for name, shares in (("nothing", early), ("deeper", np.full(12, 1 / 12))):
        truth = float(np.arange(12) @ (shares - early)) / 11
        held, excluded = [], []
        for trial in range(trials):
            rng = np.random.default_rng([11, trial])
            new, base = rng.choice(12, 8, p=shares) / 11, rng.choice(12, 30, p=early) / 11
            found = welch_difference(new, base)
            held.append(_holds(found, truth))
            excluded.append(not _holds(found, 0.0))
        lines.append(f"{name}: coverage {np.mean(held):.1%}, 0 excluded in {np.mean(excluded):.1%}")
    return f"depth of new heads: {'; '.join(lines)}"


def labels(trials: int) -> str:
    """Shares of labelled answers: 15 problems with 1 to 4 lost answers, 30 with 4 that are never right.

    A problem's answers go wrong alike: its own chance of a label is drawn from a Beta distribution.
    """
    lines = []
    for lost_share, other_share in ((0.5, 0.5), (0.8, 0.5), (0.95, 0.6), (0.2, 0.2)):
        held, excluded = [], []
        for trial in range(trials):
            rng = np.random.default_rng([13, trial])
            found = excess_of_labels(_failures(rng, lost_share, 15, 1), _failures(rng, other_share, 30, 4))
            held.append(_holds(found, lost_share - other_share))
            excluded.append(not _holds(found, 0.0))
        lines.append(
            f"{lost_share} against {other_share}: coverage {np.mean(held):.1%}, 0 excluded in {np.mean(excluded):.1%}"
        )
    return f"labels of lost answers: {'; '.join(lines)}"


def _failures(rng: np.random.Generator, share: float, problems: int, least: int) -> list[list[str]]:
    """Kinds of failure of 4 answers per problem, of which ``least`` or more are wrong."""
    rows = []
    for chance in rng.beta(2 * share, 2 * (1 - share), problems):
        wrong = rng.integers(least, 5)
        rows.append(["loop" if rng.random() < chance else "plan" for _ in range(wrong)] + [""] * (4 - wrong))
    return rows


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


@dataclass(frozen=True)
class Effects:
    """Exact effects of 48 heads: log-normal sizes between heads and, with σ ``noise``, between pairs.

    problems, pairs_each: of the sample; half of the log's variance is the problem's if there are several pairs each.
    changed: heads three times as large in post. drift: relative change of every head from seed to seed, mean 0.
    seeds: pooled. Base and post share half of the variance of a pair's log.
    """

    problems: int = 40
    pairs_each: int = 1
    noise: float = 0.8
    changed: int = 0
    drift: float = 0.0
    seeds: int = 1

    def sizes(self, post: bool) -> np.ndarray:
        """Median effect of every head; those that change are the first."""
        sizes = np.random.default_rng(7).lognormal(size=48)
        sizes[: self.changed if post else 0] *= 3
        return sizes

    def truth(self) -> np.ndarray:
        """Mean training effect of every head."""
        return (self.sizes(True) - self.sizes(False)) * np.exp(self.noise**2 / 2)

    def draw(self, rng: np.random.Generator) -> list[HeadScores]:
        """Base, and post of every seed, on the same pairs."""
        problems = tuple(str(number) for number in range(self.problems) for _ in range(self.pairs_each))
        pair = self._noise(rng)
        models = []
        for model in range(1 + self.seeds):
            log = self.noise * (pair + self._noise(rng)) / np.sqrt(2)
            moved = 1 + self.drift * rng.normal(size=48) * (model > 0)
            values = self.sizes(model > 0) * moved * np.exp(log)
            models.append(HeadScores(values.astype(np.float32).reshape(-1, 6, 8), 0.0, SAME_PAIRS, problems))
        return models

    def _noise(self, rng: np.random.Generator) -> np.ndarray:
        own = rng.normal(size=(self.problems * self.pairs_each, 48))
        if self.pairs_each == 1:
            return own
        of_problem = np.repeat(rng.normal(size=(self.problems, 48)), self.pairs_each, axis=0)
        return (own + of_problem) / np.sqrt(2)


SAME_PAIRS = {"metric": "kl", "pairs": "same"}
EFFECTS = {
    "nothing changed": Effects(),
    "nothing changed, noisy pairs": Effects(noise=2.0),
    "nothing changed, 15 problems x 4": Effects(15, 4),
    "8 heads x 3": Effects(changed=8),
    "8 heads x 3, noisy pairs": Effects(changed=8, noise=2.0),
    "3 seeds that drift by 30 %": Effects(drift=0.3, seeds=3),
    "8 seeds that drift by 30 %": Effects(drift=0.3, seeds=8),
}


def training(name: str, trials: int) -> str:
    """Training effects of 48 heads: false positives of heads and trials, coverage, false discoveries and recall."""
    population = EFFECTS[name]
    truth = population.truth().reshape(6, 8)
    still = truth == 0
    rows = []
    for trial in range(trials):
        base, *posts = population.draw(np.random.default_rng([11, trial]))
        found = pool_contrasts([effect_contrast([base, post], (-1.0, 1.0)) for post in posts])
        assert found.heads.p_value is not None
        chosen = found.q_value <= 0.05
        covered = ((found.heads.low <= truth) & (truth <= found.heads.high)).mean()
        false = (found.heads.p_value[still] <= 0.05).mean()
        discovered = (chosen & still).sum() / max(1, chosen.sum())
        recall = chosen[~still].mean() if population.changed else np.nan
        rows.append([false, covered, discovered, recall])
    false, covered, discovered, recall = np.mean(rows, axis=0)
    found_again = f", recall {recall:.1%}" if population.changed else ""
    return (
        f"training effects, {name}: p ≤ 0.05 in {false:.1%} of unchanged heads, coverage {covered:.1%}, "
        f"FDR {discovered:.1%}{found_again}"
    )


def chosen_heads(trials: int) -> str:
    """The mean training effect of the three heads that rose most on one sample, where nothing changed."""
    said = {"the same": 0, "other": 0}
    for trial in range(trials):
        rng = np.random.default_rng([12, trial])
        first, second = EFFECTS["nothing changed"].draw(rng), EFFECTS["nothing changed"].draw(rng)
        change = effect_contrast(first, (-1.0, 1.0)).heads
        order = np.argsort(-change.value / (change.high - change.value), axis=None)[:3]
        heads = HeadSet.of([HeadId(*divmod(int(place), 8)) for place in order])
        for pairs, models in (("the same", first), ("other", second)):
            said[pairs] += effect_contrast(models, (-1.0, 1.0), {"new": heads}).sets["new"].low > 0
    shares = ", ".join(f"{count / trials:.1%} on {pairs} pairs" for pairs, count in said.items())
    return f"three heads chosen for their rise where nothing changed: interval above 0 in {shares}"


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
    print(coupling(10 * trials), end="")
    print(staying(trials))
    print(depths(10 * trials))
    print(labels(10 * trials))
    for name in EFFECTS:
        print(training(name, trials))
    print(chosen_heads(trials))
    print(one_in_a_layer(trials))
    return 0


def _walks(
    rng: np.random.Generator, memory: float, correlation: float, checkpoints: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two drifting series whose differences are autoregressive and correlate so much."""
    first, own = rng.normal(size=(2, checkpoints + 50))
    second = correlation * first + np.sqrt(1 - correlation**2) * own
    walks = []
    for steps in (first, second):
        for now in range(1, len(steps)):
            steps[now] += memory * steps[now - 1]
        walks.append(np.cumsum(0.5 + steps[50:]))
    return walks[0], walks[1]


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
