"""Edge scores of base and post-trained models drawn with a known truth: checks 1 and 2 of comparison_checks.py."""

from dataclasses import dataclass

import numpy as np
from simulated_samples import covers

from headscope.comparison import Resampling, emergence_by_method, importance_change
from headscope.measures.multiplicity import q_values
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence
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
        covered = np.mean([covers(each.excess.new, truth) for each in results])
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


def _scores(sizes: np.ndarray) -> EdgeScores:
    pair_edges = (sizes * GRAPH.real).astype(np.float32)
    mean = pair_edges.mean(axis=0)
    return EdgeScores(GRAPH, mean, mean, GRAPH.head_grid(pair_edges.sum(axis=2)), pair_edges, 0.0, 0.0)


def _heads(graph: Graph, sums: np.ndarray) -> EdgeScores:
    nothing = np.zeros(graph.real.shape, dtype=np.float32)
    heads = sums.astype(np.float32)
    return EdgeScores(graph, nothing, nothing, heads, None, 0.0, 0.0, pair_net=heads)
