"""Depths of heads and labels of answers drawn with a known truth: checks 5 and 6 of comparison_checks.py."""

import numpy as np

from headscope.comparison.claims.lost_answers import excess_of_labels
from headscope.measures.independent_estimates import welch_difference
from headscope.results.estimate import Estimate


def covers(estimate: Estimate, truth: float) -> bool:
    """Return whether the truth lies in the interval of an estimate."""
    return estimate.low <= truth <= estimate.high


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
            held.append(covers(found, truth))
            excluded.append(not covers(found, 0.0))
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
            held.append(covers(found, lost_share - other_share))
            excluded.append(not covers(found, 0.0))
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
