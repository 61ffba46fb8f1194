"""C6: does ablating emergent heads lower accuracy, more than controls?"""

from collections.abc import Sequence

import numpy as np

from headscope.comparison.ablation_evidence import AGREEING_OPERATORS, OPERATOR_COUNT
from headscope.comparison.claims.gaps import Gap, StudyFacts, ablated_task_gaps, control_gaps
from headscope.comparison.claims.parts import judge_claim, missing_part
from headscope.comparison.claims.study_results import (
    Ablation,
    StudyResults,
    choose_emergent,
    group_by,
    verdicts_by_operator,
)
from headscope.errors import count_noun
from headscope.measures.multiplicity import holm
from headscope.operator_names import ABLATION_OPERATORS
from headscope.results.claim import FAILS, HOLDS, OPEN, Claim, Part
from headscope.results.numbers import ALPHA
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, AblationVerdict

STATISTIC = "operators under which removing emergent heads lowers pass@1"


def judge(results: StudyResults) -> Claim:
    """Judge whether enough operators agree, for every variant on its own."""
    by_variant = group_by(results.removals(results.emergent), lambda ablation: ablation.variant)
    parts = [_part(variant, ablations) for variant, ablations in by_variant.items()]
    question = "Does ablating emergent heads lower accuracy, more than controls?"
    return judge_claim("C6", question, parts, "no emergent heads are ablated while the model generates")


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: the group, operators, a task, controls."""
    if not facts.recipes or not choose_emergent(facts.groups):
        return [Gap("no emergent heads are ablated (ablate.heads: [emergent])")]
    removing = [operator for operator in facts.operators if operator in ABLATION_OPERATORS]
    gaps = []
    if len(removing) < AGREEING_OPERATORS:
        count = count_noun(len(removing), "operator")
        setting = "(ablate.generated: [zero, mean, resample])"
        gaps.append(Gap(f"heads are removed by {count}, and {AGREEING_OPERATORS} must agree {setting}"))
    return gaps + ablated_task_gaps(facts, 1) + control_gaps(facts)


def _part(variant: str, ablations: Sequence[Ablation]) -> Part:
    operators, agreeing, against = [], [], []
    for operator, verdicts in verdicts_by_operator(ablations).items():
        operators.append(operator)
        if _is_lowering(verdicts):
            agreeing.append(operator)
        if all(verdict.reading == NOT_SUPPORTED for verdict in verdicts):
            against.append(operator)
    if not operators:
        return missing_part(variant, STATISTIC, f"{variant} has no emergent heads to ablate")
    state = _state(len(agreeing), len(against))
    reason = (
        f"of {len(operators)} operators run on {variant} ({', '.join(operators)}; its {ablations[0].group} heads), "
        f"{len(agreeing)} lower pass@1 more than matched random sets and {len(against)} do not; "
        f"{AGREEING_OPERATORS} must agree"
    )
    return Part(variant, STATISTIC, None, ">", float(AGREEING_OPERATORS - 1), None, state, reason)


def _state(agreeing: int, against: int) -> str:
    """Return whether enough operators agree, or can no longer agree: against more than one of four, three cannot."""
    if agreeing >= AGREEING_OPERATORS:
        return HOLDS
    return FAILS if against > OPERATOR_COUNT - AGREEING_OPERATORS else OPEN


def _is_lowering(verdicts: Sequence[AblationVerdict]) -> bool:
    """Return whether a supported verdict on any task survives Holm's correction over the tasks."""
    adjusted = holm(np.array([verdict.p_value for verdict in verdicts]))
    for verdict, p_value in zip(verdicts, adjusted, strict=True):
        if verdict.reading == SUPPORTED and verdict.direction == "lower" and p_value <= ALPHA:
            return True
    return False
