"""The test-retest null: base against itself on random halves of all the pairs it was scored on.

All pairs, the fresh ones with the main ones, are cut in two at random, many times over. Heads that are new from one
side to the other are new by the draw of the pairs alone: their mean number is the null, their distribution the test.
One cut, main pairs against fresh ones, would be one draw of that number.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from headscope.comparison.activity import Activity, activity, magnitudes, resampled_frequency
from headscope.comparison.resampling import Resampling
from headscope.results.edges import EdgeScores


@dataclass(frozen=True, eq=False)
class Retest:
    """halves: as the resamples of an activity: the two sides of each cut, one after the other. pairs: on each side.

    spread: how much wider margins scatter on a side than on base's own pairs.
    """

    halves: Activity
    pairs: int
    spread: float

    def at(self, how: Resampling) -> "Retest":
        """With circuits of another size."""
        return Retest(self.halves.at(how), self.pairs, self.spread)

    def frequencies(
        self, base: "Float[np.ndarray, 'resample *grid']", sides: "Float[np.ndarray, 'side *grid']"
    ) -> "Float[np.ndarray, 'side *grid']":
        """Inclusion frequencies on each side, from the margins there and how base's scatter over the resamples."""
        return resampled_frequency(base, sides, self.spread)


def retest(base: EdgeScores, again: EdgeScores | None, how: Resampling) -> Retest:
    """Half as many cuts as resamples. Without ``again`` base's pairs alone are cut, each side then has half of them."""
    kept = [magnitudes(base)] if again is None else [magnitudes(base), magnitudes(again)]
    pooled = np.concatenate(kept)
    first = len(kept[0]) if again is not None else len(pooled) // 2
    sides = (first, len(pooled) - first)
    weights = _cuts(*sides, how)
    spread = float(np.sqrt(len(kept[0]) / min(sides)))
    return Retest(activity(base.graph, pooled, weights, how), min(sides), spread)


def _cuts(first: int, second: int, how: Resampling) -> "Float[np.ndarray, 'side pair']":
    """Weights of the pairs: rows 0 and 1 are the two sides of one cut, rows 2 and 3 of the next."""
    rng = np.random.default_rng([how.seed, 1])
    weights = np.zeros((how.resamples // 2 * 2 or 2, first + second), dtype=np.float32)
    for row in range(0, len(weights), 2):
        order = rng.permutation(first + second)
        weights[row, order[:first]] = 1 / first
        weights[row + 1, order[first:]] = 1 / second
    return weights
