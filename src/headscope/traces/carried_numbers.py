"""Numbers of a running text that are carried on: computed in one calculation and used again in a later one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headscope.traces.calculations import RELATION, find_calculations
from headscope.traces.steps import Step

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class CarriedNumber:
    """A number on the left of a calculation that an earlier one gave, as characters of the text.

    start: its first character. source_start, source_end: the characters of the result that it repeats.
    """

    start: int
    source_start: int
    source_end: int


def carried_numbers(response: str, steps: Sequence[Step]) -> tuple[CarriedNumber, ...]:
    """Return the numbers that a response carries on, each from the last calculation that gave it."""
    results: dict[str, tuple[int, int]] = {}
    carried = []
    for step in steps:
        if step.role == "code":
            continue
        for calculation in find_calculations(response[step.start : step.end]):
            start = step.start + calculation.start
            left, *_, right = RELATION.split(response[start : step.start + calculation.end])
            for number in _NUMBER.finditer(left):
                if source := results.get(_plain(number)):
                    carried.append(CarriedNumber(start + number.start(), *source))
            given = list(_NUMBER.finditer(right))
            if given:
                end = step.start + calculation.end - len(right)
                results[_plain(given[-1])] = (end + given[-1].start(), end + given[-1].end())
    return tuple(carried)


def _plain(number: "re.Match[str]") -> str:
    return number[0].replace(",", "")
