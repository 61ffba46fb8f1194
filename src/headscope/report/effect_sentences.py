"""Sentences on training effects: one or two per recipe, by rule and hedged.

1. *New heads*: what replacing them costs more than in the base, and than in each null twin.
2. *Changed*: how many heads' exact effects differ from those of the twin (without one, of the base), and which most.

A recipe of several seeds is spoken of by their mean. Where an interval does not exclude 0, or the value is below
1 % of what the whole corrupt text costs, the sentence says so: a new head may sit in a circuit and do nothing.
"""

from collections.abc import Sequence

from headscope.report.run_results import RunResults, with_result
from headscope.report.tables.effects import Compared, compare_with_all, largest_heads, pooled_effects
from headscope.results.estimate import Estimate
from headscope.results.numbers import format_estimate
from headscope.results.training_effects import LEAST_SHARE, PooledEffects, TrainingEffects


def effect_sentences(results: RunResults) -> tuple[str, ...]:
    """Return the sentences of a run; none before its training effects are measured. Null twins have none."""
    sentences: list[str] = []
    for compared in _contrasts_by_recipe(results).values():
        sentences += [sentence for sentence in (_new_heads(compared), _changed_heads(compared)) if sentence]
    return tuple(sentences)


def effect_sentence(results: RunResults, variant: str) -> str:
    """Return the one sentence on a recipe that says most: on its new heads, without such on how many changed; empty
    if nothing is measured."""
    compared = _contrasts_by_recipe(results).get(variant)
    return "" if compared is None else _new_heads(compared) or _changed_heads(compared)


def _contrasts_by_recipe(results: RunResults) -> dict[str, list[Compared]]:
    """Return the contrasts of each recipe that has sentences, by the variant that is its source."""
    pooled = pooled_effects(results)
    spoken = {}
    for _, result in with_result(results.in_order(TrainingEffects)):
        if result.null or (result.recipe in pooled and result.variant != result.recipe):
            continue
        of_recipe: TrainingEffects | PooledEffects = pooled.get(result.recipe, result)
        seeds = f" ({len(of_recipe.variants)} seeds)" if isinstance(of_recipe, PooledEffects) else ""
        spoken[result.variant] = compare_with_all(f"{result.variant}{seeds}", of_recipe)
    return spoken


def _new_heads(compared: Sequence[Compared]) -> str:
    """Return what replacing a new head costs more than in the models compared with; empty without new heads."""
    parts, estimates = [], []
    for comparison in compared:
        if "new" in comparison.contrast.sets:
            estimate = comparison.contrast.sets["new"]
            estimates.append(estimate)
            parts.append(f"{format_estimate(estimate, sign=True)} nats more than in {_other(comparison)}")
    if not estimates:
        return ""
    costs, verdict = " and ".join(parts), _verdict(estimates, compared[0].least)
    return f"{compared[0].trained}: replacing a new head costs {costs} (mean over them): {verdict}."


def _verdict(estimates: Sequence[Estimate], least: float) -> str:
    """Return what the differences from the base, which comes first, and from the twins say."""
    if max(abs(estimates[0].low), abs(estimates[0].high)) < least:
        return f"less than {LEAST_SHARE:.0%} of what the whole corrupt text costs, so on these pairs they hardly matter"
    if all(estimate.low > 0 and estimate.value >= least for estimate in estimates):
        return "training made them matter more" + (", beyond what its twin shows" if len(estimates) > 1 else "")
    if estimates[0].high < 0:
        return "they matter less than before"
    if estimates[0].low > 0:
        return "they matter more than before, but so they may without the signal"
    return "that they matter more could be chance"


def _changed_heads(compared: Sequence[Compared]) -> str:
    """Return in how many heads exact effects differ from those in the (last) twin, or in the base if there is none."""
    against = compared[-1]
    contrast, changed = against.contrast, against.contrast.changed(against.least)
    if not changed:
        floor = f"{LEAST_SHARE:.0%} of what the whole corrupt text costs"
        return f"{against.trained}: no head's exact effect differs from that in {_other(against)} by {floor} or more."
    most = largest_heads(contrast.heads, changed)
    count = f"{len(changed)} of {contrast.q_value.size} heads"
    return f"{against.trained}: exact effects differ from those in {_other(against)} in {count}, most in {most} nats."


def _other(compared: Compared) -> str:
    return "the base" if compared.other == "base" else f"its twin {compared.other}"
