"""C10: does post-training solve harder problems and lose easy ones?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.claims.deciding import claim, missing, part
from headscope.comparison.claims.evidence import Answers, Evidence
from headscope.measures.intervals import paired_difference
from headscope.results.claim import Claim, Part

HARD, EASY = 1 / 4, 3 / 4
"""Share of the base's first samples that are right: at most, at least."""

FEWEST_SAMPLES = 4
LABELLED = "share of lost answers labelled over-thinking or calculation error"


def harder_for_easy(evidence: Evidence) -> Claim:
    """C10. The problems of all tasks of a variant are taken together."""
    parts: list[Part] = []
    for variant in dict.fromkeys(each.variant for each in evidence.answers):
        parts += _parts(variant, [each for each in evidence.answers if each.variant == variant])
    question = "Does post-training solve harder problems and lose easy ones to over-thinking and slips?"
    return claim("C10", question, parts, "the study evaluates no base and post-trained model on the same problems")


def _parts(variant: str, answers: Sequence[Answers]) -> list[Part]:
    fewest = min(each.base.shape[1] for each in answers)
    if fewest < FEWEST_SAMPLES:
        reason = f"the base answered {fewest} times per problem; at least {FEWEST_SAMPLES} samples are needed"
        return [missing(variant, "change on hard and easy problems", reason)]
    chosen, before, after = (np.concatenate(column) for column in zip(*map(_halves, answers), strict=True))
    least = (FEWEST_PROBLEMS, "problems")
    parts = [
        part(
            variant, f"change on {name} problems", paired_difference(after[rows], before[rows]), side, 0.0, least=least
        )
        for name, rows, side in (("hard", chosen <= HARD, ">"), ("easy", chosen >= EASY, "<"))
    ]
    labelled = [each.lost_to_slips for each in answers if each.lost_to_slips is not None]
    if labelled:
        return parts + [
            part(variant, LABELLED, each, ">", 0.5, least=(FEWEST_PROBLEMS, "answers")) for each in labelled
        ]
    return [*parts, missing(variant, LABELLED, f"the lost answers of {variant} carry no labels of why they were lost")]


Shares = Float[np.ndarray, "problem"]


def _halves(answers: Answers) -> tuple["Shares", "Shares", "Shares"]:
    """Per problem: the base's share in its first half of the samples, in its second half, and the post model's."""
    base: Bool[np.ndarray, "problem sample"] = answers.base
    middle = base.shape[1] // 2
    return base[:, :middle].mean(axis=1), base[:, middle:].mean(axis=1), answers.post.mean(axis=1)
