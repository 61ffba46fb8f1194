"""Think on / off: heads of only one mode, sizes of the circuits, and leaked reasoning."""

import math
from dataclasses import replace
from operator import attrgetter

import numpy as np

from headscope.comparison.activity import Activity, head_activity
from headscope.comparison.compatibility import require_other_pairs
from headscope.comparison.emergence import emergence
from headscope.comparison.equal_faithfulness import FAITHFULNESS, fraction_reaching
from headscope.comparison.resampling import Resampling
from headscope.comparison.status_counts import count_estimate
from headscope.errors import InputError
from headscope.measures.intervals import bootstrap
from headscope.results.edges import EdgeScores
from headscope.results.estimate import Estimate
from headscope.results.faithfulness import FaithfulnessCurve, Weights
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking


def think_on_off(
    on: EdgeScores,
    off: EdgeScores,
    on_curve: FaithfulnessCurve,
    off_curve: FaithfulnessCurve,
    *,
    off_again: EdgeScores | None = None,
    resampling: Resampling = Resampling(),
    faithfulness: float = FAITHFULNESS,
) -> Thinking:
    """Compare both modes of one model, each scored on its own pairs.

    On the same texts both would have the same scores, as the model is the same.

    Args:
        on: scores of think-on.
        off: scores of think-off, which is used as the base.
        on_curve: faithfulness of think-on's circuits by size.
        off_curve: faithfulness of think-off's circuits by size.
        off_again: scores of think-off on fresh pairs, for the null.
        resampling: size of the circuits whose heads are compared, and how problems are resampled.
        faithfulness: faithfulness of the circuits whose sizes are compared, 0 to 1.

    Raises:
        InputError: if the graphs differ, or both modes were scored on the same pairs.
    """
    require_other_pairs(on, off, "think-on", "think-off")
    change = emergence(off, on, base_again=off_again, resampling=resampling, paired=False)
    on_fraction = _fraction(on_curve, faithfulness, resampling.seed)
    off_fraction = _fraction(off_curve, faithfulness, resampling.seed)
    on_activity = head_activity(on, replace(resampling, fraction=on_fraction.value))
    # It has other pairs than think-on, so the resamples must be independent.
    off_activity = head_activity(off, replace(resampling.independent(), fraction=off_fraction.value))
    return Thinking(change, faithfulness, on_fraction, off_fraction, _broader(on_activity, off_activity))


def reasoning_leak(on: Samples, off: Samples, *, seed: int = 0) -> Estimate:
    """Return tokens of think-off answers / tokens of think-on answers to the same problems: 1 if all reasoning leaks.

    Think-off answers with full reasoning are as long as with thinking on; those without still have the tokens of the
    answer, so no leak gives slightly more than 0. Raises InputError if the problems differ.
    """
    if on.problems != off.problems:
        raise InputError(f"think-on answered {len(on.problems)} problems, think-off others; the same are needed")
    tokens_on, tokens_off = on.lengths.mean(axis=1), off.lengths.mean(axis=1)

    def ratio(weights: Weights) -> float:
        return float(weights @ tokens_off) / max(float(weights @ tokens_on), 1e-9)  # answers without a token

    return bootstrap(ratio, len(tokens_on), seed=seed)


def _fraction(curve: FaithfulnessCurve, faithfulness: float, seed: int) -> Estimate:
    """Return the share of the edges a circuit of this faithfulness needs, with its interval over problems.

    Raises InputError as ``fraction_reaching`` does on all pairs.
    """
    fraction_reaching(curve, faithfulness)

    def in_resample(weights: Weights) -> float:
        try:
            return fraction_reaching(curve, faithfulness, weights)
        except InputError:  # of pairs whose two texts have the same metric alone
            return math.nan

    return bootstrap(in_resample, curve.problem_groups, seed=seed)


def _broader(on: Activity, off: Activity) -> Estimate:
    """Return core heads of off − of on; the problems of each are resampled on their own.

    Both modes may have the same problems, which would narrow the interval; this is not used.
    """
    on_counts = (on.resampled_frequency() >= on.resampling.core).sum(axis=(1, 2))
    off_counts = (off.resampled_frequency() >= off.resampling.core).sum(axis=(1, 2))
    value = float(off.core.sum()) - float(on.core.sum())
    size = min(on.size, off.size, key=attrgetter("problems"))
    # A difference of counts may be negative.
    return count_estimate(value, off_counts - on_counts, size, on.resampling.seed, least=-np.inf)
