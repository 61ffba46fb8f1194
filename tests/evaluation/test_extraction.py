import time

import pytest

from headscope.evaluation.extraction import (
    last_box,
    stated_alias,
    stated_answer,
    stated_tokens,
)
from headscope.evaluation.letters import stated_letter


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{4} and \boxed{5", "4"),
        (r"\boxed 7.", "7"),
        (r"\fbox{8}", "8"),
        (r"\boxed{}", ""),
        (r"}} \boxed{9} }}", "9"),
        (r"\frac{1}{2}", None),
    ],
)
def test_last_box(text, box):
    assert last_box(text) == box


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"<think>\boxed{1}</think> so \boxed{2}", "2"),
        (r"<think>\boxed{1}</think> no box", ""),
        ("work\n#### 1,234\nbye", "1,234"),
        ("The answer is: $x^2$.", "$x^2$"),
        ("<think>maybe <answer>5</answer>? No.</think>\nno idea", ""),
        ("<think>maybe <ans> 5 ; no</think>\nno idea", ""),
        ("<think>maybe <answer>5</answer>? No.</think>\n<answer>even</answer>", "even"),
        ("<think>maybe <answer>5</answer>", "5"),  # a thought that never ends is read whole, and is unfinished
        ("no idea", ""),
    ],
)
def test_stated_answer(response, answer):
    assert stated_answer(response) == answer


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        (r"\boxed{(b)}", "B"),
        (r"\boxed{\text{b}}", "B"),
        ("Answer: (b).", "B"),
        (r"\boxed{\text{B}}", "B"),
        ("The answer is (C) because", "C"),
        ("d", "D"),
        (r"\boxed{12}", ""),
        ("I", "I"),
    ],
)
def test_stated_letter(response, letter):
    assert stated_letter(response) == letter


@pytest.mark.parametrize(
    ("response", "tokens"),
    [
        ("<think> j = 4 </think> <ans> 5 <ans>  6 ", "6"),
        ("<think></think> <ans>", ""),
        ("a\n6 7", "6 7"),
        ("", ""),
        (r"\boxed{6} yes", "6"),
        ("<think> <ans> 5 </think> 6 7", "6 7"),
        ("<think> <ans> 5", "5"),
    ],
)
def test_stated_tokens(response, tokens):
    assert stated_tokens(response) == tokens


def test_a_short_answer_may_stand_alone():
    assert stated_alias("<think> x </think>\nOnion\nmore") == "Onion"


@pytest.mark.parametrize("text", [r"\boxed{" * 30_000, "{" * 200_000, "answer is " * 20_000, r"\boxed " * 30_000])
def test_hostile_text_is_read_in_linear_time(text):
    start = time.process_time()
    for read in (stated_answer, stated_letter, stated_alias, stated_tokens):
        read(text)
    assert time.process_time() - start < 2


def test_the_labs_answer_marker_is_one_for_other_checks_too() -> None:
    assert stated_answer("<think> okay b=2+6=8; </think> <ans> 8") == "8"
    assert stated_answer("<ans> 8 <answer>9</answer>") == "9"
