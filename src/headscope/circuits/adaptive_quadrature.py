"""Adaptive quadrature on the path from the corrupt (α = 0) to the clean (α = 1) embedding (method section 3).

On trained models the gradient is large at one or a few sharp places of the path (the loss falls from 20 nats to 0
within a hundredth of it), at different places in every pair; equal or Gauss nodes mostly fall where nothing happens.

1. The path is cut into intervals by its nodes, 8 equal ones at first. In each interval the score matrix is the cubic
   through the four nearest nodes; its integral is linear in the scores at the nodes, and every node stays
   in use when others are added between (Gauss rules of other sizes, or of half the path, would discard them).
2. An interval's error is estimated in two ways, and the larger estimate counts. *Surprise*: how far the scores at the
   last node added there were from the cubic's prediction, times the interval's length and ``_SURPRISE``. *Loss*: the
   scores of the input's edges add up to −dL/dα, and every pass gives L at its nodes, so the integral of that sum is
   known exactly; its relative error times ``_LOSS`` is taken for the whole matrix. It sees what falls between nodes.
3. Errors of intervals add up as squares. While the sum is above ``tolerance`` of the integral's Frobenius norm, the
   worst intervals get a node in their middle, as many as it takes to bring the sum down to ``_GOAL`` of that.

``_SURPRISE`` and ``_LOSS`` are calibrated: on trained and on random models the estimated error is 1-3 times the true
one, and no case with scores of any size missed 1 % (``benchmarks/run.py nodes``).

The same rule runs on −dL/dα alone, a matrix of one number that every pass gives at no cost (``of_slopes``): it puts
the nodes where the whole matrix would, so that only the nodes' mean gradient has to be contracted (``slope_guided``).
Its estimated error is 0.3-3 times the true one of the matrix, and 0.6-20 times that of the head scores, which are sums
over many edges; it is used if an error of a few per cent is small compared with other uncertainty.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from headscope.errors import InputError

TOLERANCE = 0.01
NODE_CAP = 128
_FIRST_INTERVALS = 8
# Of a path whose error is estimated from slopes: fewer, and only as many halved at a time as needed (_SLOPE_GOAL).
_FIRST_SLOPE_INTERVALS = 4
_GOAL, _SLOPE_GOAL = 0.5, 1.0
# A loss that jumps would have one interval halved until its ends are the same number.
_SHORTEST = 2.0**-20
_SURPRISE, _LOSS = 0.1, 0.5
# Gradients of 0 come out as rounding of the loss; up to this many epsilons of its type are not counted as an error.
_ROUNDING = 8


@dataclass(frozen=True)
class AdaptiveNodes:
    """The request to choose nodes pair by pair.

    tolerance: target error of every pair's scores, as a share of their norm; None makes the integration error of the
        mean head scores small compared with their sampling error over pairs (``error_ratio``).

    Raises:
        InputError: if the tolerance is neither None nor between 0 and 1.
    """

    tolerance: float | None = None

    def __post_init__(self) -> None:
        tolerance = self.tolerance
        if tolerance is None:
            return
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 < tolerance < 1:
            raise InputError(f"found tolerance={tolerance!r}; give a share between 0 and 1, as 0.01, or None")


class AdaptiveQuadrature:
    """The nodes of one pair so far, and where the next ones belong; scores have any shape [input's edges first].

    epsilon: of the type the model computes in; errors below ``_ROUNDING`` times it (in the loss's unit) are rounding.
    tolerance: the target error, as a share of the integral's norm. intervals: number of equal ones at first, even.
    goal: the share of the tolerance down to which the worst intervals are halved at a time.
    alphas: the nodes so far, ascending. weights: weights of their scores in the integral.
    integral: integral of the scores over the path. error: its estimated error, in the Frobenius norm.
    missed: integral of the input's edges less L(corrupt) − L(clean), signed.
    next_alphas: where scores are needed next, ascending; empty once the error is small enough or ``NODE_CAP`` is
        reached.
    """

    def __init__(
        self,
        epsilon: float,
        tolerance: float = TOLERANCE,
        *,
        intervals: int = _FIRST_INTERVALS,
        goal: float = _GOAL,
    ) -> None:
        self.tolerance = tolerance
        self.alphas = np.empty(0)
        self.weights = np.empty(0)
        self.integral: Float[np.ndarray, "F B"] = np.empty((0, 0))
        self.error = np.inf
        self.missed = 0.0
        self.next_alphas: Float[np.ndarray, " node"] = np.arange(intervals + 1) / intervals
        self._goal = goal
        self._rounding = _ROUNDING * epsilon
        self._losses = np.empty(0)
        self._scores: list[Float[np.ndarray, "F B"]] = []
        self._surprise = np.empty(0)  # per interval

    @classmethod
    def of_slopes(cls, epsilon: float, tolerance: float) -> "AdaptiveQuadrature":
        """Return a path whose scores are −dL/dα, [node, 1, 1], which needs few nodes for an error of some per cent."""
        return cls(epsilon, tolerance, intervals=_FIRST_SLOPE_INTERVALS, goal=_SLOPE_GOAL)

    @property
    def settled(self) -> bool:
        """Return whether the estimated error is within the tolerance."""
        return bool(self.error <= max(self.tolerance * self.norm, self._rounding))

    @property
    def norm(self) -> float:
        """Return the Frobenius norm of the integral."""
        return float(np.linalg.norm(self.integral))

    def add(self, scores: Float[np.ndarray, "node F B"], losses: Float[np.ndarray, " node"]) -> None:
        """Add scores and losses at ``next_alphas`` and update ``integral``, ``error`` and ``next_alphas``."""
        if len(self.alphas):
            self._insert(scores, losses)
        else:
            self.alphas, self._losses, self._scores = self.next_alphas, losses.astype(np.float64), list(scores)
            # The odd nodes are judged by the cubics through the even ones, as if they had come later; each halves an
            # interval of those, so that its surprise is shared by two.
            self._surprise = np.repeat(self._surprises(slice(None, None, 2), self.alphas[1::2], scores[1::2]), 2) / 2
        weights = _interval_weights(self.alphas)
        self.weights = weights.sum(axis=0)
        self.integral = _combine(self.weights, self._scores)
        missed = self._missed_losses(weights)
        self.missed = float(missed.sum())
        errors = np.maximum(_SURPRISE * self._surprise, self._loss_errors(missed))
        self.error = float(np.sqrt(np.square(errors).sum()))
        self.next_alphas = np.empty(0) if self.settled else self._middles(errors)

    def _insert(self, scores: Float[np.ndarray, "node F B"], losses: Float[np.ndarray, " node"]) -> None:
        # A new node lies in the middle of interval place − 1 and halves it; both halves inherit the new surprise.
        places = np.searchsorted(self.alphas, self.next_alphas)
        surprises = self._surprises(slice(None), self.next_alphas, scores) / 2
        self._surprise[places - 1] = surprises
        self._surprise = np.insert(self._surprise, places - 1, surprises)
        for shift, (place, score) in enumerate(zip(places, scores, strict=True)):
            self._scores.insert(place + shift, score)  # places are those before any insertion
        self.alphas = np.insert(self.alphas, places, self.next_alphas)
        self._losses = np.insert(self._losses, places, losses)

    def _surprises(
        self, known_nodes: slice, new_alphas: Float[np.ndarray, " node"], scores: Float[np.ndarray, "node F B"]
    ) -> Float[np.ndarray, " node"]:
        """Return ‖score − predicted score‖ × width of the interval that each new node halves.

        known_nodes: the nodes whose cubics predict the scores.
        """
        alphas, known_scores = self.alphas[known_nodes], self._scores[known_nodes]
        surprises = []
        for alpha, score in zip(new_alphas, scores, strict=True):
            interval = int(np.searchsorted(alphas, alpha)) - 1
            start, width = alphas[interval], alphas[interval + 1] - alphas[interval]
            nearest = _nearest(len(alphas), interval)
            weights = _value_weights(_places(alphas[nearest], start, width), float((alpha - start) / width))
            surprises.append(width * np.linalg.norm(score - _combine(weights, known_scores[nearest])))
        return np.array(surprises)

    def _missed_losses(self, weights: Float[np.ndarray, "interval node"]) -> Float[np.ndarray, " interval"]:
        """Return the known error of the sum of the input's edges, per interval, with its sign."""
        slope = np.array([score[0].sum(dtype=np.float64) for score in self._scores])  # −dL/dα
        missed: Float[np.ndarray, " interval"] = weights @ slope + np.diff(self._losses)
        return missed

    def _loss_errors(self, missed: Float[np.ndarray, " interval"]) -> Float[np.ndarray, " interval"]:
        """Return each interval's error, estimated from the relative error of the input's edges."""
        missed = np.maximum(np.abs(missed) - self._rounding, 0)
        total_change = max(float(np.abs(np.diff(self._losses)).sum()), self._rounding)
        # An error of the sum of B scores is at least 1/√B of it in their norm, even if all scores so far are 0.
        scale = max(self.norm / total_change, 1 / np.sqrt(self.integral.shape[-1]))
        errors: Float[np.ndarray, " interval"] = _LOSS * scale * missed
        return errors

    def _middles(self, errors: Float[np.ndarray, " interval"]) -> Float[np.ndarray, " node"]:
        """Return the middles of the worst intervals, as many as it takes for the others to be within the goal."""
        order = np.argsort(-errors)
        # Entry i: the squared error of the i-th worst interval and all better ones.
        tail_error = np.cumsum(np.square(errors[order])[::-1])[::-1]
        goal = (max(self.tolerance * self.norm, self._rounding) * self._goal) ** 2
        worst = order[tail_error > goal]
        worst = np.sort(worst[np.diff(self.alphas)[worst] > _SHORTEST][: NODE_CAP - len(self.alphas)])
        middles: Float[np.ndarray, " node"] = (self.alphas[worst] + self.alphas[worst + 1]) / 2
        return middles


def _nearest(count: int, interval: int) -> slice:
    """Return which four of ``count`` nodes, or all if they are fewer, are nearest to an interval (the first is 0)."""
    size = min(4, count)
    first = min(max(interval - 1, 0), count - size)
    return slice(first, first + size)


def _places(alphas: Float[np.ndarray, " near"], start: float, width: float) -> tuple[float, ...]:
    """Return nodes in units of an interval, which keeps the equations for their weights well conditioned.

    Halving gives few different results, so that weights are computed once.
    """
    places: list[float] = ((alphas - start) / width).tolist()
    return tuple(places)


@lru_cache(maxsize=4096)
def _value_weights(places: tuple[float, ...], at: float) -> Float[np.ndarray, " near"]:
    """Return the weights of nodes in the value at one place of the polynomial through them."""
    powers = np.array(places) ** np.arange(len(places))[:, None]
    return np.linalg.solve(powers, at ** np.arange(len(places)))


@lru_cache(maxsize=4096)
def _integral_weights(places: tuple[float, ...]) -> Float[np.ndarray, " near"]:
    """Return the weights of nodes in the integral from 0 to 1 of the polynomial through them."""
    powers = np.array(places) ** np.arange(len(places))[:, None]
    return np.linalg.solve(powers, 1 / np.arange(1, len(places) + 1))


def _interval_weights(alphas: Float[np.ndarray, " node"]) -> Float[np.ndarray, "interval node"]:
    """Return per interval the weights of all nodes in the integral of its cubic."""
    weights = np.zeros((len(alphas) - 1, len(alphas)))
    for interval, (start, end) in enumerate(pairwise(alphas)):
        nearest = _nearest(len(alphas), interval)
        weights[interval, nearest] = (end - start) * _integral_weights(_places(alphas[nearest], start, end - start))
    return weights


def _combine(weights: Float[np.ndarray, " node"], scores: list[Float[np.ndarray, "F B"]]) -> Float[np.ndarray, "F B"]:
    """Return Σ weight · score, in float32 as the scores are, added one by one to avoid stacking them."""
    total = np.zeros_like(scores[0])
    for weight, score in zip(weights, scores, strict=True):
        total += np.float32(weight) * score  # a float64 weight would make a float64 copy of the matrix
    return total
