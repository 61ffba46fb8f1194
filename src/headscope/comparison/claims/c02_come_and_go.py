"""C2: does GRPO add few heads, which come and go?"""

from headscope.comparison.claims.new_heads import excess_part, new_heads, remaining_part
from headscope.comparison.claims.parts import judge_claim, judge_part
from headscope.comparison.claims.study_results import StudyResults
from headscope.measures.independent_estimates import difference
from headscope.results.claim import Claim, Part


def judge(results: StudyResults) -> Claim:
    """Judge the excess of new heads, their number against supervised recipes, and the share that remains."""
    supervised = results.recipes("sft", "distill")
    parts: list[Part] = []
    for recipe, runs in results.recipes("grpo").items():
        parts.append(excess_part(recipe, runs, "<"))
        for supervised_recipe, supervised_runs in supervised.items():
            change = difference(new_heads(runs), new_heads(supervised_runs))
            parts.append(judge_part(recipe, f"new heads − those of {supervised_recipe}", change, "<", 0.0))
        parts.append(remaining_part(recipe, runs, "<"))
    return judge_claim("C2", "Does GRPO add few heads, which come and go?", parts, "the study has no GRPO run")
