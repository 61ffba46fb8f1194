"""Claims C1-C10 of the paper, asked of any study; the rules are in docs/claims.md and were fixed before any run."""

from headscope.comparison.claims.ablating import lower_accuracy, raise_pass_lower_coverage, trade_tasks
from headscope.comparison.claims.emerging import (
    few_that_come_and_go,
    late_and_early,
    many_that_persist,
    two_thirds_stay,
)
from headscope.comparison.claims.following import follow_the_reward
from headscope.comparison.claims.solving import harder_for_easy
from headscope.comparison.claims.study_results import Ablation, Answers, Modes, Run, StudyResults
from headscope.comparison.claims.thinking import nothing_of_its_own
from headscope.results.claim import Claim

CLAIMS = (
    many_that_persist,
    few_that_come_and_go,
    follow_the_reward,
    two_thirds_stay,
    late_and_early,
    lower_accuracy,
    trade_tasks,
    nothing_of_its_own,
    raise_pass_lower_coverage,
    harder_for_easy,
)


def judge(results: StudyResults) -> tuple[Claim, ...]:
    """The verdict on every claim, C1 first."""
    return tuple(claim(results) for claim in CLAIMS)


__all__ = ["Ablation", "Answers", "Claim", "Modes", "Run", "StudyResults", "judge"]
