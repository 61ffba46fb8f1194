"""Importance of heads, the share of all score that runs through each, and its change by training.

Importance I(l, h) is the mean over pairs of a head's score, normalised to sum 1 over heads. A pair's score is the size
of the sum of the head's outgoing edges (``net``) or, as in the paper (A.6), the sum of their sizes (``flow``): see
``results.edges.HeadScore``. The paper sums over the circuit's edges; the default here is the sum over
all edges, which does not depend on a circuit size.

Intervals and p-values are those of Student's t on the influence of each problem's pairs on the importance (the delta
method; ``comparison.head_contrasts``).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit

from headscope.comparison.head_contrasts import head_estimates, sum_or_zero
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.intervals import LEVEL
from headscope.measures.multiplicity import q_values
from headscope.pairs import ProblemGroups
from headscope.results.circuit import Circuit
from headscope.results.counts import HeadEstimates
from headscope.results.edges import EdgeScores, HeadScore
from headscope.results.emergence import Emergence

EPSILON = 1e-6
"""The paper's guard against dividing by 0 in the relative change, which it calls effect (A.6)."""

GROWTH = 2.0
"""A head whose importance grew by more than this factor is *doubled*.

If a few heads are known to have changed, shares of the others move by up to a half (``benchmarks/planted.py``).
"""


def head_importance(scores: EdgeScores, circuit: Circuit | None = None) -> HeadEstimates:
    """Return the importance of every head, summing to 1, with intervals over problems.

    With ``circuit`` only its edges are summed, as in the paper.

    Raises InputError for a circuit if the scores have no per-pair edges.
    """
    sums = pair_sums(scores, circuit)
    estimates = head_estimates(shares(sums.mean(axis=0)), (influence(sums, scores.problem_groups),))
    share = estimates.value
    # On the scale of log-odds shares are less skewed and stay between 0 and 1; d logit(p) / dp = 1 / (p (1 − p)).
    slope = share * (1 - share)
    half_width = np.divide(estimates.high - share, slope, out=np.zeros_like(slope), where=slope > 0)
    log_odds = logit(share)
    return HeadEstimates(share, np.asarray(expit(log_odds - half_width)), np.asarray(expit(log_odds + half_width)))


def importance_change(
    base: EdgeScores, post: EdgeScores, *, paired: bool = True, score: HeadScore = "net"
) -> HeadEstimates:
    """Return importance in post − in base, with interval and p-value; positive if it grew.

    paired: see ``importance_contrast``.
    """
    return importance_contrast((base, post), (-1.0, 1.0), paired=paired, score=score)


def doubled_heads(
    base: EdgeScores, post: EdgeScores, *, factor: float = GROWTH, paired: bool = True, score: HeadScore = "flow"
) -> HeadSet:
    """Return the heads whose importance grew by more than ``factor``, which depends on no circuit.

    At most 5 % of the returned heads are expected to be false (Benjamini and Hochberg over heads). ``factor`` 1 would
    return every head whose share changed, which includes unchanged heads when others change. Importance is by flow,
    which varies less over pairs: of planted heads that grew four- to tenfold it finds 18 of 19, the net score 13
    (``benchmarks/planted.py``).
    """
    growth = importance_contrast((base, post), (-factor, 1.0), paired=paired, score=score)
    if growth.p_value is None or np.isnan(growth.p_value).all():
        return HeadSet(())
    return HeadSet.from_grid((q_values(growth.p_value) <= 1 - LEVEL) & (growth.value > 0))


def importance_contrast(
    cells: Sequence[EdgeScores], weights: Sequence[float], *, paired: bool = True, score: HeadScore = "net"
) -> HeadEstimates:
    """Return Σ weight · importance over several results, with interval and two-sided p-value of 0.

    paired: True if all were scored on the same pairs, whose noise they share; otherwise Welch's t is used.
    """
    terms, influences = [], []
    for cell, weight in zip(cells, weights, strict=True):
        sums = pair_sums(cell, score=score)
        terms.append(weight * shares(sums.mean(axis=0)))
        influences.append(weight * influence(sums, cell.problem_groups))
    return head_estimates(sum_or_zero(terms), [sum_or_zero(influences)] if paired else influences)


def relative_change(
    base: "Float[np.ndarray, 'layer head']", post: "Float[np.ndarray, 'layer head']"
) -> "Float[np.ndarray, 'layer head']":
    """Return E = (I_post − I_base) / (I_post + I_base + 1e-6), in [−1, 1] (the paper, A.6); positive if it grew."""
    return np.asarray((post - base) / (post + base + EPSILON))


def relative_changes(series: Sequence[Emergence]) -> "Float[np.ndarray, 'checkpoint layer head']":
    """Return E at every checkpoint, from importances over all edges; their mean over checkpoints is the paper's map.

    Raises InputError for a result without importances, from an earlier version of headscope.
    """
    grids = []
    for result in series:
        base = result.base_importance
        if base is None:
            raise InputError("a comparison holds no importances of the base; compare again with this headscope")
        grids.append(relative_change(base, base + result.importance_change.value))
    return np.stack(grids)


def change_q_values(series: Sequence[Emergence]) -> "Float[np.ndarray, 'checkpoint layer head']":
    """Return Benjamini and Hochberg's q of each head's change of importance, over heads × checkpoints.

    Among heads with q ≤ 0.05 at most 5 % are expected to be false; NaN if not tested.
    """
    p_values = []
    for result in series:
        change = result.importance_change
        p_values.append(np.full_like(change.value, np.nan) if change.p_value is None else change.p_value)
    return q_values(np.stack(p_values))


def pair_sums(
    scores: EdgeScores, circuit: Circuit | None = None, score: HeadScore = "net"
) -> "Float[np.ndarray, 'pair layer head']":
    """Return each head's score in each pair from its outgoing edges (only those of ``circuit``), 0 or more."""
    if circuit is None:
        return scores.pair_importance(score)
    if scores.pair_edges is None:
        raise InputError(
            "the scores keep no per-pair edges, which importance within a circuit sums; attribute with keep_pairs=True"
        )
    inside = scores.pair_edges * circuit.edges
    if score == "flow":
        inside = np.abs(inside)
    return np.asarray(np.abs(scores.graph.head_grid(inside.sum(axis=2, dtype=np.float64))))


def shares(sums: "Float[np.ndarray, '*rows layer head']") -> "Float[np.ndarray, '*rows layer head']":
    """Return the sums normalised to 1 over heads; all 0 if every sum is 0."""
    total = sums.sum(axis=(-2, -1), keepdims=True)
    return np.asarray(np.divide(sums, total, out=np.zeros_like(sums), where=total > 0))


def influence(
    sums: "Float[np.ndarray, 'pair layer head']", groups: ProblemGroups
) -> "Float[np.ndarray, 'problem layer head']":
    """Return the first-order influence of each problem's pairs on the shares of the mean; mean 0 over problems.

    A problem's influence is the sum over its pairs.
    """
    mean = sums.mean(axis=0)
    total = float(mean.sum())
    if total <= 0:
        return np.zeros((len(groups), *mean.shape))
    # The derivative of a quotient: a pair moves a head's share by its own sum less the share of all its sums.
    return groups.totals(np.asarray((sums - shares(mean) * sums.sum(axis=(1, 2), keepdims=True)) / total))
