"""Rewards: the format by example, checks turned into rewards."""

import pytest

from headscope.training import calculation_reward, format_reward


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think> a = 4 ; </think> <ans> 6", 1.0),
        ("<think></think> <ans> 6", 1.0),
        ("\n<think>\nline\nline\n</think>\n\nSo 6.", 1.0),
        ("<ans> 6", 0.0),
        ("<think> a = 4 <ans> 6", 0.0),
        ("<think> a </think>  ", 0.0),
        ("<think> a </think> b </think> c", 0.0),
        ("<think> a <think> b </think> c", 0.0),
        ("okay <think> a </think> b", 0.0),
    ],
)
def test_format_reward(text: str, expected: float) -> None:
    chat = [{"role": "assistant", "content": text}]
    assert format_reward(["?", "?"], [chat, text]) == [expected, expected]


def test_format_reward_counts_a_prefilled_tag() -> None:
    assert format_reward(["question <think>\n", "question"], ["a </think> 6", "a </think> 6"]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so 12*4=48 and 48 - 50 = -2", 1.0),
        ("1.5 + 2 × 3 = 7.5, then 7.5 ÷ 2 = 3.8", 1.0),  # rounded to the decimals written
        ("2+3=5; 2+3=6", 0.5),
        ("1,000 + 1 = 1,001", 1.0),
        ("7 / 2 = 3", 0.0),
        ("1 / 0 = 5", 0.0),
        ("8 - 2 * 3 - 1 = 1 and -2 * -3 = 6", 1.0),
        ("x = 4, nothing to compute", None),
    ],
)
def test_calculation_reward(text: str, expected: float | None) -> None:
    assert calculation_reward(["?"], [text]) == [expected]
