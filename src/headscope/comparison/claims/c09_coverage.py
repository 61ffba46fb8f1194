"""C9: does ablating think-off heads raise pass@1 and lower coverage at large k?"""

from collections.abc import Sequence

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.claims.gaps import Gap, StudyFacts, ablated_task_gaps, thinking_gaps
from headscope.comparison.claims.parts import judge_claim, judge_part, missing_part
from headscope.comparison.claims.study_results import Ablation, StudyResults, group_by
from headscope.measures.independent_estimates import pool_estimates
from headscope.results.claim import Claim, Part
from headscope.results.head_sets import THINK_OFF_ONLY

LARGE_K = 8
_LEAST = (FEWEST_PROBLEMS, "problems")


def judge(results: StudyResults) -> Claim:
    """Judge every operator on every task, without the heads that the model has with thinking off alone."""
    recipes = {modes.variant: modes.recipe for modes in results.thinking}
    removed = [ablation for ablation in results.removals(THINK_OFF_ONLY) if ablation.variant in recipes]
    by_subject = group_by(
        removed, lambda ablation: f"{recipes[ablation.variant]} on {ablation.task}, {ablation.operator}"
    )
    parts: list[Part] = []
    for subject, ablations in by_subject.items():
        parts += _parts(subject, ablations)
    question = "Does ablating think-off heads raise pass@1 and lower coverage at large k?"
    return judge_claim("C9", question, parts, "no heads that only think-off has are ablated")


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: both modes, the group, samples, problems."""
    if not facts.thinking:
        return thinking_gaps(facts)
    if THINK_OFF_ONLY not in facts.groups or not facts.operators:
        return [Gap(f"heads that only think-off has are not ablated (ablate.heads: [{THINK_OFF_ONLY}])")]
    gaps = ablated_task_gaps(facts, 1)
    if facts.ablated_samples < LARGE_K:
        gaps.append(Gap(f"ablate.samples is {facts.ablated_samples}: coverage at large k needs {LARGE_K}"))
    return gaps


def _parts(subject: str, ablations: Sequence[Ablation]) -> list[Part]:
    """Return the parts about pass@1 and coverage, over the seeds that have such heads."""
    effects = [ablation.verdict.effect for ablation in ablations if ablation.verdict is not None]
    if not effects:
        return [missing_part(subject, "change of pass@1", f"{subject}: no seed has heads that only think-off has")]
    pass_part = judge_part(subject, "change of pass@1", pool_estimates(effects), ">", 0.0, least=_LEAST)
    coverages = [ablation.coverage for ablation in ablations if ablation.coverage is not None]
    numbers = {k for k, _ in coverages}
    k = min(numbers, default=0)
    reason = ""
    if k < LARGE_K:
        reason = f"{subject} has too few samples per problem for pass@{LARGE_K}"
    elif len(numbers) > 1:
        reason = f"{subject}: its seeds have {sorted(numbers)} samples per problem, so that no pass@k is of all of them"
    if reason:
        return [pass_part, missing_part(subject, "change of coverage", reason)]
    coverage = pool_estimates([change for _, change in coverages])
    return [pass_part, judge_part(subject, f"change of pass@{k}", coverage, "<", 0.0, least=_LEAST)]
