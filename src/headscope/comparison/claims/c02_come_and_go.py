"""C2: does GRPO add few heads, which come and go?"""

from headscope.comparison.claims.gaps import Gap, StudyFacts, checkpoint_gaps, pair_gaps, twin_gaps
from headscope.comparison.claims.new_heads import excess_part, excess_share, new_heads_part, remaining_parts
from headscope.comparison.claims.parts import judge_claim
from headscope.comparison.claims.study_results import StudyResults
from headscope.results.claim import Claim, Part


def judge(results: StudyResults) -> Claim:
    """Judge the excess of new heads, their number against supervised recipes that add some, and the share that
    remains.
    """
    # A supervised recipe without an excess of new heads cannot show that GRPO adds fewer.
    supervised = {}
    for recipe, runs in results.recipes("sft", "distill").items():
        if excess_share([run.last for run in runs]).low > 0:
            supervised[recipe] = runs
    parts: list[Part] = []
    recipes = results.recipes("grpo")
    for recipe, runs in recipes.items():
        parts.append(excess_part(recipe, runs, "<", results.null_twins(recipe)))
        for supervised_recipe, supervised_runs in supervised.items():
            parts.append(new_heads_part(recipe, runs, supervised_recipe, supervised_runs, "<"))
    parts += remaining_parts(recipes, "<")
    return judge_claim(
        "C2", "Does GRPO add few heads, which come and go?", parts, "no GRPO run is compared with its base"
    )


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: a GRPO run, two checkpoints of it, a supervised run to compare with."""
    recipes = facts.of_method("grpo")
    if not recipes:
        return [Gap("no variant is trained by GRPO (of one trained elsewhere, method: says so)")]
    gaps = [*pair_gaps(facts), *checkpoint_gaps(recipes), *twin_gaps(recipes)]
    if not facts.of_method("sft", "distill"):
        gaps.append(Gap("no SFT or distillation to compare the number with", blocks=False))
    return gaps
