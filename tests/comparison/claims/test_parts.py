"""The calculus of parts, and the claims of a study without any result."""

import pytest
from tests.comparison.claims.builders import estimate

from headscope.comparison.claims import StudyResults, judge
from headscope.comparison.claims.parts import judge_claim, judge_part, missing_part
from headscope.errors import InputError
from headscope.results.claim import FAILS, HOLDS, OPEN, Claims
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED


def test_a_part_holds_fails_or_is_open_by_its_whole_interval() -> None:
    states = [judge_part("x", "s", estimate(value, 1), ">", 0.0).state for value in (1.5, 1.0, -1.0, -0.5)]
    assert states == [HOLDS, OPEN, FAILS, OPEN]
    assert [judge_part("x", "s", estimate(value, 1), "<", 0.0).state for value in (-1.5, 1.0)] == [HOLDS, FAILS]
    assert judge_part("x", "s", estimate(float("nan")), ">", 0.0).state == OPEN
    few = judge_part("x", "s", estimate(1.0, n=4), ">", 0.0, least=(5, "heads"))
    assert few.state == OPEN
    assert "4 heads; at least 5" in few.reason


def test_a_claim_is_the_conjunction_of_its_parts() -> None:
    holds, fails = judge_part("x", "s", estimate(1), ">", 0.0), judge_part("y", "s", estimate(-1), ">", 0.0)
    opened = missing_part("z", "s", "nothing was run")
    assert judge_claim("C0", "?", [holds, holds], "").reading == SUPPORTED
    assert judge_claim("C0", "?", [holds, opened, fails], "").reading == NOT_SUPPORTED
    assert judge_claim("C0", "?", [holds, opened], "").reason == "nothing was run"
    assert (judge_claim("C0", "?", [], "no run").reading, judge_claim("C0", "?", [], "no run").reason) == (
        UNDECIDED,
        "no run",
    )


def test_an_empty_study_leaves_all_ten_undecided_with_a_reason() -> None:
    claims = judge(StudyResults())
    assert [claim.name for claim in claims] == [f"C{number}" for number in range(1, 11)]
    assert {claim.reading for claim in claims} == {UNDECIDED}
    assert all(claim.reason and claim.question.endswith("?") for claim in claims)
    saved = Claims(claims).as_dict()
    assert Claims.from_dict(saved) == Claims(claims)
    with pytest.raises(InputError, match="schema_version"):
        Claims.from_dict(saved | {"schema_version": 9})
