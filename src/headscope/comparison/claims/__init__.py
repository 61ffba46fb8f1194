"""Claims C1-C10 of the paper, judged on any study; the rules are in docs/claims.md and were fixed before any run."""

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
from headscope.comparison.claims.gaps import Gap, RecipeFacts, StudyFacts, TaskFacts
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
"""One module per claim, C1 first: ``judge`` of results, ``find_gaps`` of a study before it is run."""


def judge(results: StudyResults) -> tuple[Claim, ...]:
    """Return the verdict on every claim, C1 first."""
    return tuple(claim.judge(results) for claim in CLAIMS)


def find_gaps(facts: StudyFacts) -> dict[str, list[Gap]]:
    """Return what a study lacks to decide each claim, by its name; nothing for one that it can decide."""
    return {f"C{number}": claim.find_gaps(facts) for number, claim in enumerate(CLAIMS, start=1)}


__all__ = [
    "Ablation",
    "Answers",
    "Claim",
    "Gap",
    "Modes",
    "RecipeFacts",
    "Run",
    "StudyFacts",
    "StudyResults",
    "TaskFacts",
    "find_gaps",
    "judge",
]
