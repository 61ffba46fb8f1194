"""Confidence intervals of means and other statistics over independent units (problems, pairs).

The method for each kind of statistic was chosen by its coverage at 95 % in simulations (``benchmarks/coverage.py``):

- one proportion: Wilson's score interval;
- a mean of per-problem shares in [0, 1] (pass@1 of several samples, pass@k): Wilson's interval at the effective number
  of problems. On 30 problems with means of 5-90 % it covers 94-98 %, the percentile bootstrap 77-94 %;
- a paired difference of such shares: a t interval after Agresti and Min's adjustment. If few problems change, a
  bootstrap or plain t interval shrinks to nothing and covers as little as 60 %; this one then covers more than it says,
  as any interval must that agrees with the exact test (Tango's score interval does too, and is wider);
- any other mean (lengths): the studentised bootstrap, because lengths are skewed;
- any other statistic: the expanded percentile bootstrap.

Pairs of one problem are not independent (``ProblemGroups``): problems are resampled, and n is their number.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from headscope.pairs import ProblemGroups
from headscope.results.estimate import Estimate

RESAMPLES = 2000
LEVEL = 0.95
_ROUNDING = 1e-9
"""Shares that differ by less are equal: they are means over few samples."""
PROBLEM_T = f"problem t {LEVEL:.0%}"
"""The method of Student's t over problems, as results name it."""


def without_interval(n: int, method: str, *, value: float = math.nan, seed: int | None = None) -> Estimate:
    """Return an estimate with an unknown interval (NaN), and an unknown value unless one is passed."""
    return Estimate(value, math.nan, math.nan, n, method, seed)


def wilson(successes: int, n: int) -> Estimate:
    """Return Wilson's score interval of a proportion (E. B. Wilson, 1927); NaN with the interval [0, 1] for n = 0."""
    method = f"Wilson {LEVEL:.0%}"
    if n == 0:
        return Estimate(math.nan, 0.0, 1.0, 0, method)
    p = successes / n
    low, high = _score_interval(p, n, float(ndtri(0.5 + LEVEL / 2)))
    return Estimate(p, low, high, n, method)


def mean_share(values: "Float[np.ndarray, 'problem']") -> Estimate:
    """Return the mean of per-problem shares in [0, 1], with Wilson's interval at the effective number of problems.

    The variance between problems over p (1 − p) gives the number of yes-or-no problems that the shares are worth
    (Kish's design effect; the interval is that of Franco, Little, Louis and Slud, J. Surv. Stat. Methodol. 2019, with
    the t quantile). Shares that are all 0 or 1 are one proportion with Wilson's interval.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if np.isin(values, (0, 1)).all():
        return wilson(int(values.sum()), n)
    p = float(values.mean())
    if n < 2:  # one problem's share says nothing of other problems
        return Estimate(p, 0.0, 1.0, n, "one problem")
    # The design effect is known from the problems that are ever solved, or ever not, whichever are fewer. It is drawn
    # towards 1 with the weight of one of them, so that a handful that happen to agree do not promise too much.
    informative = min(int((values > 0).sum()), int((values < 1).sum()))
    design = (float(values.var()) / (p * (1 - p)) * informative + 1) / (informative + 1)
    low, high = _score_interval(p, n / design, float(stdtrit(n - 1, 0.5 + LEVEL / 2)))
    return Estimate(p, low, high, n, f"Wilson over problems {LEVEL:.0%}")


def paired_difference(
    after: "Float[np.ndarray, 'unit']", before: "Float[np.ndarray, 'unit']", *, bound: float = 1.0
) -> Estimate:
    """Return the mean of ``after − before`` over the same units, shares in [0, 1] on both sides.

    The interval is a t interval over the differences and two more units, the adjustment of Agresti and Min (2005, Stat.
    Med. 24): half a unit that gained, half one that lost, one that did not change. Gain and loss are the root mean
    square of the changes in the data, so with single samples it is exactly their interval.

    ``bound`` is the largest possible change, which replaces the root mean square if nothing changed.
    """
    method = f"paired problem t, Agresti-Min {LEVEL:.0%}"
    change = _changes(after, before)
    n = len(change)
    if n == 0:
        return without_interval(0, method)
    centre, spread = _adjusted_moments(change, bound)
    half_width = float(stdtrit(max(1, n - 1), 0.5 + LEVEL / 2)) * spread / np.sqrt(n + 1)
    value = float(change.mean())
    low = max(-bound, centre - half_width)
    high = min(bound, centre + half_width)
    # The centre is drawn towards 0 and the ends are cut at the bound: either could leave the value outside.
    return Estimate(value, float(min(low, value)), float(max(high, value)), n, method)


def paired_p_value(after: "Float[np.ndarray, 'unit']", before: "Float[np.ndarray, 'unit']") -> float:
    """Return the two-sided p-value of no mean difference; < 0.05 if ``paired_difference``'s interval excludes 0."""
    change = _changes(after, before)
    if len(change) == 0:
        return math.nan
    centre, spread = _adjusted_moments(change, bound=1.0)
    return float(2 * stdtr(max(1, len(change) - 1), -abs(centre) / spread * np.sqrt(len(change) + 1)))


def _changes(after: "Float[np.ndarray, 'unit']", before: "Float[np.ndarray, 'unit']") -> "Float[np.ndarray, 'unit']":
    """Return ``after − before``, exactly 0 if nothing changed.

    Means over 3 or 20 samples differ in their last bits, and a unit that did not change would count as one that did.
    """
    change = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    return np.asarray(np.where(np.abs(change) < _ROUNDING, 0.0, change))


def _adjusted_moments(change: "Float[np.ndarray, 'unit']", bound: float) -> tuple[float, float]:
    """Return mean and standard deviation of the differences with Agresti and Min's two additional units."""
    n = len(change)
    changed = change[change != 0]
    mean_square = float((changed**2).mean()) if len(changed) else bound**2
    centre = float(change.sum()) / (n + 2)
    spread = float(np.sqrt(((change**2).sum() + mean_square) / (n + 2) - centre**2))
    return centre, spread


def resamples(n: int | ProblemGroups, *, count: int = RESAMPLES, seed: int = 0) -> "Float[np.ndarray, 'resample unit']":
    """Return bootstrap weights: row r holds how often each of ``n`` units was drawn, over n, so ``weights @ x`` are
    means.

    With ``ProblemGroups`` the units are problems, and x are means over their pairs. Problems are weighted by their
    number of pairs, so that each row estimates the mean over all pairs: the sum over the drawn pairs divided by their
    number (the cluster bootstrap). With equally many pairs per problem it is the plain bootstrap of problem means.
    """
    sizes = np.ones(n, dtype=np.int64) if isinstance(n, int) else n.sizes
    units = len(sizes)
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=count) * sizes
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def bootstrap_mean(
    values: "Float[np.ndarray, 'unit']", *, unit: str = "problem", seed: int = 0, count: int = RESAMPLES
) -> Estimate:
    """Return the mean of ``values`` (one per independent unit) with a studentised bootstrap interval.

    The interval (Efron and Tibshirani 1993, chapter 12) uses the tail probabilities of t with ``n − 1`` degrees of
    freedom instead of 2.5 %, and is clipped to the values' range. A single value has no interval.
    """
    method = f"{unit} bootstrap-t {LEVEL:.0%}"
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n == 0:
        return without_interval(0, method, seed=seed)
    mean = float(values.mean())
    if n == 1:
        return without_interval(1, f"one {unit}", value=mean, seed=seed)
    error = float(values.std() / np.sqrt(n))
    weights = resamples(n, count=count, seed=seed)
    shifts = weights @ (values - mean)
    # A variance as a difference of squares may come out a rounding below 0.
    errors = np.sqrt(np.clip(weights @ (values - mean) ** 2 - shifts**2, 0, None) / n)
    # A resample of one value repeated has no error to divide by: its statistic is beyond every quantile.
    students = np.divide(shifts, errors, out=np.sign(shifts) * 1e300, where=errors > 1e-9 * max(error, 1e-300))
    lower, upper = np.quantile(students, _tails(n))
    low = max(mean - upper * error, float(values.min()))
    high = min(mean - lower * error, float(values.max()))
    return Estimate(mean, float(low), float(high), n, method, seed)


def bootstrap(
    statistic: Callable[["Float[np.ndarray, 'unit']"], float],
    n: int | ProblemGroups,
    *,
    unit: str = "problem",
    seed: int = 0,
    count: int = 200,
) -> Estimate:
    """Return the expanded percentile bootstrap of any ``statistic`` of the weights of ``n`` units.

    Weights add up to 1; equal ones give the point estimate. With ``ProblemGroups`` problems are resampled, and the
    statistic gets the weights of their pairs. A single unit has no interval.
    """
    (estimate,) = bootstraps(lambda weights: np.array([statistic(weights)]), n, unit=unit, seed=seed, count=count)
    return estimate


def bootstraps(
    statistics: Callable[["Float[np.ndarray, 'unit']"], "Float[np.ndarray, 'statistic']"],
    n: int | ProblemGroups,
    *,
    unit: str = "problem",
    seed: int = 0,
    count: int = 200,
) -> list[Estimate]:
    """Return the ``bootstrap`` of each of several statistics that are computed together, over the same resamples.

    A statistic may be NaN in some resamples, which are left out for it.
    """
    rows = resamples(n, count=count, seed=seed)
    if not isinstance(n, int):
        size = n.size
        rows, units, unit = n.pair_weights(rows), size.pairs, size.unit
        n = size.problems
    else:
        units = n
    points = statistics(np.full(units, 1 / units))
    if n < 2:
        return [without_interval(n, f"one {unit}", value=float(point), seed=seed) for point in points]
    draws = np.array([statistics(weights) for weights in rows])
    lows, highs = _quantiles(draws, expanded_tails(n))
    method = f"{unit} bootstrap {LEVEL:.0%}"
    ends = zip(points, lows, highs, strict=True)
    return [Estimate(float(point), float(low), float(high), n, method, seed) for point, low, high in ends]


def _quantiles(
    draws: "Float[np.ndarray, 'resample statistic']", ends: Sequence[float]
) -> tuple["Float[np.ndarray, 'statistic']", "Float[np.ndarray, 'statistic']"]:
    """Return two quantiles of each statistic over the resamples in which it is defined; NaN if it is in none."""
    if not np.isnan(draws).any():
        low, high = np.quantile(draws, ends, axis=0)
        return np.asarray(low), np.asarray(high)
    quantiles = np.full((2, draws.shape[1]), np.nan)
    for place, column in enumerate(draws.T):
        defined = column[~np.isnan(column)]
        if len(defined):
            quantiles[:, place] = np.quantile(defined, ends)
    return quantiles[0], quantiles[1]


def rank_correlation_interval(
    correlation: "Float[np.ndarray, '*values']", points: "Int[np.ndarray, '*values']"
) -> tuple["Float[np.ndarray, '*values']", "Float[np.ndarray, '*values']"]:
    """Return both ends of the interval of rank correlations (Bonett and Wright 2000, Psychometrika 65).

    NaN below 4 points.
    """
    # The 1e-9 only keeps the division defined; below 4 points its result is not used.
    error = np.sqrt((1 + correlation**2 / 2) / np.maximum(points - 3, 1e-9))
    half_width = np.where(points > 3, float(ndtri(0.5 + LEVEL / 2)) * error, np.nan)
    z = np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12))  # Fisher's z of a perfect correlation is infinite
    # The clipped z could leave a perfect correlation outside its own interval.
    low = np.minimum(correlation, np.tanh(z - half_width))
    high = np.maximum(correlation, np.tanh(z + half_width))
    return np.asarray(low), np.asarray(high)


def _score_interval(p: float, n: float | int, z: float) -> tuple[float, float]:
    """Return Wilson's interval of the proportion ``p`` of ``n`` trials, not always a whole number."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half_width = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return max(0.0, centre - half_width), min(1.0, centre + half_width)


def expanded_tails(n: int) -> list[float]:
    """Return the quantiles of the expanded percentile interval (Hesterberg 2015, arXiv 1411.5279, section 5.3).

    The plain percentile interval is too narrow by t/z and √(n / (n − 1)): on 30 problems it covers 91-94 %, not 95 %.
    """
    return _tails(n, float(np.sqrt(n / max(1, n - 1))))


def _tails(n: int, factor: float = 1.0) -> list[float]:
    """Return the normal probabilities of ``factor`` times t's quantiles of ``n − 1``; plain tails below two units."""
    tail = 0.5 - LEVEL / 2 if n < 2 else float(ndtr(factor * stdtrit(n - 1, 0.5 - LEVEL / 2)))
    return [tail, 1 - tail]
