"""Claims C1-C10 of the paper, asked of any study; the rules are in docs/claims.md and were fixed before any run."""

from headscope.comparison.claims import (
    c01_persistence,
    c02_come_and_go,
    c03_reward,
    c04_retention,
    c05_depth,
    c06_ablation,
    c07_trade,
    c08_thinking,
    c09_coverage,
    c10_difficulty,
)
from headscope.comparison.claims.study_results import Ablation, Answers, Modes, Run, StudyResults
from headscope.results.claim import Claim

CLAIMS = (
    c01_persistence,
    c02_come_and_go,
    c03_reward,
    c04_retention,
    c05_depth,
    c06_ablation,
    c07_trade,
    c08_thinking,
    c09_coverage,
    c10_difficulty,
)


def judge(results: StudyResults) -> tuple[Claim, ...]:
    """Return the verdict on every claim, C1 first."""
    return tuple(claim.judge(results) for claim in CLAIMS)


__all__ = ["Ablation", "Answers", "Claim", "Modes", "Run", "StudyResults", "judge"]
