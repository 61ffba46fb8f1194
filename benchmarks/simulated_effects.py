"""Training effects and control sets drawn with a known truth: checks 7 and 8 of comparison_checks.py."""

from dataclasses import dataclass

import numpy as np

from headscope.comparison import effect_contrast
from headscope.comparison.control_sets import control_sets
from headscope.comparison.training_effects import pool_contrasts
from headscope.heads import HeadId, HeadSet
from headscope.measures.permutation import permutation_p_value
from headscope.results.head_scores import HeadScores


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
