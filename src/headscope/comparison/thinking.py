"""Think on / off: which heads each mode has for itself, which circuit is larger, how much reasoning leaks."""

from dataclasses import replace

import numpy as np

from headscope.comparison.activity import Activity, head_activity
from headscope.comparison.emergence import emergence
from headscope.comparison.resampling import Resampling
from headscope.comparison.sizes import fraction_reaching
from headscope.errors import InputError
from headscope.measures.intervals import bootstrap
from headscope.results.edges import EdgeScores
from headscope.results.estimate import Estimate
from headscope.results.faithfulness import FaithfulnessCurve
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
    """Both modes of one model, scored on the same pairs; the curves say how faithful circuits of each size are.

    off_again: think-off on fresh pairs, for the null. Raises InputError where the graphs or pairs differ.
    """
    change = emergence(off, on, base_again=off_again, fraction=how.fraction, resamples=how.resamples, seed=how.seed)
    fractions = [fraction_reaching(curve, faithfulness) for curve in (on_curve, off_curve)]
    active = [
        head_activity(scores, replace(how, fraction=fraction))
        for scores, fraction in zip((on, off), fractions, strict=True)
    ]
    return Thinking(change, faithfulness, fractions[0], fractions[1], _fewer(active[0], active[1]))


def reasoning_leak(on: Samples, off: Samples, *, seed: int = 0) -> Estimate:
    """Tokens of think-off answers / tokens of think-on answers to the same problems: 0 for none, 1 for all of it.

    Think-off answers that reason in the open are as long as if they thought. Raises InputError where the problems
    differ.
    """
    if on.problems != off.problems:
        raise InputError(f"think-on answered {len(on.problems)} problems, think-off others; the same are needed")
    spent_on, spent_off = on.lengths.mean(axis=1), off.lengths.mean(axis=1)

    def ratio(weights: "np.ndarray") -> float:
        return float(weights @ spent_off) / max(float(weights @ spent_on), 1e-9)

    return bootstrap(ratio, len(spent_on), seed=seed)


def _fewer(on: Activity, off: Activity) -> Estimate:
    """Core heads of off − of on, resample by resample alike."""
    drawn_on, drawn_off = ((each.resampled_frequency() >= each.how.core).sum(axis=(1, 2)) for each in (on, off))
    low, high = np.quantile(drawn_off - drawn_on, [0.025, 0.975])
    value = float(off.core.sum()) - float(on.core.sum())
    return Estimate(value, min(value, float(low)), max(value, float(high)), on.pairs, "pair bootstrap 95%", on.how.seed)
