"""C10: harder problems solved, easy ones lost."""

from dataclasses import replace

import numpy as np
from tests.comparison.claims.builders import read_claim

from headscope.comparison.claims import Answers, StudyResults, judge
from headscope.comparison.claims.tiers import low_tiers
from headscope.results.claim import HOLDS
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED


def answers(rate: np.ndarray, later: np.ndarray, tiers=None, kinds=("over-thinking", "plan"), seed: int = 0) -> Answers:
    """Problems the base solves with chance ``rate``, after training with ``later``; kinds: of failures, by ``rate``
    above and below a half.
    """
    rng = np.random.default_rng(seed)
    base = rng.random((len(rate), 8)) < rate[:, None]
    post = rng.random((len(rate), 8)) < later[:, None]
    failures = []
    for row, chance in zip(post, rate, strict=True):
        failures.append(tuple("" if right else kinds[0] if chance > 0.5 else kinds[1] for right in row))
    tiers = tuple(tiers or ["T1" if chance > 0.5 else "T3" for chance in rate])
    return Answers("sft", "sft", "t1", base, post, tiers, failures=tuple(failures))


RATE = np.repeat([0.02, 0.98], 40)
LOST = answers(RATE, np.repeat([0.4, 0.5], 40))
"""Hard problems are gained, easy ones lost to over-thinking; those never solved have a wrong plan."""


def read_c10(*records: Answers) -> str:
    return read_claim(StudyResults(answers=records), "C10")[0]


def test_harder_for_easy_is_supported_where_it_is_so() -> None:
    never = answers(np.full(20, 0.0), np.full(20, 0.0), seed=1)
    assert read_c10(LOST, replace(never, task="t3")) == SUPPORTED
    unread = replace(LOST, failures=None)
    assert "were not read" in read_claim(StudyResults(answers=(unread,)), "C10")[1]
    seeds = (LOST, replace(LOST, variant="sft.seed1"))
    parts = next(claim for claim in judge(StudyResults(answers=seeds)) if claim.name == "C10").parts
    assert [part.statistic for part in parts[:2]] == ["change on hard problems", "change on easy problems"]
    assert "2 seeds" in parts[0].estimate.method
    still_solved = answers(np.repeat([0.02, 0.85], 40), np.repeat([0.6, 1.0], 40))
    assert read_c10(still_solved) == NOT_SUPPORTED


def test_lost_answers_must_be_labelled_more_than_those_never_right() -> None:
    for both, verdict in (("plan", SUPPORTED), ("loop", UNDECIDED), ("form", SUPPORTED)):
        never = answers(np.full(20, 0.0), np.full(20, 0.0), kinds=(both, both), seed=1)
        assert read_c10(LOST, replace(never, task="t3")) == verdict, both
    lost_otherwise = answers(RATE, np.repeat([0.4, 0.5], 40), kinds=("plan", "calculation"))
    never = answers(np.full(40, 0.0), np.full(40, 0.0), kinds=("loop", "loop"), seed=1)
    assert read_c10(lost_otherwise, replace(never, task="t3")) == NOT_SUPPORTED


def test_easy_problems_are_of_a_low_tier_and_ask_for_more_than_a_fact() -> None:
    """What is lost on facts, or on problems of a high tier, is no easy problem lost."""
    never = replace(answers(np.full(20, 0.0), np.full(20, 0.0), seed=1), task="t3")
    recall = replace(LOST, recall=True)
    assert read_claim(StudyResults(answers=(recall,)), "C10")[1].startswith("no base and post-trained model")
    high = replace(LOST, tiers=("T4",) * 80)
    low = replace(answers(np.full(40, 0.85), np.full(40, 1.0), seed=2), tiers=("T1",) * 40, task="t0")
    assert read_c10(high, low, never) == NOT_SUPPORTED  # on T1, the only low tier, nothing is lost


def test_tiers_are_ranked_within_their_family() -> None:
    assert low_tiers({"T1", "T2", "T3", "T4"}) == {"T1", "T2"}
    assert low_tiers({"Level 5", "Level 1", "Level 3", "Level 2", "Level 4"}) == {"Level 1", "Level 2", "Level 3"}
    assert low_tiers({"", "T2", "T10", "1", "2"}) == {"", "T2", "1"}
    assert low_tiers(set()) == set()


def test_noise_alone_neither_solves_hard_nor_loses_easy_problems() -> None:
    """All problems alike and nothing changed: choosing and counting on the same samples would show both."""
    wrong = 0
    for seed in range(40):
        same = answers(np.full(120, 0.5), np.full(120, 0.5), ["T1"] * 120, seed=seed)
        parts = next(claim for claim in judge(StudyResults(answers=(same,))) if claim.name == "C10").parts
        wrong += sum(part.state == HOLDS for part in parts[:2])
    assert wrong <= 6  # 80 one-sided tests at 2.5 %: 2 expected
