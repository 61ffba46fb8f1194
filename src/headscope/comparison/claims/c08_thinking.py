"""C8: has think-on no exclusive heads, and does think-off recruit a broader set?"""

from dataclasses import replace

from headscope.comparison.claims.gaps import Gap, StudyFacts, pair_gaps, thinking_gaps
from headscope.comparison.claims.new_heads import MANY, excess_share, null_share
from headscope.comparison.claims.parts import judge_claim, judge_part, missing_part
from headscope.comparison.claims.study_results import StudyResults, group_by
from headscope.measures.independent_estimates import pool_estimates
from headscope.results.claim import Claim, Part

EXCLUSIVE = "excess of heads only think-on has"
BROADER = "active heads think-off − think-on at equal faithfulness"

STYLE = "openings of both modes differ in style too (contrast: lab-leaf or a file of pairs does not)"
SHORTEST_OPENING = 8
"""Tokens: two modes begin an answer in two styles, and a shorter opening holds little else."""


def judge(results: StudyResults) -> Claim:
    """Judge the heads that only think-on has, and how many more active heads think-off has."""
    parts: list[Part] = []
    for recipe, seeds in group_by(results.thinking, lambda modes: modes.recipe).items():
        shortest = min((modes.opening_tokens for modes in seeds if modes.opening_tokens is not None), default=None)
        if shortest is not None and shortest < SHORTEST_OPENING:
            parts.append(missing_part(recipe, EXCLUSIVE, _describe_style(shortest)))
            continue
        changes = [modes.thinking.change for modes in seeds]
        exclusive = judge_part(recipe, EXCLUSIVE, excess_share(changes), "<", MANY, null=null_share(changes))
        broader = pool_estimates([modes.thinking.broader for modes in seeds])
        for part in (exclusive, judge_part(recipe, BROADER, broader, ">", 0.0)):
            parts.append(part if shortest is None else replace(part, reason=f"{part.reason}; {STYLE}"))
    question = "Has think-on no exclusive heads, and does think-off recruit a broader set?"
    return judge_claim("C8", question, parts, "no model is scored with thinking both on and off")


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: one model in both modes, pairs that do not differ in style alone."""
    if not facts.thinking:
        return thinking_gaps(facts)
    gaps = pair_gaps(facts)
    if facts.opening_tokens is not None:
        short = facts.opening_tokens < SHORTEST_OPENING
        gaps.append(Gap(_describe_style(facts.opening_tokens)) if short else Gap(STYLE, blocks=False))
    return gaps


def _describe_style(tokens: int) -> str:
    return (
        f"the pairs are openings of {tokens} tokens, which tell the two modes' styles apart and little else; "
        f"{SHORTEST_OPENING} tokens, contrast: lab-leaf or a file of pairs is needed"
    )
