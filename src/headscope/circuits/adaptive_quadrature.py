"""Adaptive quadrature on the path from the corrupt (α = 0) to the clean (α = 1) embedding (method section 3).

On trained models the gradient is large at one or a few sharp places of the path (the loss falls from 20 nats to 0
within a hundredth of it), elsewhere in every pair; equal or Gauss nodes spend themselves where nothing happens.

1. The path is cut into intervals by its nodes, 8 equal ones at first. In each interval the score matrix is the cubic
   through the four nearest nodes; its integral is linear in the scores at the nodes, and every node keeps counting
   when others come between (Gauss rules of other sizes, or of a half of the path, would throw theirs away).
2. An interval's error is judged twice, and the larger judgement counts. *Surprise*: by how far the last node set there
   missed what the cubic had foretold, times the interval's length and ``_SURPRISE``. *Loss*: the scores of the input's
   edges add up to −dL/dα, and L at the nodes comes with every pass, so that sum's integral is known exactly; its
   relative error times ``_LOSS`` counts for the whole matrix. It sees what falls between the nodes.
3. Errors of intervals add up as squares. While the sum is above ``TOLERANCE`` of the integral's Frobenius norm, the
   worst intervals, as many as must go for it to be half of that, get a node in their middle.

``_SURPRISE`` and ``_LOSS`` are calibrated: on trained and on random models the judged error is 1-3 times the true one,
and nothing with scores of any size was found to miss its tolerance (``benchmarks/run.py nodes``).
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

TOLERANCE = 0.01
NODE_CAP = 128
_FIRST_INTERVALS = 8
_SURPRISE, _LOSS = 0.1, 0.5
# Gradients that vanish come back as rounding of the loss; up to so many of its type's epsilons that is no error.
_ROUNDING = 8


class AdaptiveQuadrature:
    """One pair's nodes so far, and where the next ones belong; scores may have any shape [input's edges first].

    epsilon: of the type the model computes in; errors below ``_ROUNDING`` times it (in the loss's unit) are rounding.
    alphas: the nodes so far, ascending. integral: of the scores over the path. error: its judged error, in its norm.
    next_alphas: where scores are needed next, ascending; empty once the error is small enough or nodes are used up.
    """

    def __init__(self, epsilon: float) -> None:
        self.alphas = np.empty(0)
        self.integral: Float[np.ndarray, "F B"] = np.empty((0, 0))
        self.error = np.inf
        self.next_alphas: Float[np.ndarray, " node"] = np.arange(_FIRST_INTERVALS + 1) / _FIRST_INTERVALS
        self._rounding = _ROUNDING * epsilon
        self._losses = np.empty(0)
        self._scores: list[Float[np.ndarray, "F B"]] = []
        self._surprise = np.empty(0)  # per interval

    @property
    def settled(self) -> bool:
        """Return whether the judged error is within the tolerance."""
        return bool(self.error <= max(TOLERANCE * self.norm, self._rounding))

    @property
    def norm(self) -> float:
        """Return the Frobenius norm of the integral."""
        return float(np.linalg.norm(self.integral))

    def add(self, scores: Float[np.ndarray, "node F B"], losses: Float[np.ndarray, " node"]) -> None:
        """Take in scores and losses at ``next_alphas`` and update ``integral``, ``error`` and ``next_alphas``."""
        if len(self.alphas):
            self._insert(scores, losses)
        else:
            self.alphas, self._losses, self._scores = self.next_alphas, losses.astype(np.float64), list(scores)
            # The odd nodes are judged by the cubics through the even ones, as if they had come later; each halves an
            # interval of those, so that its surprise is shared by two.
            self._surprise = np.repeat(self._surprises(slice(None, None, 2), self.alphas[1::2], scores[1::2]), 2) / 2
        weights = _interval_weights(self.alphas)
        self.integral = _combine(weights.sum(axis=0), self._scores)
        errors = np.maximum(_SURPRISE * self._surprise, self._loss_errors(weights))
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
        """Return ‖score − foretold score‖ × width of the interval that each new node halves.

        known_nodes: the nodes whose cubics foretell the scores.
        """
        alphas, known_scores = self.alphas[known_nodes], self._scores[known_nodes]
        surprises = []
        for alpha, score in zip(new_alphas, scores, strict=True):
            interval = int(np.searchsorted(alphas, alpha)) - 1
            start, width = alphas[interval], alphas[interval + 1] - alphas[interval]
            nearest = _nearest(len(alphas), interval)
            powers = _local_powers(alphas[nearest], start, width)
            weights = np.linalg.solve(powers, ((alpha - start) / width) ** np.arange(len(powers)))
            surprises.append(width * np.linalg.norm(score - _combine(weights, known_scores[nearest])))
        return np.array(surprises)

    def _loss_errors(self, weights: Float[np.ndarray, "interval node"]) -> Float[np.ndarray, " interval"]:
        """Return the known error of the input's edges, per interval, as if it were the matrix's share of error."""
        slope = np.array([score[0].sum(dtype=np.float64) for score in self._scores])  # −dL/dα
        changes = np.diff(self._losses)
        missed = np.maximum(np.abs(weights @ slope + changes) - self._rounding, 0)
        total_change = max(float(np.abs(changes).sum()), self._rounding)
        # An error of the sum of B scores is at least 1/√B of it in their norm, even if all scores so far are 0.
        scale = max(self.norm / total_change, 1 / np.sqrt(self.integral.shape[-1]))
        errors: Float[np.ndarray, " interval"] = _LOSS * scale * missed
        return errors

    def _middles(self, errors: Float[np.ndarray, " interval"]) -> Float[np.ndarray, " node"]:
        """Return the middles of the worst intervals, as many as must go for the rest to be half the tolerance."""
        order = np.argsort(-errors)
        # Entry i: the squared error of all intervals from the i-th worst on.
        rest = np.cumsum(np.square(errors[order])[::-1])[::-1]
        goal = (max(TOLERANCE * self.norm, self._rounding) / 2) ** 2
        worst = np.sort(order[rest > goal][: NODE_CAP - len(self.alphas)])
        middles: Float[np.ndarray, " node"] = (self.alphas[worst] + self.alphas[worst + 1]) / 2
        return middles


def _nearest(count: int, interval: int) -> slice:
    """Return which four of ``count`` nodes are nearest to an interval (the first one starts at node 0)."""
    first = min(max(interval - 1, 0), count - 4)
    return slice(first, first + 4)


def _local_powers(alphas: Float[np.ndarray, "4"], start: float, width: float) -> Float[np.ndarray, "4 4"]:
    """Return powers 0 to 3, one row each, of the nodes in units of an interval.

    In these units the equations for the weights stay well conditioned, however short the interval is.
    """
    return ((alphas - start) / width) ** np.arange(4)[:, None]


def _interval_weights(alphas: Float[np.ndarray, " node"]) -> Float[np.ndarray, "interval node"]:
    """Return per interval the weights of all nodes in the integral of its cubic."""
    weights = np.zeros((len(alphas) - 1, len(alphas)))
    for interval, (start, end) in enumerate(pairwise(alphas)):
        nearest = _nearest(len(alphas), interval)
        moments = (end - start) / np.arange(1, 5)  # ∫ of powers 0 to 3 over the interval
        weights[interval, nearest] = np.linalg.solve(_local_powers(alphas[nearest], start, end - start), moments)
    return weights


def _combine(weights: Float[np.ndarray, " node"], scores: list[Float[np.ndarray, "F B"]]) -> Float[np.ndarray, "F B"]:
    """Return Σ weight · score, in float32 as the scores are; one by one, so that they are never stacked."""
    total = np.zeros_like(scores[0])
    for weight, score in zip(weights, scores, strict=True):
        total += np.float32(weight) * score  # a float64 weight would make a float64 copy of the matrix
    return total
