"""Whole responses in running text: slips and their repair, stated answers, loops, and the kind of a failure."""

import pytest

from headscope.evaluation.extraction import explicit_answer
from headscope.traces import find_loop
from headscope.traces.marks import find_marks, lexicon
from headscope.traces.reading import Trace, read_text, read_trace


def trace(response: str, gold: str = "42", tokens: tuple[int, ...] = ()) -> Trace:
    steps = read_text(response, explicit_answer)
    return read_trace(response, tokens, steps, lambda value: value == gold, count=len(response))


@pytest.mark.parametrize(
    ("response", "slips", "repaired"),
    [
        ("He has 6 * 7 = 42 apples.", 0, 0),
        ("He has 6 * 7 = 43 apples. The answer is 43.", 1, 0),
        ("He has 6 * 7 = 43 apples. Wait, 6 * 7 = 42. The answer is 42.", 1, 1),
        ("He has 6 * 7 = 43 apples. Wait, 6 * 8 = 48.", 1, 0),
        ("```\nx = 2 + 2 == 5\n2 + 2 = 5\n```", 0, 0),
    ],
)
def test_slips_and_their_repair(response: str, slips: int, repaired: int) -> None:
    steps = trace(response).steps
    assert sum(step.slip == "calculation" for step in steps) == slips
    assert sum(step.repaired for step in steps) == repaired


def test_an_answer_that_was_right_and_is_given_up() -> None:
    read = trace("<think>6 * 7 = 42. So the answer is 42. Wait, let me check: the answer is 41.</think>\\boxed{41}")
    assert not read.trajectory.right
    assert read.trajectory.right_to_wrong == 1
    assert read.failure("wrong") == "over-thinking"
    assert read.failure("correct") == ""


def test_a_number_on_the_way_is_no_answer() -> None:
    assert trace("There are 42 boxes. 42 - 2 = 40. The answer is 40.").trajectory.solved_at is None


@pytest.mark.parametrize(
    ("response", "verdict", "failure"),
    [
        ("6 * 7 = 41. The answer is 41.", "wrong", "calculation"),
        ("The answer is 41.", "wrong", "guess"),
        ("The answer is 6 * 7 = 42 or 41.", "wrong", "other"),
        ("Six boxes of seven. The answer is 41.", "wrong", "other"),
        ("I do not know.", "unparsed", "no answer"),
        ("Six times", "unfinished", "unfinished"),
        ("We are going round in a circle here. " * 3, "unfinished", "loop"),
        ("So. So. So. So. The answer is 41.", "wrong", "other"),
        (
            "Let me check that again. 6 * 7 = 42. " * 3 + "Now on to " + "what else is told, " * 20,
            "unfinished",
            "unfinished",
        ),
    ],
)
def test_why_an_answer_is_wrong(response: str, verdict: str, failure: str) -> None:
    assert trace(response).failure(verdict) == failure


def test_a_periodic_tail_is_a_loop_without_steps_that_come_back() -> None:
    read = trace("one two", tokens=(1, 2, *(7, 8) * 30))
    assert read.loop == find_loop((1, 2, *(7, 8) * 30))
    assert read.failure("unfinished") == "loop"


def test_marks_are_whole_words_in_the_lexicons_order() -> None:
    assert find_marks("Hmm, WAIT. That's wrong: perhaps go back") == ("verification", "backtracking", "uncertainty")
    assert find_marks("The waiter is waiting") == ()
    assert find_marks("print(3)") == ("code",)
    for strategy, signs in lexicon().items():
        assert [sign for sign in signs if strategy not in find_marks(sign)] == []


@pytest.mark.parametrize(
    "response",
    [
        "",
        "\ufffd\u202e\u200b << 3 = 4",
        "<think>" * 50,
        "</think>" * 50,
        "$" * 999,
        "=" * 10_000,
        "```",
        "\\boxed{" * 99,
    ],
)
def test_hostile_text_is_read(response: str) -> None:
    for step in trace(response).steps:
        assert 0 <= step.start < step.end <= len(response)
