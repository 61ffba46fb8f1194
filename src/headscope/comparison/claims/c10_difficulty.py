"""C10: does post-training solve harder problems and lose easy ones to over-thinking and slips?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.claims.gaps import Gap, StudyFacts
from headscope.comparison.claims.lost_answers import excess_of_labels
from headscope.comparison.claims.parts import judge_claim, judge_part, missing_part
from headscope.comparison.claims.study_results import Answers, StudyResults, group_by
from headscope.comparison.claims.tiers import low_tiers
from headscope.measures.independent_estimates import pool_estimates
from headscope.measures.intervals import paired_difference
from headscope.results.claim import Claim, Part
from headscope.results.estimate import Estimate

HARD, EASY = 1 / 4, 3 / 4
"""A problem is hard if at most ``HARD`` of the first half of the base's samples are right, easy if at least ``EASY``
are."""

FEWEST_SAMPLES = 4
LABELLED = "share of over-thinking, loops and slips among lost answers − among those wrong before and after"
_LEAST = (FEWEST_PROBLEMS, "problems")


def judge(results: StudyResults) -> Claim:
    """Judge every recipe: the problems of all tasks of a run are joined, and the runs of its seeds pooled."""
    parts: list[Part] = []
    reasoning = [answers for answers in results.answers if not answers.recall]
    for recipe, answers in group_by(reasoning, lambda answers: answers.recipe).items():
        parts += _parts(recipe, answers)
    question = "Does post-training solve harder problems and lose easy ones to over-thinking and slips?"
    lacking = "no base and post-trained model answered the same problems of a task that is not recall"
    return judge_claim("C10", question, parts, lacking)


def find_gaps(facts: StudyFacts) -> list[Gap]:
    """Return what the study lacks: a post-trained model, a task with something to work out, problems, samples."""
    reasoning = [task for task in facts.evaluated if not task.recall]
    if not facts.recipes or not reasoning:
        return [Gap("no post-trained model is asked a task that is not recall")]
    gaps = []
    if facts.samples < FEWEST_SAMPLES:
        gaps.append(Gap(f"eval.samples is {facts.samples}: difficulty needs {FEWEST_SAMPLES} answers per problem"))
    counts = [task.problems for task in reasoning]
    problems = sum(count for count in counts if count is not None)
    if None not in counts and problems < 2 * FEWEST_PROBLEMS:
        gaps.append(Gap(f"{problems} problems hold no {FEWEST_PROBLEMS} hard and {FEWEST_PROBLEMS} easy ones"))
    return gaps


@dataclass(frozen=True, eq=False)
class _Problems:
    """The problems of all tasks of one run.

    solved: share of the base's first answers that are right; before: of its other answers; after: of those after
        training.
    low: whether the problem is of a low tier. never: whether no answer of either model is right.
    labels: why each answer after training is wrong, by problem; None if answers were not read.
    """

    solved: Float[np.ndarray, "problem"]
    before: Float[np.ndarray, "problem"]
    after: Float[np.ndarray, "problem"]
    low: Bool[np.ndarray, "problem"]
    never: Bool[np.ndarray, "problem"]
    labels: tuple[tuple[str, ...], ...] | None

    @classmethod
    def of(cls, tasks: Sequence[Answers]) -> "_Problems":
        """Join the tasks of one run."""
        low = low_tiers({tier for task in tasks for tier in task.tiers})
        firsts, befores = [], []
        labels: list[tuple[str, ...]] = []
        for task in tasks:
            # Difficulty from the base's first half of the samples, the change from the second: choosing and counting
            # on the same samples would show gains on hard and losses on easy problems in any noise.
            middle = task.base.shape[1] // 2
            firsts.append(task.base[:, :middle].mean(axis=1))
            befores.append(task.base[:, middle:].mean(axis=1))
            labels += task.failures or ()
        return cls(
            solved=np.concatenate(firsts),
            before=np.concatenate(befores),
            after=np.concatenate([task.post.mean(axis=1) for task in tasks]),
            low=np.array([tier in low for task in tasks for tier in task.tiers], dtype=bool),
            never=np.concatenate([~task.base.any(axis=1) & ~task.post.any(axis=1) for task in tasks]),
            labels=None if any(task.failures is None for task in tasks) else tuple(labels),
        )

    @property
    def easy(self) -> "Bool[np.ndarray, 'problem']":
        """Return which problems are of a low tier and solved by the base."""
        return np.asarray((self.solved >= EASY) & self.low)

    def change(self, chosen: "Bool[np.ndarray, 'problem']") -> Estimate:
        """Return the change of pass@1 on some of the problems."""
        return paired_difference(self.after[chosen], self.before[chosen])

    def excess_of_labels(self) -> Estimate | None:
        """Return how much more of the lost answers are labelled than of those wrong in both; None if not read."""
        if self.labels is None:
            return None
        lost = [row for row, is_easy in zip(self.labels, self.easy, strict=True) if is_easy]
        both = [row for row, is_never in zip(self.labels, self.never, strict=True) if is_never]
        return excess_of_labels(lost, both)


def _parts(recipe: str, answers: Sequence[Answers]) -> list[Part]:
    fewest = min(task.base.shape[1] for task in answers)
    if fewest < FEWEST_SAMPLES:
        reason = f"the base answered {fewest} times per problem; at least {FEWEST_SAMPLES} samples are needed"
        return [missing_part(recipe, "change on hard and easy problems", reason)]
    runs = [_Problems.of(tasks) for tasks in group_by(answers, lambda task: task.variant).values()]
    hard = pool_estimates([run.change(run.solved <= HARD) for run in runs])
    easy = pool_estimates([run.change(run.easy) for run in runs])
    parts = [
        judge_part(recipe, "change on hard problems", hard, ">", 0.0, least=_LEAST),
        judge_part(recipe, "change on easy problems", easy, "<", 0.0, least=_LEAST),
    ]
    labelled = [share for run in runs if (share := run.excess_of_labels()) is not None]
    if labelled:
        least = (FEWEST_PROBLEMS, "problems on either side")
        return [*parts, judge_part(recipe, LABELLED, pool_estimates(labelled), ">", 0.0, least=least)]
    reason = f"the answers of {recipe} were not read for why they are wrong; headscope eval does that"
    return [*parts, missing_part(recipe, LABELLED, reason)]
