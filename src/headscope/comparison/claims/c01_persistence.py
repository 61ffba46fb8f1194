"""C1: do SFT and distillation add many heads that persist?"""

from headscope.comparison.claims.gaps import Gap, StudyFacts, checkpoint_gaps, pair_gaps, twin_gaps
from headscope.comparison.claims.new_heads import excess_part, new_heads_part, remaining_parts, training_effect_parts
from headscope.comparison.claims.parts import judge_claim
from headscope.comparison.claims.study_results import StudyResults
from headscope.results.claim import Claim, Part


def judge(results: StudyResults) -> Claim:
    """Judge the excess of new heads, their number against null twins, their effect, and the share that remains."""
    parts: list[Part] = []
    recipes = results.recipes("sft", "distill")
    for recipe, runs in recipes.items():
        twins = results.null_twins(recipe)
        parts.append(excess_part(recipe, runs, ">", twins))
        # A twin trained without the signal shows how many heads training alone makes new.
        for twin in twins:
            parts.append(new_heads_part(recipe, runs, f"its twin {twin.variant}", [twin], ">"))
        parts += training_effect_parts(recipe, runs)
    parts += remaining_parts(recipes, ">")
    question = "Do SFT and distillation add many heads that persist?"
    return judge_claim("C1", question, parts, "no SFT or distillation run is compared with its base")


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: a supervised run, two checkpoints of it, a null twin."""
    recipes = facts.of_method("sft", "distill")
    if not recipes:
        return [Gap("no variant is trained by SFT or distillation (of one trained elsewhere, method: says so)")]
    return [*pair_gaps(facts), *checkpoint_gaps(recipes), *twin_gaps(recipes)]
