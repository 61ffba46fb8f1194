"""The test-retest null: the base against itself on random halves of all its problems.

All problems, main and fresh ones, are cut into two random halves many times, each with all its pairs. Heads that are
new from one side to the other are new only because of the draw of problems: their mean number is the null, their
distribution the test. One cut, main pairs against fresh ones, would be a single draw of that number.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from headscope.comparison.activity import Activity, edge_magnitudes, in_circuit, resampled_frequency, weighted_activity
from headscope.comparison.inclusion import EmergenceMethod
from headscope.comparison.resampling import Resampling
from headscope.comparison.status_counts import Sides
from headscope.pairs import ProblemGroups, SampleSize
from headscope.results.edges import EdgeScores


@dataclass(frozen=True, eq=False)
class SplitHalves:
    """The base on the two sides of every cut of its problems.

    activity: its resamples are the sides, the two of a cut one after the other. size: size of each side.
    spread: standard error of margins on a side, relative to that on the base's own pairs.
    """

    activity: Activity
    size: SampleSize
    spread: float

    def at(self, resampling: Resampling) -> "SplitHalves":
        """Return the halves with circuits of another size."""
        return SplitHalves(self.activity.at(resampling), self.size, self.spread)

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
    """Return the halves of ``resamples / 2`` cuts, which give as many sides as there are resamples.

    Without ``again`` the base's own problems are cut, and each side has half of them. A problem in both sets is counted
    once, and lies on one side with the pairs of both. Raises InputError if there are fewer than two problems.
    """
    scored = [base] if again is None else [base, again]
    groups = ProblemGroups.of(*((scores.problems, len(scores.pair_heads)) for scores in scored))
    groups.require("the test-retest null, which halves problems,")
    base_problems = len(base.problem_groups)
    are_apart = again is not None and len(groups) == base_problems + len(again.problem_groups)
    first = base_problems if are_apart else len(groups) // 2
    problems = min(first, len(groups) - first)
    magnitudes = groups.means(np.concatenate([edge_magnitudes(scores) for scores in scored]))
    activity = weighted_activity(base.graph, groups, magnitudes, _cut_weights(groups, first, resampling), resampling)
    size = SampleSize(problems, round(groups.size.pairs * problems / len(groups)))
    # The standard error of a mean goes with 1 / √problems.
    return SplitHalves(activity, size, float(np.sqrt(base_problems / problems)))


def _cut_weights(groups: ProblemGroups, first: int, resampling: Resampling) -> "Float[np.ndarray, 'side problem']":
    """Return weights of the problems, ``first`` of them on the first side: rows 0 and 1 are the two sides of one cut,
    rows 2 and 3 of the next.
    """
    rng = np.random.default_rng([resampling.seed, 1])  # a stream of its own, next to that of the resamples
    sides = max(2, resampling.resamples // 2 * 2)  # whole cuts, and at least one
    weights = np.zeros((sides, len(groups)), dtype=np.float32)
    for row in range(0, len(weights), 2):
        order = rng.permutation(len(groups))
        for side, problems in enumerate((order[:first], order[first:])):
            sizes = groups.sizes[problems]
            weights[row + side, problems] = sizes / sizes.sum()  # a problem weighs as much as it has pairs
    return weights


def _sides(frequency: "Float[np.ndarray, 'side group member']") -> Sides:
    return frequency[0::2], frequency[1::2]
