"""How often 95 % intervals hold the truth, by simulation: ``benchmarks/coverage.py [--trials 2000]``.

Per-problem chances of being solved are drawn from Beta distributions (benchmarks look like U and J: many problems
always or never solved), answers from those chances; differences move the chances or flip single answers. Each trial has
a truth of its own near the one named: with one answer per problem coverage at a single truth swings with the few counts
there can be, whatever the interval (Brown, Cai and DasGupta 2001, Stat. Sci. 16). ``--spread 0`` shows that. Prints a
Markdown table.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import expit, logit

from headscope.measures.intervals import bootstrap_mean, mean_share, paired_difference
from headscope.results.estimate import Estimate

SHAPES = {
    "U (0.6, 0.9)": (0.6, 0.9),
    "J (0.1, 0.9)": (0.1, 0.9),
    "J (0.9, 0.1)": (0.9, 0.1),
    "hard (0.2, 1.8)": (0.2, 1.8),
}
SHAPES |= {"even (2, 2)": (2, 2), "easy (5, 1)": (5, 1), "nearly nothing (0.05, 0.95)": (0.05, 0.95)}
FLIPS = ((0.1, 0.1), (0.2, 0.05), (0.05, 0.02), (0.03, 0.0))


def percentile(values: np.ndarray) -> Estimate:
    """The plain percentile bootstrap, for comparison."""
    draws = np.random.default_rng(0).choice(values, (500, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), len(values), "percentile")


def covered(estimates: Iterator[Estimate], truth: np.ndarray | float, trials: int) -> str:
    """The share, in per cent."""
    pairs = zip(estimates, np.broadcast_to(truth, trials), strict=True)
    return f"{100 * np.mean([each.low - 1e-12 <= true <= each.high + 1e-12 for each, true in pairs]):.1f}"


def near(chance: float, spread: float, trials: int, rng: np.random.Generator) -> np.ndarray:
    """Chances around ``chance``, up to ``spread`` away in log odds."""
    return expit(logit(chance) + rng.uniform(-spread, spread, trials))


def accuracies(n: int, trials: int, spread: float, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    """mean_share beside the percentile bootstrap."""
    for name, (alpha, beta) in SHAPES.items():
        for samples in (1, 4, 16):
            truth = near(alpha / (alpha + beta), spread, trials, rng)
            mean, weight = truth[:, None], alpha + beta
            values = rng.binomial(samples, rng.beta(mean * weight, (1 - mean) * weight, (trials, n))) / samples
            ours, theirs = (covered(map(interval, values), truth, trials) for interval in (mean_share, percentile))
            yield "accuracy", f"{n} × {samples}, {name}", ours, theirs


def differences(n: int, trials: int, spread: float, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    """paired_difference beside the percentile bootstrap."""
    for gain, loss in FLIPS:
        draws, gains, losses = rng.random((trials, n)), *(near(each, spread, trials, rng) for each in (gain, loss))
        pair = (draws < gains[:, None]) * 1.0, (draws > 1 - losses[:, None]) * 1.0
        yield _difference(f"{n} × 1, {gain:.0%} gained, {loss:.0%} lost", *pair, gains - losses)
    for samples, shift in ((4, 0.1), (16, 0.1), (16, 0.02)):

        def drawn(count: int, samples: int = samples, shift: float = shift) -> tuple[np.ndarray, np.ndarray]:
            chance = rng.beta(0.6, 0.9, (count, n))
            moved = np.clip(chance + shift * rng.normal(1, 1, chance.shape), 0, 1)
            return rng.binomial(samples, moved) / samples, rng.binomial(samples, chance) / samples

        truth = float(np.subtract(*drawn(40_000)).mean())
        yield _difference(f"{n} × {samples}, chances moved by {shift}", *drawn(trials), truth)


def lengths(n: int, trials: int, _spread: float, rng: np.random.Generator) -> Iterator[tuple[str, ...]]:
    """bootstrap_mean beside the percentile bootstrap."""
    for width, most in ((0.5, np.inf), (1.0, np.inf), (1.0, 500)):
        values = np.minimum(rng.lognormal(5, width, (trials, n)), most)
        truth = float(np.minimum(rng.lognormal(5, width, 4_000_000), most).mean())
        name = f"{n}, log-normal {width}" + (f", at most {most}" if most < np.inf else "")
        ours, theirs = (covered(map(interval, values), truth, trials) for interval in (bootstrap_mean, percentile))
        yield "length", name, ours, theirs


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--problems", type=int, nargs="*", default=[30, 100])
    parser.add_argument("--spread", type=float, default=0.5, help="of the truths, in log odds")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    print("| interval of | problems × samples | covers % | percentile bootstrap % |\n| --- | --- | --- | --- |")
    for n in options.problems:
        for kind in (accuracies, differences, lengths):
            for row in kind(n, options.trials, options.spread, rng):
                print(f"| {' | '.join(row)} |", flush=True)
    return 0


def _difference(name: str, after: np.ndarray, before: np.ndarray, truth: np.ndarray | float) -> tuple[str, ...]:
    ours = (paired_difference(one, other) for one, other in zip(after, before, strict=True))
    theirs = map(percentile, after - before)
    return "difference", name, covered(ours, truth, len(after)), covered(theirs, truth, len(after))


if __name__ == "__main__":
    sys.exit(main())
