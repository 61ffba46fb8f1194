"""Marks of an answer: at their characters whatever is taken out of the text, and nothing said that is not known."""

from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.plain_text import plain_text
from headscope.report.answer_marks import (
    AnswerReader,
    TextMark,
    find_thought,
    loop_marks,
    loop_start,
    plain_marked,
    step_marks,
)

from .runs import read, samples

TEXT = st.text(st.sampled_from("a😀\x1b\r\n\ud800\u202e漢 "), max_size=30)


@settings(max_examples=100)
@given(TEXT, TEXT, TEXT)
def test_marks_stay_on_their_characters(before: str, marked: str, after: str) -> None:
    mark = TextMark("slip", len(before), len(before + marked), "slip")
    result = plain_marked(before + marked + after, [mark])
    assert result.text == plain_text(before + marked + after)
    shown = [result.text[mark.start : mark.end] for mark in result.marks]
    # A line end of two characters may be cut between them.
    assert "".join(shown) == plain_text(marked)


def test_one_step_can_have_several_marks() -> None:
    answer = {"solved_at": 3, "loop_start": -1}
    step = {"slip": "fold", "repaired": False, "recheck": True, "change": "right→wrong", "marks": "", "step": 3}
    step |= {"answers": True, "right": True}
    assert step_marks(answer, step) == [
        ("slip", "slip: fold"),
        ("recheck", "re-check, right→wrong"),
        ("right", "right answer first stated"),
    ]
    assert step_marks(answer, step | {"step": 4, "slip": "", "recheck": False}) == [("answer", "answer, right")]


def test_a_loop_begins_with_the_step_it_begins_in_if_that_is_known() -> None:
    steps = [{"start": 0, "end": 4, "last_token": 2}, {"start": 5, "end": 9, "last_token": 4}]
    assert loop_start({"loop_start": 3}, steps) == 5
    assert loop_start({"loop_start": -1}, steps) is None
    assert loop_start({"loop_start": 3}, [step | {"last_token": -1} for step in steps]) is None


def test_steps_that_come_again_and_again_are_marked_if_no_tail_is() -> None:
    text = "Let me think about that. Five. Let me think about  that. Five. let me think about that. Five."
    ends = [index + 1 for index, character in enumerate(text) if character == "."]
    spans = [(0 if not number else ends[number - 1] + 1, end) for number, end in enumerate(ends)]
    steps = [{"start": start, "end": end, "last_token": -1, "role": "sentence"} for start, end in spans]
    marks = loop_marks(text, {"loop": True, "loop_start": -1}, steps)
    assert [(mark.start, mark.end) for mark in marks] == spans[::2]  # the short ones are too short to be a loop
    assert {mark.label for mark in marks} == {"loop, 3 times"}
    assert loop_marks(text, {"loop": False, "loop_start": -1}, steps) == []


def test_a_thought_without_token_positions_has_its_length_in_characters() -> None:
    step = {"part": "thinking", "start": 3, "end": 1203, "first_token": -1, "last_token": -1}
    response = "<think>ok " + 1200 * "a" + " </think> 6"
    fold = find_thought(response, [step | {"start": 10, "end": 1210}])
    assert fold is not None
    assert (fold.start, fold.end, fold.label, fold.is_open) == (7, 1211, "thought, 1,200 characters", False)
    assert find_thought(response, [step | {"part": "answer"}]) is None
    unclosed = find_thought("no markers", [step | {"start": 3, "end": 10}])
    assert unclosed is not None
    assert (unclosed.start, unclosed.end) == (0, 10)


def test_an_answer_is_read_with_its_steps() -> None:
    reader = AnswerReader(*read(samples("T", {"p": "Ans 5. Ans 6.", "q": ""})).rows_on(["p"]))
    assert [step["right"] for step in reader.steps("p", 0)] == [False, True]
    marked = reader.marked("p", 0, "Ans 5. Ans 6.")
    assert [(mark.kind, mark.start, mark.end) for mark in marked.marks] == [("answer", 0, 6), ("right", 7, 13)]
