"""The verdict on one ablation: does it lower pass@1, and more than matched random sets do?

Rules, fixed before any result was known:

- supported: the effect's interval lies below 0, that of the excess over the random sets' mean too, and p ≤ 0.05;
- not supported: the interval lies above 0; or it excludes an effect of the margin's size; or
  there is an effect, but random sets have it too (p > 0.05 and the excess's interval holds 0);
- undecided: otherwise; always below 10 problems, and with too few random sets for p ≤ 0.05 to be possible. While
  3 / problems exceeds the margin, an effect is not excluded, however narrow the interval: without any flip a rate of
  flips up to 3 / problems is possible (the rule of three).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.intervals import mean_share, paired_difference, without_interval
from headscope.measures.pass_at_k import pass_at_k_by_problem
from headscope.measures.permutation import fewest_draws, permutation_p_value, permutation_rank
from headscope.results.estimate import Estimate
from headscope.results.numbers import ALPHA
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED, AblationVerdict

MARGIN = 0.05
"""Smallest change of pass@1 that is called an effect."""

FEWEST_PROBLEMS = 10
"""Fewest problems for a verdict: intervals over fewer do not reach their nominal coverage."""

FEWEST_CONTROLS = fewest_draws(ALPHA)
"""Fewest random sets with which p ≤ 0.05 is possible."""


def ablation_verdict(
    baseline: "Bool[np.ndarray, '_ _']",
    ablated: "Bool[np.ndarray, '_ _']",
    controls: "Sequence[Bool[np.ndarray, '_ _']]",
    *,
    task: str,
    operator: str,
    heads: HeadSet,
    seed: int = 0,
) -> AblationVerdict:
    """Judge whether ablating ``heads`` lowers pass@1, and more than matched random sets do.

    All arrays say which answers are correct, [problem, sample], on the same problems in the same order; the numbers of
    samples may differ.

    Args:
        baseline: answers without intervention.
        ablated: answers with it.
        controls: answers with the same operator on each matched random set.
        task, operator, heads: what was done; recorded in the result.
        seed: the samples' seed; recorded in the result.

    Raises:
        InputError: if the problems differ in number or there are none.
    """
    _require_same_problems(baseline, ablated, controls)
    before = baseline.mean(axis=1)
    after = ablated.mean(axis=1)
    effect = paired_difference(after, before)
    control_changes = _control_changes(controls, before)
    control_effects = control_changes.mean(axis=1)
    excess = _excess(after - before, control_changes)
    # The test asks about large statistics, so a fall is negated. Without controls nothing is tested: p is NaN.
    p_value = permutation_p_value(-effect.value, -control_effects)
    reading, reason = _decide(effect, excess, p_value, len(controls))
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
        rank=permutation_rank(-effect.value, -control_effects),
        direction="lower",
        margin=MARGIN,
        samples=baseline.shape[1],
        seed=seed,
        ablated_at_k={k: mean_share(pass_at_k_by_problem(ablated, k)) for k in _doublings(ablated.shape[1])},
    )


def _doublings(most: int) -> list[int]:
    """Return 1, 2, 4 … up to ``most``."""
    return [2**power for power in range(most.bit_length())]


def _control_changes(
    controls: "Sequence[Bool[np.ndarray, '_ _']]", before: "Float[np.ndarray, 'problem']"
) -> "Float[np.ndarray, 'control problem']":
    changes = np.empty((len(controls), len(before)))
    # Row by row: the controls may have different numbers of samples.
    for row, control in zip(changes, controls, strict=True):
        row[:] = control.mean(axis=1) - before
    return changes


def _excess(change: "Float[np.ndarray, 'problem']", controls: "Float[np.ndarray, 'control problem']") -> Estimate:
    if len(controls) == 0:
        return without_interval(len(change), "no control")
    return paired_difference(change, controls.mean(axis=0), bound=2.0)  # of two changes, each within 1


def _decide(effect: Estimate, excess: Estimate, p_value: float, controls: int) -> tuple[str, str]:
    """Return the reading and its reason, by the rules at the top of this module."""
    smallest_fall, largest_fall = -effect.high, -effect.low
    change = f"pass@1 changed by {_format(effect)} over {effect.n} problems"
    if effect.n < FEWEST_PROBLEMS:
        return UNDECIDED, f"{change}: at least {FEWEST_PROBLEMS} are needed"
    if largest_fall < 0:
        return NOT_SUPPORTED, f"{change}: the other way"
    if max(largest_fall, 3 / effect.n) < MARGIN:  # the rule of three
        return NOT_SUPPORTED, f"{change}: an effect of {MARGIN:g} is excluded"
    if smallest_fall <= 0:
        return UNDECIDED, f"{change}: neither 0 nor an effect of {MARGIN:g} is excluded"
    comparison = f"{change}, against {controls} random sets{f' p = {p_value:.3f}' if controls else ''}"
    if controls < FEWEST_CONTROLS:
        return UNDECIDED, f"{comparison}: too few sets for p ≤ {ALPHA:g} ({FEWEST_CONTROLS} are needed)"
    specific = excess.high < 0
    comparison += f", excess over their mean {_format(excess)}"
    if specific and p_value <= ALPHA:
        return SUPPORTED, comparison
    if not specific and p_value > ALPHA:
        return NOT_SUPPORTED, f"{comparison}: random sets do as much"
    return UNDECIDED, f"{comparison}: p-value and excess disagree"


def _format(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _require_same_problems(
    baseline: "Bool[np.ndarray, '_ _']",
    ablated: "Bool[np.ndarray, '_ _']",
    controls: "Sequence[Bool[np.ndarray, '_ _']]",
) -> None:
    if len(baseline) == 0 or baseline.shape[1] == 0:
        raise InputError("there are no answers to compare; at least one problem with one sample is needed")
    names = ["the ablated run", *(f"control {number}" for number in range(len(controls)))]
    for name, correct in zip(names, [ablated, *controls], strict=True):
        if len(correct) != len(baseline) or correct.shape[1] == 0:
            raise InputError(
                f"{name} has {len(correct)} problems with {correct.shape[1]} samples each, the baseline has "
                f"{len(baseline)} problems; the same problems with at least one sample each are needed"
            )
