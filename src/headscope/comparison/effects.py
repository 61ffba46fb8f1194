"""How much of a circuit runs through each head, and how training changed it: no threshold needed.

Importance I(l, h) = Σ over pairs and outgoing edges of |score|, normalised to sum 1 over heads (the paper,
A.6). The paper sums over the circuit's edges; summed over all edges it depends on no circuit size, which is
the default here.

Intervals and p-values are those of Student's t on each pair's influence on the importance (the delta method): the
tests over heads × checkpoints ask for p-values far smaller than one over the number of bootstrap resamples.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit
from scipy.stats import t

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.intervals import LEVEL
from headscope.measures.multiplicity import q_values
from headscope.results.circuit import Circuit
from headscope.results.counts import HeadEstimates
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence

EPSILON = 1e-6
"""The paper's guard against dividing by 0 in the effect (A.6)."""

RESOLUTION = float(np.finfo(np.float32).eps)
"""Of a score, relative to its size."""

GROWTH = 2.0
"""A head whose importance grew by more is *doubled*. Where a few heads are known to have changed, shares of the others
move by up to a half (``benchmarks/planted.py``).
"""


def head_importance(scores: EdgeScores, circuit: Circuit | None = None, *, level: float = LEVEL) -> HeadEstimates:
    """Importance of every head, summing to 1, with intervals over pairs.

    ``circuit``: sum over its edges only, as the paper does; needs scores with per-pair edges (InputError
    otherwise).
    """
    sums = pair_sums(scores, circuit)
    found = _estimates(shares(sums.mean(axis=0)), (influence(sums),), level)
    # On the scale of log-odds, where shares are less skewed and stay between 0 and 1.
    spread = found.value * (1 - found.value)
    half = np.divide(found.high - found.value, spread, out=np.zeros_like(spread), where=spread > 0)
    odds = logit(found.value)
    return HeadEstimates(found.value, np.asarray(expit(odds - half)), np.asarray(expit(odds + half)))


def importance_change(
    base: EdgeScores, post: EdgeScores, *, level: float = LEVEL, paired: bool = True
) -> HeadEstimates:
    """Importance in post − in base, with interval and p-value; positive where it grew. paired: see ``contrast``."""
    return contrast((base, post), (-1.0, 1.0), level=level, paired=paired)


def doubled(base: EdgeScores, post: EdgeScores, *, factor: float = GROWTH, paired: bool = True) -> HeadSet:
    """Heads whose importance grew by more than ``factor``: emergence without a circuit or its size.

    Of the heads named, at most 5 % false ones are expected (Benjamini and Hochberg over heads). ``factor`` 1 would name
    every head whose share moved, as those of unchanged heads do when others change.
    """
    found = contrast((base, post), (-factor, 1.0), paired=paired)
    if found.p_value is None or np.isnan(found.p_value).all():
        return HeadSet(())
    return HeadSet.from_grid((q_values(found.p_value) <= 1 - LEVEL) & (found.value > 0))


def contrast(
    cells: Sequence[EdgeScores], weights: Sequence[float], *, level: float = LEVEL, paired: bool = True
) -> HeadEstimates:
    """Σ weight · importance over several results, with interval and p-value of its being 0.

    paired: all were scored on the same pairs, whose noise they share; otherwise by Welch's t.
    Sums that float32 scores cannot tell from 0 are 0: equal cells leave rounding, alike in every pair, which a test
    would take for a change.
    """
    sums = [pair_sums(cell) for cell in cells]
    terms = [weight * shares(each.mean(axis=0)) for weight, each in zip(weights, sums, strict=True)]
    moves = [weight * influence(each) for weight, each in zip(weights, sums, strict=True)]
    return _estimates(_summed(terms), [_summed(moves)] if paired else moves, level)


def _summed(terms: "Sequence[Float[np.ndarray, '*grid']]") -> "Float[np.ndarray, '*grid']":
    total, size = np.asarray(sum(terms)), np.asarray(sum(np.abs(term) for term in terms))
    return np.where(np.abs(total) <= RESOLUTION * size, 0.0, total)


def effect(
    base: "Float[np.ndarray, 'layer head']", post: "Float[np.ndarray, 'layer head']"
) -> "Float[np.ndarray, 'layer head']":
    """E = (I_post − I_base) / (I_post + I_base + 1e-6), in [−1, 1] (the paper, A.6); its sign as above."""
    effects: np.ndarray = (post - base) / (post + base + EPSILON)
    return effects


def effects(series: Sequence[Emergence]) -> "Float[np.ndarray, 'checkpoint layer head']":
    """E at every checkpoint, from importances over all edges; their mean over the first axis is the paper's map.

    Raises InputError for a result that holds no importances (made by an earlier headscope).
    """
    if any(result.base_importance is None for result in series):
        raise InputError("a comparison holds no importances of the base; compare again with this headscope")
    befores = [result.base_importance for result in series if result.base_importance is not None]
    pairs = zip(befores, series, strict=True)
    return np.stack([effect(before, before + result.importance_change.value) for before, result in pairs])


def change_q_values(series: Sequence[Emergence]) -> "Float[np.ndarray, 'checkpoint layer head']":
    """Benjamini and Hochberg's q of each head's change of importance, over heads × checkpoints.

    Heads with q ≤ 0.05 are changed, with at most 5 % false ones expected among them; NaN where nothing was tested.
    """
    tests = [result.importance_change for result in series]
    return q_values(
        np.stack([np.full_like(test.value, np.nan) if test.p_value is None else test.p_value for test in tests])
    )


def pair_sums(scores: EdgeScores, circuit: Circuit | None = None) -> "Float[np.ndarray, 'pair layer head']":
    """Per pair the sum of |score| over each head's outgoing edges (those of ``circuit``)."""
    if circuit is None:
        return scores.pair_heads.astype(np.float64)
    if scores.pair_edges is None:
        raise InputError(
            "the scores keep no per-pair edges, which importance within a circuit sums; attribute with keep_pairs=True"
        )
    inside = np.abs(scores.pair_edges) * circuit.edges
    sums: np.ndarray = scores.graph.head_grid(inside.sum(axis=2, dtype=np.float64))
    return sums


def shares(sums: "Float[np.ndarray, '*rows layer head']") -> "Float[np.ndarray, '*rows layer head']":
    """Normalised to sum 1 over heads; all 0 where nothing runs through any head."""
    total = sums.sum(axis=(-2, -1), keepdims=True)
    normalised: np.ndarray = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
    return normalised


def influence(sums: "Float[np.ndarray, 'pair layer head']") -> "Float[np.ndarray, 'pair layer head']":
    """How far each pair moves the shares of the mean, to first order; mean 0 over pairs."""
    mean = sums.mean(axis=0)
    total = float(mean.sum())
    if total <= 0:
        return np.zeros_like(sums)
    moves: np.ndarray = (sums - shares(mean) * sums.sum(axis=(1, 2), keepdims=True)) / total
    return moves


def _estimates(
    value: "Float[np.ndarray, 'layer head']",
    samples: "Sequence[Float[np.ndarray, '_ layer head']]",
    level: float,
) -> HeadEstimates:
    """Student's t interval and p-value of ``value``, on which the pairs have these influences; of samples of pairs that
    were drawn apart Welch's.
    """
    if min(len(moves) for moves in samples) < 2:
        unknown = np.full_like(value, np.nan)
        return HeadEstimates(value, unknown, unknown, unknown)
    parts = np.stack([moves.var(axis=0, ddof=1) / len(moves) for moves in samples])
    variance = parts.sum(axis=0)
    spread = np.stack([part**2 / (len(moves) - 1) for part, moves in zip(parts, samples, strict=True)]).sum(axis=0)
    # Without any variance the freedom does not matter: that of the smallest sample stands in.
    least = float(min(len(moves) for moves in samples) - 1)
    freedom = np.divide(variance**2, spread, out=np.full_like(spread, least), where=spread > 0)
    error = np.sqrt(variance)
    half = t.ppf(0.5 + level / 2, freedom) * error
    statistic = np.divide(np.abs(value), error, out=np.where(value == 0, 0.0, np.inf), where=error > 0)
    return HeadEstimates(value, value - half, value + half, np.asarray(2 * t.sf(statistic, freedom)))
