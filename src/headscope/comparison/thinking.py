"""Think on / off: which heads each mode has for itself, which circuit is larger, how much reasoning leaks."""

from dataclasses import replace
from functools import partial

import numpy as np

from headscope.comparison.activity import Activity, head_activity
from headscope.comparison.compatible import require_other_pairs
from headscope.comparison.emergence import emergence
from headscope.comparison.resampling import Resampling
from headscope.comparison.sizes import fraction_reaching
from headscope.comparison.tally import count_estimate
from headscope.errors import InputError
from headscope.measures.intervals import bootstrap
from headscope.results.edges import EdgeScores
from headscope.results.estimate import Estimate
from headscope.results.faithfulness import FaithfulnessCurve, Weights
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking

FAITHFULNESS = 0.8
"""Of the circuits whose sizes are compared."""


def think_on_off(
    on: EdgeScores,
    off: EdgeScores,
    on_curve: FaithfulnessCurve,
    off_curve: FaithfulnessCurve,
    *,
    off_again: EdgeScores | None = None,
    how: Resampling = Resampling(),
    faithfulness: float = FAITHFULNESS,
) -> Thinking:
    """Both modes of one model, each scored on pairs of its own: the same text would give one model the same scores.

    The curves say how faithful circuits of each size are. off_again: think-off on fresh pairs, for the null.
    Raises InputError where the graphs differ, or both modes were scored on the same pairs.
    """
    require_other_pairs(on, off, "think-on", "think-off")
    change = emergence(
        off, on, base_again=off_again, fraction=how.fraction, resamples=how.resamples, seed=how.seed, paired=False
    )
    on_size, off_size = (
        bootstrap(partial(_reaching, curve, faithfulness), len(curve.full), unit="pair", seed=how.seed)
        for curve in (on_curve, off_curve)
    )
    on_active = head_activity(on, replace(how, fraction=on_size.value))
    off_active = head_activity(off, replace(how.independent(), fraction=off_size.value))
    return Thinking(change, faithfulness, on_size, off_size, _fewer(on_active, off_active))


def reasoning_leak(on: Samples, off: Samples, *, seed: int = 0) -> Estimate:
    """Tokens of think-off answers / tokens of think-on answers to the same problems: 1 where all reasoning leaks.

    Think-off answers that reason in the open are as long as if they thought; bare ones still have the answer's few
    tokens, so that no leak at all is a little above 0. Raises InputError where the problems differ.
    """
    if on.problems != off.problems:
        raise InputError(f"think-on answered {len(on.problems)} problems, think-off others; the same are needed")
    spent_on, spent_off = on.lengths.mean(axis=1), off.lengths.mean(axis=1)

    def ratio(weights: Weights) -> float:
        return float(weights @ spent_off) / max(float(weights @ spent_on), 1e-9)

    return bootstrap(ratio, len(spent_on), seed=seed)


def _fewer(on: Activity, off: Activity) -> Estimate:
    """Core heads of off − of on; the pairs of each are resampled on their own."""
    drawn_on, drawn_off = ((each.resampled_frequency() >= each.how.core).sum(axis=(1, 2)) for each in (on, off))
    value = float(off.core.sum()) - float(on.core.sum())
    return count_estimate(value, drawn_off - drawn_on, min(on.pairs, off.pairs), on.how.seed, least=-np.inf)


def _reaching(curve: FaithfulnessCurve, faithfulness: float, weights: Weights) -> float:
    return fraction_reaching(curve, faithfulness, weights)
