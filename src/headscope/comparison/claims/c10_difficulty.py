"""C10: does post-training solve harder problems and lose easy ones?"""

from collections.abc import Sequence

import numpy as np

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.claims.parts import judge_claim, judge_part, missing_part
from headscope.comparison.claims.study_results import Answers, StudyResults, group_by
from headscope.measures.independent_estimates import pool_estimates
from headscope.measures.intervals import paired_difference
from headscope.results.claim import Claim, Part
from headscope.results.estimate import Estimate

HARD, EASY = 1 / 4, 3 / 4
"""Share of the base's first samples that are right: at most, at least."""

FEWEST_SAMPLES = 4
LABELLED = "share of lost answers labelled over-thinking or calculation error"


def judge(results: StudyResults) -> Claim:
    """Judge every recipe: the problems of all tasks of a run are taken together, the runs of its seeds pooled."""
    parts: list[Part] = []
    for recipe, answers in group_by(results.answers, lambda answers: answers.recipe).items():
        parts += _parts(recipe, answers)
    question = "Does post-training solve harder problems and lose easy ones to over-thinking and slips?"
    return judge_claim(
        "C10", question, parts, "the study evaluates no base and post-trained model on the same problems"
    )


def _parts(recipe: str, answers: Sequence[Answers]) -> list[Part]:
    fewest = min(task.base.shape[1] for task in answers)
    if fewest < FEWEST_SAMPLES:
        reason = f"the base answered {fewest} times per problem; at least {FEWEST_SAMPLES} samples are needed"
        return [missing_part(recipe, "change on hard and easy problems", reason)]
    hard, easy = [], []
    labelled: list[Estimate] = []
    for run in group_by(answers, lambda task: task.variant).values():
        hard_change, easy_change = _changes(run)
        hard.append(hard_change)
        easy.append(easy_change)
        labelled += [task.lost_to_slips for task in run if task.lost_to_slips is not None]
    least = (FEWEST_PROBLEMS, "problems")
    parts = [
        judge_part(recipe, "change on hard problems", pool_estimates(hard), ">", 0.0, least=least),
        judge_part(recipe, "change on easy problems", pool_estimates(easy), "<", 0.0, least=least),
    ]
    for share in labelled:
        parts.append(judge_part(recipe, LABELLED, share, ">", 0.5, least=(FEWEST_PROBLEMS, "answers")))
    if not labelled:
        reason = f"the lost answers of {recipe} carry no labels of why they were lost"
        parts.append(missing_part(recipe, LABELLED, reason))
    return parts


def _changes(answers: Sequence[Answers]) -> tuple[Estimate, Estimate]:
    """Return one run's change on the problems that are hard for the base, and on those that are easy for it."""
    difficulties, befores, afters = [], [], []
    for task in answers:
        # Difficulty from the base's first half of the samples, the change from the second: choosing and counting on the
        # same samples would show gains on hard and losses on easy problems in any noise.
        middle = task.base.shape[1] // 2
        difficulties.append(task.base[:, :middle].mean(axis=1))
        befores.append(task.base[:, middle:].mean(axis=1))
        afters.append(task.post.mean(axis=1))
    solved, before, after = np.concatenate(difficulties), np.concatenate(befores), np.concatenate(afters)
    is_hard, is_easy = solved <= HARD, solved >= EASY
    hard = paired_difference(after[is_hard], before[is_hard])
    easy = paired_difference(after[is_easy], before[is_easy])
    return hard, easy
