"""C8: think-on and think-off of one model."""

from headscope.comparison.claims.deciding import claim, part
from headscope.comparison.claims.emerging import MANY
from headscope.comparison.claims.study_results import StudyResults
from headscope.measures.independent_estimates import pool_estimates, scale_estimate
from headscope.results.claim import Claim, Part

BROADER = "active heads think-off − think-on at equal faithfulness"


def nothing_of_its_own(results: StudyResults) -> Claim:
    """C8."""
    parts: list[Part] = []
    for recipe in dict.fromkeys(modes.recipe for modes in results.thinking):
        seeds = [modes.found for modes in results.thinking if modes.recipe == recipe]
        exclusive = pool_estimates(
            [scale_estimate(each.change.excess.new, 1 / each.change.status.size) for each in seeds]
        )
        null = pool_estimates([scale_estimate(each.change.null.new, 1 / each.change.status.size) for each in seeds])
        parts.append(part(recipe, "excess of heads only think-on has", exclusive, "<", MANY, null=null))
        parts.append(part(recipe, BROADER, pool_estimates([each.broader for each in seeds]), ">", 0.0))
    question = "Has think-on no exclusive heads, and does think-off recruit a broader set?"
    return claim("C8", question, parts, "the study scores no model with thinking both on and off")
