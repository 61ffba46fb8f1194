"""C10: does post-training solve harder problems and lose easy ones?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.claims.deciding import claim, missing, part
from headscope.comparison.claims.study_results import Answers, StudyResults
from headscope.measures.independent_estimates import pool_estimates
from headscope.measures.intervals import paired_difference
from headscope.results.claim import Claim, Part
from headscope.results.estimate import Estimate

HARD, EASY = 1 / 4, 3 / 4
"""Share of the base's first samples that are right: at most, at least."""

FEWEST_SAMPLES = 4
LABELLED = "share of lost answers labelled over-thinking or calculation error"


def harder_for_easy(results: StudyResults) -> Claim:
    """C10. The problems of all tasks of a run are taken together, the runs of a recipe's seeds pooled."""
    parts: list[Part] = []
    for recipe in dict.fromkeys(each.recipe for each in results.answers):
        runs: dict[str, list[Answers]] = {}
        for each in results.answers:
            if each.recipe == recipe:
                runs.setdefault(each.variant, []).append(each)
        parts += _parts(recipe, list(runs.values()))
    question = "Does post-training solve harder problems and lose easy ones to over-thinking and slips?"
    return claim("C10", question, parts, "the study evaluates no base and post-trained model on the same problems")


def _parts(recipe: str, runs: Sequence[Sequence[Answers]]) -> list[Part]:
    fewest = min(each.base.shape[1] for answers in runs for each in answers)
    if fewest < FEWEST_SAMPLES:
        reason = f"the base answered {fewest} times per problem; at least {FEWEST_SAMPLES} samples are needed"
        return [missing(recipe, "change on hard and easy problems", reason)]
    hard, easy = zip(*map(_changes, runs), strict=True)
    least = (FEWEST_PROBLEMS, "problems")
    parts = [
        part(recipe, "change on hard problems", pool_estimates(hard), ">", 0.0, least=least),
        part(recipe, "change on easy problems", pool_estimates(easy), "<", 0.0, least=least),
    ]
    labelled = [each.lost_to_slips for answers in runs for each in answers if each.lost_to_slips is not None]
    if labelled:
        return parts + [part(recipe, LABELLED, each, ">", 0.5, least=(FEWEST_PROBLEMS, "answers")) for each in labelled]
    return [*parts, missing(recipe, LABELLED, f"the lost answers of {recipe} carry no labels of why they were lost")]


def _changes(answers: Sequence[Answers]) -> tuple[Estimate, Estimate]:
    """Of one run: on the problems that are hard, and on those that are easy for the base."""
    chosen, before, after = (np.concatenate(column) for column in zip(*map(_halves, answers), strict=True))
    hard, easy = (paired_difference(after[rows], before[rows]) for rows in (chosen <= HARD, chosen >= EASY))
    return hard, easy


Shares = Float[np.ndarray, "problem"]


def _halves(answers: Answers) -> tuple["Shares", "Shares", "Shares"]:
    """Per problem: the base's share in its first half of the samples, in its second half, and the post model's."""
    base: Bool[np.ndarray, "problem sample"] = answers.base
    middle = base.shape[1] // 2
    return base[:, :middle].mean(axis=1), base[:, middle:].mean(axis=1), answers.post.mean(axis=1)
