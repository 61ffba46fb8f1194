"""Evidence from teacher-forced losses: arithmetic on [edit, text] arrays (``results.evidence`` says what is read off).

Rules, fixed before any result is seen:

- an operator supports the set when its effect's interval lies above 0, the excess over the layer-matched sets' mean
  too, and p ≤ 0.05;
- the set stands when three of the four operators support it; it does not where two of them, run with enough controls,
  do not; else, and below 10 texts, it is undecided;
- what may explain it away is shown beside it and decides nothing: importance-matched sets, another task, the base
  model, the dose, self-repair.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.errors import InputError
from headscope.measures.intervals import LEVEL, bootstrap_mean, paired_difference
from headscope.measures.multiplicity import ALPHA
from headscope.results.estimate import Estimate
from headscope.results.evidence import DoseResponse, Guard, OperatorEffect, Repair, Trend

NEEDED, OPERATORS = 3, 4
"""So many of so many operators must agree."""

Losses = Float[np.ndarray, "text"]
PerControl = Float[np.ndarray, "control text"]


def operator_effect(
    operator: str,
    whole: "Losses",
    removed: "Float[np.ndarray, '_']",
    controls: "Float[np.ndarray, '_ _']",
    matched: "Float[np.ndarray, '_ _']",
    accuracy_change: "Losses",
    *,
    seed: int = 0,
) -> OperatorEffect:
    """The effect of one operator, against both nulls.

    whole, removed: loss per text without and with the intervention. controls: with each layer-matched set; matched:
        with each importance-matched one. accuracy_change: of the share of tokens right, per text.
    Raises InputError where the texts differ in number or there are none.
    """
    for name, losses in (("removed", removed), ("controls", controls), ("matched", matched)):
        if losses.shape[-1] != len(whole) or len(whole) == 0:
            raise InputError(f"{name} holds losses of {losses.shape[-1]} texts; the {len(whole)} of the whole model")
    change, null = removed - whole, (controls - whole).mean(axis=1)
    effect, p_value = bootstrap_mean(change, unit="text", seed=seed), p_against(float(change.mean()), null)
    excess = _excess(removed, controls, seed)
    other = (matched - whole).mean(axis=1)
    return OperatorEffect(
        operator=operator,
        effect=effect,
        accuracy=bootstrap_mean(accuracy_change, unit="text", seed=seed),
        control_effects=null,
        importance_effects=other,
        excess=excess,
        p_value=p_value,
        importance_p_value=p_against(float(change.mean()), other),
        supported=bool(effect.low > 0 and excess.low > 0 and p_value <= ALPHA),
    )


def p_against(effect: float, null: "Float[np.ndarray, 'control']") -> float:
    """One-sided, the real set counted among the sets; NaN without any. Ties count against it."""
    if len(null) == 0:
        return float("nan")
    return float((1 + (null >= effect - 1e-12).sum()) / (1 + len(null)))


def standing(operators: Sequence[OperatorEffect], texts: int) -> tuple[bool | None, str]:
    """Whether the set stands, and the sentence that says why."""
    yes = [each.operator for each in operators if each.supported]
    able = [each for each in operators if 1 / (1 + len(each.control_effects)) <= ALPHA]
    no = [each.operator for each in able if not each.supported]
    said = f"{len(yes)} of {len(operators)} operators support it ({', '.join(yes) or 'none'}) on {texts} texts"
    if texts < FEWEST_PROBLEMS:
        return None, f"{said}: at least {FEWEST_PROBLEMS} texts are needed"
    if len(yes) >= NEEDED:
        return True, f"{said}: {NEEDED} of {OPERATORS} agree"
    if len(no) > OPERATORS - NEEDED:
        return False, f"{said}: {' and '.join(no)} do not, so {NEEDED} of {OPERATORS} cannot agree"
    return None, f"{said}: {NEEDED} of {OPERATORS} must be run with {round(1 / ALPHA) - 1} controls or more to agree"


def dose_response(
    alphas: Sequence[float], whole: "Losses", doses: "Float[np.ndarray, 'alpha text']", *, seed: int = 0
) -> DoseResponse:
    """Effects by α with a trend test on either side of 1, where the model is whole.

    Two arms, because the loss on a model's own text is least near α = 1: one line through all doses would find no trend
    in a V. Page's L (E. B. Page, 1963) ranks the doses within every text, so no text outweighs another.
    """
    change = doses - whole
    effects = tuple(bootstrap_mean(row, unit="text", seed=seed) for row in change)
    points = dict(zip(alphas, change, strict=True)) | {1.0: np.zeros(len(whole))}
    below = _trend({1 - alpha: row for alpha, row in points.items() if alpha <= 1}, seed)
    above = _trend({alpha - 1: row for alpha, row in points.items() if alpha >= 1}, seed)
    return DoseResponse(tuple(alphas), effects, below, above)


def guard(
    task: str,
    on_task: "Losses",
    whole: "Float[np.ndarray, 'other']",
    removed: "Float[np.ndarray, 'other']",
    recall: Estimate | None = None,
    *,
    seed: int = 0,
) -> Guard:
    """Off-task losses beside the on-task change per text."""
    change = removed - whole
    found = stats.ttest_ind(on_task, change, equal_var=False)
    interval = found.confidence_interval(LEVEL)
    value = float(on_task.mean() - change.mean())
    low, high = (float(bound) if np.isfinite(bound) else value for bound in interval)
    specific = Estimate(value, low, high, len(on_task) + len(change), "Welch t 95%")
    before, after = float(np.exp(whole.mean())), float(np.exp(removed.mean()))
    return Guard(task, bootstrap_mean(change, unit="text", seed=seed), specific, before, after, recall)


def repair(whole: "Losses", removed: "Losses", direct: "Losses", *, seed: int = 0) -> Repair:
    """Direct against total effect, paired by text."""
    direct_effect, total = direct - whole, removed - whole
    each = (direct_effect, total, direct_effect - total)
    return Repair(*(bootstrap_mean(values, unit="text", seed=seed) for values in each))


def difference_in_differences(post: "Losses", base: "Losses", *, seed: int = 0) -> Estimate:
    """Change in the post-trained model − change in the base model, paired by text."""
    return bootstrap_mean(post - base, unit="text", seed=seed)


def pass_difference(post: tuple["Losses", "Losses"], base: tuple["Losses", "Losses"]) -> Estimate:
    """The same for shares of correct answers, each (with the heads, without them), paired by problem."""
    return paired_difference(post[1] - post[0], base[1] - base[0], bound=2.0)


def _excess(removed: "Losses", controls: "PerControl", seed: int) -> Estimate:
    if len(controls) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), len(removed), "no control")
    return bootstrap_mean(removed - controls.mean(axis=0), unit="text", seed=seed)


def _trend(arm: "Mapping[float, np.ndarray]", seed: int) -> Trend | None:
    """arm: change per text by distance from α = 1."""
    distances = np.array(sorted(arm))
    if len(distances) < 3:
        return None
    by_text = np.column_stack([arm[distance] for distance in distances])
    # Through the origin: at distance 0 the change is 0 by definition.
    slopes = by_text @ distances / (distances @ distances)
    p_value = float(stats.page_trend_test(by_text, method="asymptotic").pvalue)
    return Trend(bootstrap_mean(slopes, unit="text", seed=seed), p_value)
