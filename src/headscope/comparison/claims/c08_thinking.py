"""C8: has think-on no exclusive heads, and does think-off recruit a broader set?"""

from headscope.comparison.claims.new_heads import MANY, excess_share, null_share
from headscope.comparison.claims.parts import judge_claim, judge_part
from headscope.comparison.claims.study_results import StudyResults, group_by
from headscope.measures.independent_estimates import pool_estimates
from headscope.results.claim import Claim, Part

EXCLUSIVE = "excess of heads only think-on has"
BROADER = "active heads think-off − think-on at equal faithfulness"


def judge(results: StudyResults) -> Claim:
    """Judge the heads only think-on has, and how many more active heads think-off has."""
    parts: list[Part] = []
    for recipe, seeds in group_by(results.thinking, lambda modes: modes.recipe).items():
        changes = [modes.thinking.change for modes in seeds]
        parts.append(judge_part(recipe, EXCLUSIVE, excess_share(changes), "<", MANY, null=null_share(changes)))
        broader = pool_estimates([modes.thinking.broader for modes in seeds])
        parts.append(judge_part(recipe, BROADER, broader, ">", 0.0))
    question = "Has think-on no exclusive heads, and does think-off recruit a broader set?"
    return judge_claim("C8", question, parts, "the study scores no model with thinking both on and off")
