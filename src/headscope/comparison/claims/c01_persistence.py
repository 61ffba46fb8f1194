"""C1: do SFT and distillation add many heads that persist?"""

from headscope.comparison.claims.new_heads import excess_part, new_heads, remaining_part
from headscope.comparison.claims.parts import judge_claim, judge_part
from headscope.comparison.claims.study_results import StudyResults
from headscope.measures.independent_estimates import difference
from headscope.results.claim import Claim, Part


def judge(results: StudyResults) -> Claim:
    """Judge the excess of new heads, their number against null twins, and the share that remains."""
    parts: list[Part] = []
    for recipe, runs in results.recipes("sft", "distill").items():
        parts.append(excess_part(recipe, runs, ">"))
        # A twin trained without the signal shows how many heads training alone makes new.
        for twin in results.null_twins(recipe):
            above_twin = difference(new_heads(runs), twin.last.counts.new)
            parts.append(judge_part(recipe, f"new heads − those of its twin {twin.variant}", above_twin, ">", 0.0))
        parts.append(remaining_part(recipe, runs, ">"))
    question = "Do SFT and distillation add many heads that persist?"
    return judge_claim("C1", question, parts, "the study has no SFT or distillation run")
