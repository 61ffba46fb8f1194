"""The test-retest null: base against itself on random halves of all the pairs it was scored on.

All pairs, the fresh ones with the main ones, are cut in two at random, many times over. Heads that are new from one
side to the other are new by the draw of the pairs alone: their mean number is the null, their distribution the test.
One cut, main pairs against fresh ones, would be one draw of that number.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from headscope.comparison.activity import Activity, edge_magnitudes, in_circuit, resampled_frequency, weighted_activity
from headscope.comparison.inclusion import EmergenceMethod
from headscope.comparison.resampling import Resampling
from headscope.comparison.status_counts import Sides
from headscope.results.edges import EdgeScores


@dataclass(frozen=True, eq=False)
class SplitHalves:
    """Base on the two sides of every cut of its pairs.

    activity: its resamples are the sides, the two of each cut one after the other. pairs: on each side.
    spread: how much wider margins scatter on a side than on base's own pairs.
    """

    activity: Activity
    pairs: int
    spread: float

    def at(self, resampling: Resampling) -> "SplitHalves":
        """Return the halves with circuits of another size."""
        return SplitHalves(self.activity.at(resampling), self.pairs, self.spread)

    def head_frequencies(self, base: Activity, method: EmergenceMethod) -> Sides:
        """Return the inclusion frequency of every head, from the margins on each side and the scatter of base's."""
        margins = self.activity.margins
        if method == "paper":
            return _sides(in_circuit(margins))
        return _sides(resampled_frequency(base.margins, margins, self.spread))

    def edge_frequencies(self, base: Activity, edges: "Int[np.ndarray, 'chosen']", method: EmergenceMethod) -> Sides:
        """Return the inclusion frequency of some edges, in one group, likewise."""
        margins = self.activity.edge_margins(edges)[:, None]
        if method == "paper":
            return _sides(in_circuit(margins))
        return _sides(resampled_frequency(base.edge_margins(edges)[:, None], margins, self.spread))


def split_halves(base: EdgeScores, again: EdgeScores | None, resampling: Resampling) -> SplitHalves:
    """Cut the pairs half as often as they are resampled: two sides per cut make one activity of the same size.

    Without ``again`` base's pairs alone are cut, and each side has half of them.
    """
    base_magnitudes = edge_magnitudes(base)
    if again is None:
        magnitudes, first = base_magnitudes, len(base_magnitudes) // 2
    else:
        magnitudes, first = np.concatenate([base_magnitudes, edge_magnitudes(again)]), len(base_magnitudes)
    second = len(magnitudes) - first
    weights = _cut_weights(first, second, resampling)
    pairs = min(first, second)
    # The standard error of a mean goes with 1 / √pairs.
    spread = float(np.sqrt(len(base_magnitudes) / pairs))
    return SplitHalves(weighted_activity(base.graph, magnitudes, weights, resampling), pairs, spread)


def _cut_weights(first: int, second: int, resampling: Resampling) -> "Float[np.ndarray, 'side pair']":
    """Return weights of the pairs: rows 0 and 1 are the two sides of one cut, rows 2 and 3 of the next."""
    rng = np.random.default_rng([resampling.seed, 1])  # a stream of its own, next to that of the resamples
    sides = max(2, resampling.resamples // 2 * 2)  # whole cuts, and at least one
    weights = np.zeros((sides, first + second), dtype=np.float32)
    for row in range(0, len(weights), 2):
        order = rng.permutation(first + second)
        weights[row, order[:first]] = 1 / first
        weights[row + 1, order[first:]] = 1 / second
    return weights


def _sides(frequency: "Float[np.ndarray, 'side group member']") -> Sides:
    return frequency[0::2], frequency[1::2]
