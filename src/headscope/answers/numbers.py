"""Exact values of plain numbers, without computer algebra."""

import re
from fractions import Fraction

# Digits are bounded: int() of a long text takes quadratic time, and Python refuses more than 4300 digits.
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)\s*(?:(?P<decimal>\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})"
    r"|(?P<n>\d{1,300})\s*/\s*(?P<d>\d{1,300})"
    r"|(?P<whole>\d{0,300})\s*\\frac\s*\{\s*(?P<inner>[+-]?)\s*(?P<nn>\d{1,300})\s*\}\s*\{\s*(?P<dd>\d{1,300})\s*\})"
)
# Three digits after each separator: 1,234 and 10\\,000, but not 1,23 or 10, 100.
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:(?:,|\{,\}|\\[,;: ])\d{3})+(?:\.\d*)?")
_SEPARATOR = re.compile(r",|\{,\}|\\[,;: ]")
_INTEGER = re.compile(r"[+-]?\d+")

DECIMALS = 6
"""Digits after the point that are compared if a number is written as a decimal, as in math-verify."""
CLOSE = Fraction(1, 1000)
"""Numbers that differ by more than this, relative to the gold one, are not equal however they are rounded."""


def exact_number(latex: str) -> Fraction | None:
    r"""Return the value of ``12``, ``-.5``, ``3/4``, ``\frac{-3}{4}`` or ``2\frac{1}{3}``; None for others."""
    match = _NUMBER.fullmatch(latex.strip())
    if match is None:
        return None
    if match["decimal"]:
        size = Fraction(match["decimal"])
    else:
        denominator = int(match["d"] or match["dd"])
        if denominator == 0 or (match["whole"] and match["inner"]):
            return None
        size = Fraction(int(match["n"] or match["nn"]), denominator) + int(match["whole"] or 0)
    return -size if (match["sign"] == "-") != (match["inner"] == "-") else size


def without_groups(text: str) -> str:
    r"""Return a number without the separators of its thousands (``1,234``, ``10\,000``); any other text as it is."""
    return _SEPARATOR.sub("", text) if _GROUPED.fullmatch(text) else text


def is_same_number(gold: str, answer: str) -> bool | None:
    """Return whether two numbers have the same value; None if one is not a plain number."""
    number = exact_number(answer)
    gold_number = exact_number(gold)
    if number is None or gold_number is None:
        # Integers above 300 digits are read by nothing here, and differ if their digits do.
        return False if _INTEGER.fullmatch(gold) and _INTEGER.fullmatch(answer) else None
    if number == gold_number:
        return True
    is_decimal = "." in gold or "." in answer
    # Six decimals alone would make one of 0.0000001 and 0.0000002.
    is_near = abs(number - gold_number) <= CLOSE * abs(gold_number)
    return is_decimal and is_near and round(number, DECIMALS) == round(gold_number, DECIMALS)
