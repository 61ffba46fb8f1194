"""The verdict on one ablation: does it change pass@1, and more than matched random sets do?

Rules, fixed before any result is seen:

- supported: the effect's interval lies on the asked side of 0, the excess over the random sets' mean too, and
  p ≤ 0.05;
- not supported: the interval lies on the other side of 0; or it excludes an effect of the margin's size; or
  there is an effect, but random sets do as much (p > 0.05 and the excess's interval holds 0);
- undecided: all else; always below 10 problems; where too few random sets were run for p ≤ 0.05 to be
  possible; and where 3 / problems exceeds the margin, an effect is not excluded: so many problems without any
  flip leave that large a rate of flips possible (the rule of three), however narrow the bootstrap's interval.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.intervals import mean_share, paired_difference
from headscope.measures.multiplicity import ALPHA
from headscope.results.estimate import Estimate
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED, AblationVerdict

MARGIN = 0.05
"""A change of pass@1 smaller than this is not called an effect."""

FEWEST_PROBLEMS = 10
"""A bootstrap over fewer problems promises more than it holds."""

Direction = Literal["lower", "higher"]


def ablation_verdict(
    baseline: "Bool[np.ndarray, '_ _']",
    ablated: "Bool[np.ndarray, '_ _']",
    controls: "Sequence[Bool[np.ndarray, '_ _']]",
    *,
    task: str,
    operator: str,
    heads: HeadSet,
    direction: Direction = "lower",
    margin: float = MARGIN,
    seed: int = 0,
) -> AblationVerdict:
    """Verdict on ``heads`` from which answers were correct, each [problem, sample].

    baseline: without intervention; ablated: with it; controls: with the same operator on each matched random
        set. All over the same problems in the same order; the numbers of samples may differ.
    direction: the change of pass@1 asked about.

    Raises InputError where the problems differ in number or there are none.
    """
    _require_same_problems(baseline, ablated, controls)
    before, after = baseline.mean(axis=1), ablated.mean(axis=1)
    effect = paired_difference(after, before)
    per_control = np.empty((len(controls), len(before)))
    for row, control in zip(per_control, controls, strict=True):
        row[:] = control.mean(axis=1) - before
    control_effects = per_control.mean(axis=1)
    excess = _excess(after - before, per_control)
    p_value = _p_value(effect.value, control_effects, direction)
    reading, reason = _read(effect, excess, p_value, len(controls), direction, margin)
    return AblationVerdict(
        task=task,
        operator=operator,
        heads=heads,
        reading=reading,
        reason=reason,
        baseline=mean_share(before),
        ablated=mean_share(after),
        effect=effect,
        control_effects=control_effects,
        excess=excess,
        p_value=p_value,
        direction=direction,
        margin=margin,
        samples=baseline.shape[1],
        seed=seed,
    )


def _p_value(effect: float, control_effects: "Float[np.ndarray, 'control']", direction: Direction) -> float:
    """One-sided, with the real set counted among the sets (the + 1 rule), so it is never 0."""
    sign = 1 if direction == "higher" else -1
    # Equal effects summed in another order may differ in the last bit; a tie counts against the real set.
    as_strong = int((sign * control_effects >= sign * effect - 1e-12).sum())
    return (1 + as_strong) / (1 + len(control_effects))


def _excess(change: "Float[np.ndarray, 'problem']", per_control: "Float[np.ndarray, 'control problem']") -> Estimate:
    if len(per_control) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), len(change), "no control")
    return paired_difference(change, per_control.mean(axis=0), bound=2.0)


def _read(
    effect: Estimate, excess: Estimate, p_value: float, controls: int, direction: Direction, margin: float
) -> tuple[str, str]:
    """Reading and reason, by the rules at the top of this module."""
    effect_low, effect_high = _towards(effect, direction)
    shown = f"pass@1 changed by {_signed(effect)} over {effect.n} problems"
    if effect.n < FEWEST_PROBLEMS:
        return UNDECIDED, f"{shown}: at least {FEWEST_PROBLEMS} are needed"
    if effect_high < 0:
        return NOT_SUPPORTED, f"{shown}: the other way"
    if max(effect_high, 3 / effect.n) < margin:
        return NOT_SUPPORTED, f"{shown}: an effect of {margin:g} is excluded"
    if effect_low <= 0:
        return UNDECIDED, f"{shown}: so few exclude neither 0 nor an effect of {margin:g}"
    among = f"{shown}, against {controls} random sets p = {p_value:.3f}"
    if 1 / (1 + controls) > ALPHA:
        return UNDECIDED, f"{among}: too few sets for p ≤ {ALPHA:g} ({round(1 / ALPHA) - 1} are needed)"
    specific = _towards(excess, direction)[0] > 0
    among += f", excess over their mean {_signed(excess)}"
    if specific and p_value <= ALPHA:
        return SUPPORTED, among
    if not specific and p_value > ALPHA:
        return NOT_SUPPORTED, f"{among}: random sets do as much"
    return UNDECIDED, f"{among}: the two disagree"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _towards(estimate: Estimate, direction: Direction) -> tuple[float, float]:
    """The interval with the asked direction as positive."""
    return (estimate.low, estimate.high) if direction == "higher" else (-estimate.high, -estimate.low)


def _require_same_problems(baseline: "np.ndarray", ablated: "np.ndarray", controls: "Sequence[np.ndarray]") -> None:
    if len(baseline) == 0 or baseline.shape[1] == 0:
        raise InputError("there are no answers to compare; at least one problem with one sample is needed")
    names = ["the ablated run", *(f"control {number}" for number in range(len(controls)))]
    for name, other in zip(names, [ablated, *controls], strict=True):
        if len(other) != len(baseline) or other.shape[1] == 0:
            raise InputError(
                f"{name} has {len(other)} problems with {other.shape[1]} samples each, the baseline has "
                f"{len(baseline)} problems; the same problems with at least one sample each are needed"
            )
