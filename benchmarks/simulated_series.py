"""Series over checkpoints drawn with a known truth: checks 3 and 4 of comparison_checks.py."""

import numpy as np
from control_studies import Size
from positive_controls import schedule
from simulated_samples import covers
from table import markdown_table

from headscope.comparison import persistence, reward_coupling
from headscope.results.dynamics import Dynamics

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


def coupling_in_stages(trials: int) -> str:
    """Rate of p ≤ 0.05 for the reward of C3's positive control, which rises and falls in stages, and a series that
    knows nothing of it.
    """
    rejected = 0
    for trial in range(trials):
        _, rewards = schedule(Size(seed=trial))
        unrelated = np.random.default_rng([1, trial]).random(len(rewards))
        result = reward_coupling([(np.array(rewards), unrelated)], lags=0, draws=199, seed=trial)
        rejected += float(result.p_value[0]) <= 0.05
    return f"reward coupling, reward in stages: p ≤ 0.05 in {rejected / trials:.1%} of {trials} unrelated series"


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
        covered.append(covers(persistence(run).persistence, 0.8))
    return f"persistence: coverage {np.mean(covered):.1%}"


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
