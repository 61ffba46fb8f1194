"""C6, C7 and C9: what removing or scaling heads does to the answers."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import norm

from headscope.comparison.ablation import FEWEST_PROBLEMS, MARGIN
from headscope.comparison.claims.deciding import claim, missing, part, shown
from headscope.comparison.claims.study_results import Ablation, StudyResults
from headscope.measures.independent_estimates import pool_estimates
from headscope.measures.multiplicity import ALPHA, holm
from headscope.results.claim import FAILS, HOLDS, OPEN, Claim, Part
from headscope.results.estimate import Estimate
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, AblationVerdict

AGREEING = 3
"""Of four operators (method section 6)."""

EMERGENT = "emergent"
SCALE = "scale"
LOWERS = "operators under which removing emergent heads lowers pass@1"
TRADES = "tasks that rise and fall at one scale"
LARGE_K = 8


def lower_accuracy(results: StudyResults) -> Claim:
    """C6."""
    removed = [each for each in results.ablations if each.group == EMERGENT and not each.operator.startswith(SCALE)]
    parts = [_operators_agree(variant, runs) for variant, runs in _by_variant(removed).items()]
    question = "Does ablating emergent heads lower accuracy, more than controls?"
    return claim("C6", question, parts, "the study ablates no emergent heads")


def trade_tasks(results: StudyResults) -> Claim:
    """C7."""
    scaled = [each for each in results.ablations if each.group == EMERGENT and each.operator.startswith(SCALE)]
    parts = [_trade(variant, runs) for variant, runs in _by_variant(scaled).items()]
    question = "Does scaling emergent heads trade one task for another?"
    return claim("C7", question, parts, "the study scales no emergent heads")


def raise_pass_lower_coverage(results: StudyResults) -> Claim:
    """C9. The heads of a think-off variant are its emergent ones."""
    recipes = {modes.variant: modes.recipe for modes in results.thinking}
    found: dict[tuple[str, str, str], list[Ablation]] = {}
    for each in results.ablations:
        if each.variant in recipes and each.group == EMERGENT and not each.operator.startswith(SCALE):
            found.setdefault((recipes[each.variant], each.task, each.operator), []).append(each)
    parts = [
        each for where, seeds in found.items() for each in _pass_and_coverage("{} on {}, {}".format(*where), seeds)
    ]
    question = "Does ablating think-off heads raise pass@1 and lower coverage at large k?"
    return claim("C9", question, parts, "the study ablates no heads of a think-off model")


def _pass_and_coverage(where: str, seeds: Sequence[Ablation]) -> Iterator[Part]:
    """Over the seeds that have such heads."""
    effects = [each.verdict.effect for each in seeds if each.verdict is not None]
    if not effects:
        yield missing(where, "change of pass@1", f"{where}: no seed has emergent heads to ablate")
        return
    least = (FEWEST_PROBLEMS, "problems")
    yield part(where, "change of pass@1", pool_estimates(effects), ">", 0.0, least=least)
    changes = [each.coverage for each in seeds if each.coverage is not None]
    if not changes or min(k for k, _ in changes) < LARGE_K:
        reason = f"{where} has too few samples per problem for pass@{LARGE_K}"
        yield missing(where, "change of coverage", reason)
    else:
        k = min(k for k, _ in changes)
        yield part(
            where, f"change of pass@{k}", pool_estimates([change for _, change in changes]), "<", 0.0, least=least
        )


def _by_variant(ablations: Sequence[Ablation]) -> dict[str, list[Ablation]]:
    names = dict.fromkeys(each.variant for each in ablations)
    return {name: [each for each in ablations if each.variant == name] for name in names}


def _by_operator(runs: Sequence[Ablation]) -> dict[str, list[AblationVerdict]]:
    names = dict.fromkeys(each.operator for each in runs)
    return {name: [each.verdict for each in runs if each.operator == name and each.verdict] for name in names}


def _operators_agree(variant: str, runs: Sequence[Ablation]) -> Part:
    verdicts = {operator: found for operator, found in _by_operator(runs).items() if found}
    if not verdicts:
        return missing(variant, LOWERS, f"{variant} has no emergent heads to ablate")
    agree = [operator for operator, found in verdicts.items() if _lowers(found)]
    against = [operator for operator, found in verdicts.items() if all(v.reading == NOT_SUPPORTED for v in found)]
    state = HOLDS if len(agree) >= AGREEING else FAILS if len(against) > 4 - AGREEING else OPEN
    reason = (
        f"of {len(verdicts)} operators run on {variant} ({', '.join(verdicts)}), {len(agree)} lower pass@1 more than "
        f"matched random sets and {len(against)} do not; {AGREEING} must agree"
    )
    return Part(variant, LOWERS, None, ">", float(AGREEING - 1), None, state, reason)


def _lowers(verdicts: Sequence[AblationVerdict]) -> bool:
    """Whether a supported verdict on any task survives Holm's correction over the tasks."""
    adjusted = holm(np.array([verdict.p_value for verdict in verdicts]))
    return any(_lower(v) and p <= ALPHA for v, p in zip(verdicts, adjusted, strict=True))


def _lower(verdict: AblationVerdict) -> bool:
    return verdict.reading == SUPPORTED and verdict.direction == "lower"


def _trade(variant: str, runs: Sequence[Ablation]) -> Part:
    verdicts = {operator: found for operator, found in _by_operator(runs).items() if len(found) > 1}
    if not verdicts:
        return missing(variant, TRADES, f"{variant} was scaled on fewer than two tasks, or has no emergent heads")
    every = [verdict for found in verdicts.values() for verdict in found]
    adjusted = dict(zip(map(id, every), holm(np.array([_p(verdict.effect) for verdict in every])), strict=True))
    traded = [
        operator
        for operator, found in verdicts.items()
        if {np.sign(v.effect.value) for v in found if adjusted[id(v)] <= ALPHA} == {-1.0, 1.0}
    ]
    excluded = all(
        all(v.effect.low > -MARGIN for v in found) or all(v.effect.high < MARGIN for v in found)
        for found in verdicts.values()
    )
    told = "; ".join(f"{operator}: {_effects(found)}" for operator, found in verdicts.items())
    state = HOLDS if traded else FAILS if excluded else OPEN
    return Part(variant, TRADES, None, ">", 0.0, None, state, f"change of pass@1 of {variant} at each scale: {told}")


def _effects(verdicts: Sequence[AblationVerdict]) -> str:
    return ", ".join(f"{verdict.task} {shown(verdict.effect)}" for verdict in verdicts)


def _p(effect: Estimate) -> float:
    """Two-sided p of no change, read off the interval as a normal one."""
    width = effect.high - effect.low
    if not width > 0:
        return 1.0 if effect.value == 0 else 0.0
    return float(2 * norm.sf(abs(effect.value) / (width / (2 * norm.ppf(0.975)))))
