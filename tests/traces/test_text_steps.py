"""Steps of real answers: parts, paragraphs, sentences, and what must stay whole."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscope.traces.text_steps import split_steps


def _texts(response: str) -> list[str]:
    return [response[step.start : step.end] for step in split_steps(response)]


@pytest.mark.parametrize(
    ("response", "steps"),
    [
        ("", []),
        (" \n\n ", []),
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("First line\nsame step\n\nNext paragraph", ["First line\nsame step", "Next paragraph"]),
        ("It is 3.5 metres. Then 2.", ["It is 3.5 metres.", "Then 2."]),
        ("1. Add them.\n2. Halve it.", ["1. Add them.", "2. Halve it."]),
        ("See e.g. this one. And Dr. Who.", ["See e.g. this one.", "And Dr. Who."]),
        ("So $x = 1. 5$ holds. Done.", ["So $x = 1. 5$ holds.", "Done."]),
        ("So \\[ a. b \\] holds. Done.", ["So \\[ a. b \\] holds.", "Done."]),
        ("It costs $5. It was $7. Fine.", ["It costs $5. It was $7.", "Fine."]),
        ("It costs $5. Fine.\n\nIt was $7. Good.", ["It costs $5.", "Fine.", "It was $7.", "Good."]),
        ("Run:\n```py\nf('a. b')\n\nx = 1\n```\nIt runs.", ["Run:", "```py\nf('a. b')\n\nx = 1\n```", "It runs."]),
        ("```\nnever closed. x", ["```\nnever closed. x"]),
        ("\\[ never closed. Next.", ["\\[ never closed.", "Next."]),
        ("答案是8。因为如此。", ["答案是8。", "因为如此。"]),
    ],
)
def test_a_response_is_cut_where_a_reader_would(response: str, steps: list[str]) -> None:
    assert _texts(response) == steps


def test_the_thought_is_a_part_of_its_own() -> None:
    response = "<think>\nLet me see. 3 + 4 = 7.\n</think>\n\nThe answer is 7."
    assert [(step.part, response[step.start : step.end]) for step in split_steps(response)] == [
        ("thinking", "Let me see."),
        ("thinking", "3 + 4 = 7."),
        ("answer", "The answer is 7."),
    ]
    assert {step.part for step in split_steps("<think> never closed. On and on.")} == {"thinking"}
    # A template that opens the thought itself leaves only its end to the response.
    assert [step.part for step in split_steps("So be it. </think> 7")] == ["thinking", "answer"]


@given(st.text(alphabet="ab.!?$\\[]() \n`1", max_size=60))
def test_steps_are_in_order_disjoint_and_leave_only_spaces_out(response: str) -> None:
    steps = split_steps(response)
    place = 0
    for step in steps:
        assert response[place : step.start].strip() == ""
        assert step.start < step.end
        place = step.end
    assert response[place:].strip() == ""


PIECES = ("$", "$$", "\\[", "\\(", "```\n", "a. ", "1. ", "\n\n", "$x", "<think>", "( ")


@pytest.mark.parametrize(
    "piece", [pytest.param(piece, marks=[pytest.mark.slow] * (piece not in ("$", "```\n", "( "))) for piece in PIECES]
)
def test_a_million_characters_of_one_thing_take_a_second(piece: str) -> None:
    response = piece * (1_000_000 // len(piece))
    started = time.process_time()
    split_steps(response)
    assert time.process_time() - started < 20  # far from the hours of a square, whatever the machine does
