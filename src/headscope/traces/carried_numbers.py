"""Numbers of a running text that are carried on: the result of one calculation, used again in a later one."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from headscope.traces.calculations import RELATION, find_calculations
from headscope.traces.spans import CarriedSpan
from headscope.traces.steps import Step

_NUMBER = re.compile(r"(?<![\d.,])[-−]?(?:\d{1,3}(?:[, ]\d{3})+(?![\d,])|\d+)(?:\.\d+)?")
_RESULT = re.compile(r"[\s$€£]*(?P<number>" + _NUMBER.pattern + r")[^\d+*/×÷^·]*")
"""One number alone, with its unit."""


def carried_numbers(response: str, steps: Sequence[Step], given: str = "") -> tuple[CarriedSpan, ...]:
    """Return the numbers on the left of calculations that earlier ones gave, as characters of the response.

    Each comes from the last calculation that gave it.

    given: the problem; its numbers are left out, because they may come from there.
    """
    known = {value for _, _, value in _numbers(given)}
    results: dict[Decimal, tuple[int, int]] = {}
    carried = []
    for step in steps:
        if step.kind == "code":
            continue
        text = response[step.start : step.end]
        for calculation in find_calculations(text):
            written = text[calculation.start : calculation.end]
            left, *_, right = RELATION.split(written)
            begin = step.start + calculation.start
            for start, end, value in _numbers(left):
                if value in results:
                    carried.append(CarriedSpan(begin + start, begin + end, *results[value]))
            result = _RESULT.fullmatch(right)
            if result is not None and (value := _value(result["number"])) not in known:
                begin += len(written) - len(right)
                results[value] = (begin + result.start("number"), begin + result.end("number"))
    return tuple(carried)


def _numbers(text: str) -> Iterator[tuple[int, int, Decimal]]:
    """Yield the place and value of each number, without signs, which are operators on the left of a calculation."""
    for number in _NUMBER.finditer(text):
        yield number.start(), number.end(), abs(_value(number[0]))


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", "").replace(" ", "").replace("−", "-"))
