"""Evidence from teacher-forced losses: arithmetic on [edit, text] arrays (the results are in ``results.evidence``).

Rules, fixed before any result was known:

- an operator supports the set when its effect's interval lies above 0, the excess over the layer-matched sets' mean
  too, and p ≤ 0.05;
- the set stands if three of the four operators support it; it does not if two of them, run with enough controls, do
  not; otherwise, and below 10 texts, it is undecided;
- ``revert``, a fifth operator, has no vote: it keeps the heads and tests whether training them mattered. With a vote,
  heads that the base needs just as much, and needed heads whose weights hardly changed, would count against a set. Its
  effect is read by the first rule and shown next to the verdict;
- an operator's random sets are run sequentially, until p ≤ 0.05 is impossible (``measures.permutation``);
- possible other explanations are shown with it and decide nothing: importance-matched sets, another task, the base
  model, the dose, self-repair.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from headscope.comparison.ablation import FEWEST_CONTROLS, FEWEST_PROBLEMS
from headscope.errors import InputError
from headscope.measures.independent_estimates import welch_difference
from headscope.measures.intervals import bootstrap_mean, paired_difference, without_interval
from headscope.measures.permutation import permutation_p_value, permutation_rank
from headscope.operator_names import ABLATION_OPERATORS
from headscope.results.estimate import Estimate
from headscope.results.evidence import DoseResponse, Guard, OperatorEffect, Repair, Trend
from headscope.results.numbers import ALPHA

OPERATOR_COUNT = len(ABLATION_OPERATORS)
AGREEING_OPERATORS = 3
"""A head set stands if at least this many of the ablation operators support it (method section 6)."""

Losses = Float[np.ndarray, "text"]


def operator_effect(
    operator: str,
    whole: "Losses",
    removed: "Float[np.ndarray, '_']",
    layer_controls: "Float[np.ndarray, '_ _']",
    importance_controls: "Float[np.ndarray, '_ _']",
    accuracy_change: "Losses",
    *,
    available: tuple[int, int] | None = None,
    seed: int = 0,
) -> OperatorEffect:
    """Return the effect of one operator on the loss, in nats per token, against both nulls.

    Args:
        operator: its name.
        whole: loss of each text without the intervention, nats per token.
        removed: loss of each text with it.
        layer_controls: losses with each layer-matched set, [set, text].
        importance_controls: losses with each importance-matched set, [set, text].
        accuracy_change: change of the share of correct tokens, per text.
        available: numbers of existing sets of either kind; None if all of them were run.
        seed: seed of the bootstrap.

    Raises:
        InputError: if the texts differ in number or there are none.
    """
    for name, losses in (
        ("removed", removed),
        ("layer_controls", layer_controls),
        ("importance_controls", importance_controls),
    ):
        if losses.shape[-1] != len(whole) or len(whole) == 0:
            raise InputError(f"{name} holds losses of {losses.shape[-1]} texts; the {len(whole)} of the whole model")
    change = removed - whole
    effect = bootstrap_mean(change, unit="text", seed=seed)
    excess = _excess(removed, layer_controls, seed)
    control_effects = (layer_controls - whole).mean(axis=1)
    importance_effects = (importance_controls - whole).mean(axis=1)
    mean_change = float(change.mean())
    p_value = permutation_p_value(mean_change, control_effects)
    controls_available, importance_available = available or (len(layer_controls), len(importance_controls))
    return OperatorEffect(
        operator=operator,
        effect=effect,
        accuracy=bootstrap_mean(accuracy_change, unit="text", seed=seed),
        control_effects=control_effects,
        importance_effects=importance_effects,
        excess=excess,
        p_value=p_value,
        rank=permutation_rank(mean_change, control_effects),
        importance_p_value=permutation_p_value(mean_change, importance_effects),
        importance_rank=permutation_rank(mean_change, importance_effects),
        controls_available=controls_available,
        importance_available=importance_available,
        supported=bool(effect.low > 0 and excess.low > 0 and p_value <= ALPHA),
    )


def judge_operators(operators: Sequence[OperatorEffect], texts: int) -> tuple[bool | None, str]:
    """Return whether the set stands (None if undecided), and the reason in a sentence.

    operators: effects of the operators with a vote (``ABLATION_OPERATORS``).
    """
    support = [effect.operator for effect in operators if effect.supported]
    # An operator with too few controls could not support the set, so it does not speak against it.
    against = []
    for effect in operators:
        if not effect.supported and len(effect.control_effects) >= FEWEST_CONTROLS:
            against.append(effect.operator)
    names = ", ".join(support) or "none"
    reason = f"{len(support)} of {len(operators)} operators support it ({names}) on {texts} texts"
    quorum = f"{AGREEING_OPERATORS} of {OPERATOR_COUNT}"
    if texts < FEWEST_PROBLEMS:
        return None, f"{reason}: at least {FEWEST_PROBLEMS} texts are needed"
    if len(support) >= AGREEING_OPERATORS:
        return True, f"{reason}: {quorum} agree"
    if len(against) > OPERATOR_COUNT - AGREEING_OPERATORS:
        return False, f"{reason}: {' and '.join(against)} do not, so {quorum} cannot agree"
    return None, f"{reason}: {quorum} must be run with {FEWEST_CONTROLS} controls or more to agree"


def dose_response(
    alphas: Sequence[float], whole: "Losses", doses: "Float[np.ndarray, 'alpha text']", *, seed: int = 0
) -> DoseResponse:
    """Return effects by α with a trend test on either side of α = 1, the unchanged model.

    There are two arms because the loss on a model's own text is smallest near α = 1: a single trend would not be found
    in a V shape. Page's L (E. B. Page, 1963) ranks the doses within every text, so all texts have the same weight.
    """
    changes = doses - whole
    effects = tuple(bootstrap_mean(change, unit="text", seed=seed) for change in changes)
    by_alpha = dict(zip(alphas, changes, strict=True)) | {1.0: np.zeros(len(whole))}
    below = _trend({1 - alpha: change for alpha, change in by_alpha.items() if alpha <= 1}, seed)
    above = _trend({alpha - 1: change for alpha, change in by_alpha.items() if alpha >= 1}, seed)
    return DoseResponse(tuple(alphas), effects, below, above)


def guard(
    task: str,
    on_task: "Losses",
    whole: "Float[np.ndarray, 'off_text']",
    removed: "Float[np.ndarray, 'off_text']",
    recall: Estimate | None = None,
    *,
    seed: int = 0,
) -> Guard:
    """Return the effect on another task, and the effect on the set's own task less that.

    Args:
        task: the name of the other task.
        on_task: change of the loss of each text of the set's own task, nats per token.
        whole: loss of each text of the other task without the intervention, nats per token.
        removed: the same with it.
        recall: change of pass@1 on the other task, if it was generated.
        seed: seed of the bootstrap.
    """
    off_task = removed - whole
    # Perplexity: losses are nats per token.
    before, after = float(np.exp(whole.mean())), float(np.exp(removed.mean()))
    effect = bootstrap_mean(off_task, unit="text", seed=seed)
    return Guard(task, effect, welch_difference(on_task, off_task), before, after, recall)


def repair(whole: "Losses", removed: "Losses", direct: "Losses", *, seed: int = 0) -> Repair:
    """Return direct effect, total effect and their difference, nats per token, paired by text."""
    direct_effect, total_effect = direct - whole, removed - whole
    return Repair(
        direct=bootstrap_mean(direct_effect, unit="text", seed=seed),
        total=bootstrap_mean(total_effect, unit="text", seed=seed),
        repaired=bootstrap_mean(direct_effect - total_effect, unit="text", seed=seed),
    )


def difference_in_differences(post: "Losses", base: "Losses", *, seed: int = 0) -> Estimate:
    """Return change in the post-trained model − change in the base model, paired by text."""
    return bootstrap_mean(post - base, unit="text", seed=seed)


def pass_difference(post: tuple["Losses", "Losses"], base: tuple["Losses", "Losses"]) -> Estimate:
    """Return change of pass@1 in the post-trained model − change in the base, paired by problem.

    Both arguments are shares of correct answers per problem, (with the heads, without them).
    """
    return paired_difference(post[1] - post[0], base[1] - base[0], bound=2.0)


def _excess(removed: "Losses", controls: "Float[np.ndarray, 'control text']", seed: int) -> Estimate:
    if len(controls) == 0:
        return without_interval(len(removed), "no control")
    return bootstrap_mean(removed - controls.mean(axis=0), unit="text", seed=seed)


def _trend(arm: "Mapping[float, Losses]", seed: int) -> Trend | None:
    """Test whether the change per text rises with its distance from α = 1.

    None with fewer than three doses or two texts.
    """
    distances = np.array(sorted(arm))
    by_text = np.column_stack([arm[distance] for distance in distances])
    texts, doses = by_text.shape
    if doses < 3 or texts < 2:  # the fewest that Page's test can order
        return None
    from scipy.stats import page_trend_test

    # Through the origin: at distance 0 the change is 0 by definition.
    slopes = by_text @ distances / (distances @ distances)
    p_value = float(page_trend_test(by_text, method="asymptotic").pvalue)
    return Trend(bootstrap_mean(slopes, unit="text", seed=seed), p_value)
