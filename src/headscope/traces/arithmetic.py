"""Compute arithmetic in a text exactly: numbers, ``+ - * / ^``, brackets, fractions, roots, per cent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

LARGEST_EXPONENT, LARGEST_BITS = 64, 4096
"""Powers and results beyond these are not computed."""
LONGEST_NUMBER = 1000
"""Characters. Python refuses to read more than 4,300 digits, and a model that loops writes more."""
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 4}
_NEGATION = 3
_DEEPEST = 50


class Symbol(NamedTuple):
    """One symbol of an expression: ``number``, ``operator``, ``open``, ``close``, ``percent``, ``root`` or ``frac``."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """The value of an expression.

    Attributes:
        value: exact, except for roots, which are computed in floating point.
        decimals: number of written decimals if the expression is one number; None if it is computed.
        first: its first number.
        readings: the value, and with per cents also the value with ``25%`` read as 25.
    """

    value: Fraction
    decimals: int | None
    first: Fraction
    readings: tuple[Fraction, ...]

    @property
    def is_number(self) -> bool:
        """Return whether the expression is a single number."""
        return self.decimals is not None


def compute(symbols: Sequence[Symbol]) -> Quantity | None:
    """Return the value of an expression; None if it has none, is not real, divides by zero or is too large."""
    try:
        if len(symbols) == 1 and symbols[0].kind == "number":  # every other side, and soon told
            value = _number(symbols[0].text)
            return Quantity(value, len(symbols[0].text.partition(".")[2]), value, (value,))
        value = _Reader(symbols).read()
        readings = [value]
        if any(symbol.kind == "percent" for symbol in symbols):
            readings.append(_Reader([symbol for symbol in symbols if symbol.kind != "percent"]).read())
    except (_UnreadableError, ZeroDivisionError, OverflowError):
        return None
    numbers = [symbol.text for symbol in symbols if symbol.kind == "number"]
    unsigned = symbols[1:] if symbols[0].text in ("-", "+") else symbols
    single = [symbol.kind for symbol in unsigned] in (["number"], ["number", "percent"])
    decimals = len(numbers[0].partition(".")[2]) if single else None
    return Quantity(value, decimals, _number(numbers[0]), tuple(readings))


class _UnreadableError(Exception):
    """The symbols are not an expression."""


class _Reader:
    """Precedence climbing over the symbols of one expression."""

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self._symbols = symbols
        self._place = 0
        self._depth = 0

    def read(self) -> Fraction:
        value = self._expression(0)
        if self._place < len(self._symbols):
            raise _UnreadableError
        return value

    def _expression(self, least: int) -> Fraction:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _UnreadableError
        left = self._signed()
        while (operator := self._operator()) and _PRECEDENCE[operator] > least:
            if self._peek() == "operator":
                self._place += 1
            right_least = _PRECEDENCE[operator] - (operator == "^")  # a power binds to the right
            left = _apply(operator, left, self._expression(right_least))
        self._depth -= 1
        return left

    def _signed(self) -> Fraction:
        if self._peek() == "operator" and self._symbols[self._place].text in "+-":
            sign = self._take().text
            value = self._expression(_NEGATION)
            return -value if sign == "-" else value
        return self._percent(self._primary())

    def _operator(self) -> str:
        """Return the next operator; a bracket, root or fraction after a value multiplies."""
        kind = self._peek()
        if kind == "operator":
            return self._symbols[self._place].text
        return "*" if kind in ("open", "root", "frac") else ""

    def _primary(self) -> Fraction:
        symbol = self._take()
        if symbol.kind == "number":
            return self._mixed(_number(symbol.text))
        if symbol.kind == "open":
            return self._bracket()
        if symbol.kind == "root":
            return _square_root(self._primary())
        if symbol.kind == "frac":
            top = self._group()
            return top / self._group()
        raise _UnreadableError

    def _mixed(self, whole: Fraction) -> Fraction:
        """Return ``1 1/2`` as one number, if the text has one here."""
        if self._peek() != "number":
            return whole
        texts = [symbol.text for symbol in self._symbols[self._place : self._place + 3]]
        kinds = [symbol.kind for symbol in self._symbols[self._place : self._place + 3]]
        if kinds == ["number", "operator", "number"] and texts[1] == "/" and whole.denominator == 1:
            self._place += 3
            return whole + _number(texts[0]) / _number(texts[2])
        return whole

    def _bracket(self) -> Fraction:
        value = self._expression(0)
        if self._peek() != "close":
            raise _UnreadableError
        self._place += 1
        return value

    def _group(self) -> Fraction:
        if self._peek() != "open":
            raise _UnreadableError
        self._place += 1
        return self._bracket()

    def _percent(self, value: Fraction) -> Fraction:
        while self._peek() == "percent":
            self._place += 1
            value /= 100
        return value

    def _peek(self) -> str:
        return self._symbols[self._place].kind if self._place < len(self._symbols) else ""

    def _take(self) -> Symbol:
        if self._place >= len(self._symbols):
            raise _UnreadableError
        self._place += 1
        return self._symbols[self._place - 1]


@lru_cache(maxsize=2**16)
def _number(text: str) -> Fraction:
    if len(text) > LONGEST_NUMBER:
        raise _UnreadableError
    return Fraction(int(text)) if text.isdecimal() else Fraction(text.replace(",", "").replace(" ", ""))


def _apply(operator: str, left: Fraction, right: Fraction) -> Fraction:
    if operator == "^":
        if abs(right) > LARGEST_EXPONENT:
            raise _UnreadableError
        power = left**right if right.denominator == 1 else Fraction(_real_power(left, right))
        return _small(Fraction(power))
    if operator in "+-":
        return _small(left + right if operator == "+" else left - right)
    return _small(left * right if operator == "*" else left / right)


def _square_root(value: Fraction) -> Fraction:
    if value < 0:
        raise _UnreadableError
    return Fraction(math.sqrt(value))


def _real_power(left: Fraction, right: Fraction) -> float:
    if left < 0:
        raise _UnreadableError
    return float(float(left) ** float(right))


def _small(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > LARGEST_BITS:
        raise _UnreadableError
    return value
