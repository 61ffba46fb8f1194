"""Periodic tails against the definition by brute force, and steps that come back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headscope.traces import Loop, find_loop, recurring_steps
from headscope.traces.loops import LONGEST_PERIOD, REPEATS

tokens = st.lists(st.integers(0, 2), max_size=30)


def _by_definition(text: list[int], least_tokens: int) -> Loop | None:
    for period in range(1, min(len(text), LONGEST_PERIOD) + 1):
        length = period
        while length < len(text) and text[-1 - length] == text[-1 - length + period]:
            length += 1
        if length >= max(least_tokens, REPEATS * period):
            return Loop(len(text) - length, period, length // period)
    return None


@given(tokens, tokens, st.integers(0, 6), st.integers(0, 29), st.sampled_from([3, 9, 48]))
def test_the_tail_is_the_one_of_the_definition(
    beginning: list[int], unit: list[int], repeats: int, rest: int, least_tokens: int
) -> None:
    text = beginning + unit * repeats + unit[:rest]
    assert find_loop(text, least_tokens=least_tokens) == _by_definition(text, least_tokens)


def test_a_planted_loop_is_found_where_it_begins() -> None:
    rng = np.random.default_rng(0)
    for period in (1, 2, 17, 100, LONGEST_PERIOD):
        beginning, unit = rng.integers(0, 50_000, 200), rng.integers(0, 50_000, period)
        repeats = max(REPEATS, -(-48 // period))
        text = np.concatenate([beginning, np.tile(unit, repeats)])
        assert find_loop(text) == Loop(200, period, repeats)


def test_no_loop_in_text_without_one_and_none_beyond_the_limits() -> None:
    rng = np.random.default_rng(1)
    assert find_loop([]) is None
    assert find_loop(rng.integers(0, 50_000, 5000)) is None
    assert find_loop([7] * 47) is None
    assert find_loop([7] * 48) == Loop(0, 1, 48)
    long_unit = rng.integers(0, 50_000, LONGEST_PERIOD + 1)
    assert find_loop(np.tile(long_unit, 4)) is None


def test_steps_recur_whatever_their_spaces_and_capitals() -> None:
    steps = ["Wait,  let me check.", "3 + 4 = 7", "wait, let me check.", "", " ", "", "Wait, let\nme check."]
    assert recurring_steps(steps) == {"wait, let me check.": (0, 2, 6)}
