"""Targets of roles, cell by cell, on sequences small enough to read."""

import numpy as np
import pytest

from headscope.traces.attention_targets import MOST_COPIES, attention_targets
from headscope.traces.carried_numbers import carried_numbers
from headscope.traces.reading import read_text
from headscope.traces.spans import CarriedSpan
from headscope.traces.steps import Step


def cells(targets: object) -> set[tuple[int, int]]:
    return {(int(query), int(key)) for query, key in np.argwhere(targets.cells)}  # type: ignore[attr-defined]


def test_rows_of_the_answer_ask_for_what_their_role_reads() -> None:
    # The prompt is 7 8 9; the answer 8 5 7 8 5.
    targets = attention_targets([7, 8, 9, 8, 5, 7, 8, 5], 3, ())
    # From the row after which the answer begins (2) to that after which it ends (6).
    assert cells(targets["previous token"]) == {(query, query - 1) for query in range(2, 7)}
    assert cells(targets["first token"]) == {(query, 0) for query in range(2, 7)}
    # After the second 8 (at 3): what followed the first is 9 (at 2), the token before it. The 7 at 5: 8 at 1. The 8 at
    # 6: 9 at 2 and 5 at 4.
    assert cells(targets["induction"]) == {(5, 1), (6, 2), (6, 4)}
    # Before 8 is written (2 and 5), 8 in the prompt (1); before 7 (4), 7 (0). 5 is not in the prompt.
    assert cells(targets["retrieval"]) == {(2, 1), (4, 0), (5, 1)}
    assert not {"iteration", "verification", "closer"} & set(targets)


def test_a_token_with_many_copies_is_not_asked_about() -> None:
    for copies, is_asked in ((MOST_COPIES, True), (MOST_COPIES + 1, False)):
        prompt = [1, 2] * copies
        targets = attention_targets([*prompt, 1, 9, 1], len(prompt), ())
        # The 1 after the prompt has so many copies, of which the last row before it asks.
        rows = {query for query, _ in cells(targets["induction"])} if "induction" in targets else set()
        assert (len(prompt) in rows) is is_asked
        assert ("retrieval" in targets) is is_asked


def test_steps_carried_numbers_and_the_closing_token_have_their_targets() -> None:
    steps = (
        Step("thinking", 0, 3, 0, 3),
        Step("thinking", 3, 6, 3, 6, recheck=True),
        Step("answer", 7, 9, 7, 9, marks=("planning",)),
    )
    targets = attention_targets(list(range(100, 111)), 2, steps, carried=[CarriedSpan(4, 6, 1, 3)], closing=6)
    # The number at 4 and 5 of the answer is written from row 2 + 4 − 1 on, and was a result at 1 and 2 of the answer.
    assert cells(targets["iteration"]) == {(5, 3), (5, 4), (6, 3), (6, 4)}
    # Rows that write the second step (2 + 3 − 1 to 2 + 6 − 2) read the first (2 to 4), and no token itself.
    checked = {(row, key) for row in (4, 5, 6) for key in (2, 3, 4) if key < row}
    assert cells(targets["verification"]) == checked
    # The third step is no check: what its rows read of the second is what the checks are compared with.
    assert targets["verification"].unasked is not None
    others = {(int(row), int(key)) for row, key in np.argwhere(targets["verification"].unasked)}
    assert others == {(row, key) for row in (8, 9) for key in (5, 6, 7)}
    assert cells(targets["closer"]) == {(9, 8)}
    assert (targets["closer"].first, targets["closer"].stop) == (1, 10)


def carried(text: str, given: str = "") -> list[tuple[str, int]]:
    """Numbers that are carried on, each with the place of the result that it comes from."""
    steps = read_text(text, lambda step: "")
    return [
        (text[number.start : number.start + 5].split()[0], number.source_start)
        for number in carried_numbers(text, steps, given)
        if text[number.source_start : number.source_end].strip()
    ]


def test_numbers_are_carried_from_the_last_calculation_that_gave_them() -> None:
    text = "First 3 + 4 = 7. Then 7 * 2 = 14, so 14 - 7 = 7. At last 7 + 1,000 = 1,007 and 1007 + 1 = 1008."
    first, second = text.index("7."), text.index("7. At")
    assert carried(text) == [
        ("7", first),
        ("14", text.index("14,")),
        ("7", first),
        ("7", second),
        ("1007", text.index("1,007")),
    ]
    assert carried("nothing is computed") == []


@pytest.mark.parametrize(
    ("text", "given", "numbers"),
    [
        ("3 * 4 + 5 = 12 + 5 = 17. Now 5 * 2 = 10 and 17 + 1 = 18", "", ["17"]),  # 5 is an addend, and no result
        ("Total = $18 + $2 = $20.00, then 20 * 2 = 40", "", ["20"]),
        ("3 - 10 = -7. Then 7 + 1 = 8", "", []),
        ("500 + 504 = 1 004 apples. 1,004 / 2 = 502", "", ["1,004"]),
        ("10 - 8 = 2 books. Then 2 * 7 = 14 days", "", ["2"]),
        ("10 - 8 = 2 books. Then 2 * 7 = 14 days", "She has 2 dogs.", []),  # it may come from there
    ],
)
def test_what_is_no_result_is_not_carried_on(text: str, given: str, numbers: list[str]) -> None:
    assert [number for number, _ in carried(text, given)] == numbers
