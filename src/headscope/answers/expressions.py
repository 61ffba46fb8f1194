"""Formulas in SymPy: LaTeX is parsed to its last character, and two formulas are equal if their values are.

Plain expressions are evaluated to 30 digits at points that depend only on the symbols' names, which is faster than
simplifying their difference and misses no identity. math-verify compares all others.

The case of letters tells symbols apart if one of the two texts uses both (R and r); else N is the gold answer's n.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import sympy
from latex2sympy2_extended import latex2sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from math_verify import verify
from sympy.core.evalf import PrecisionExhausted

from headscope.answers.comparison import differ_in_case_alone
from headscope.answers.notation import plain_latex
from headscope.answers.numbers import CLOSE, DECIMALS, is_same_number
from headscope.answers.reading import Reading, UnreadableError, formulas

DIGITS = 30
SAME = 1e-20
"""Relative difference below which two values to 30 digits are the same."""
TINY = 1e-50
"""Absolute value below which it is asked whether a number is zero."""
POINTS = (0.37, 1.61, -0.83, 2.71)
"""Where symbols are evaluated: positive and negative, since √(x²) is x only for half of them."""
_IMAGINARY = re.compile(r"(?<![A-Za-z\\])i(?![A-Za-z])|\\imath")

_DIVISOR = re.compile(r"\\(?:gcd|lcm)[^\\]*[a-zA-Z]")
_GREEK_CAPITAL = re.compile(r"[A-Z][a-z]")
_AS_WRITTEN = ConversionConfig(lowercase_symbols=False)


@dataclass(frozen=True, slots=True)
class SymPy:
    """The judge of the worker process.

    keeps_case: whether ``R`` and ``r`` are two symbols wherever they occur (``uses_case``).
    """

    keeps_case: bool = True

    def is_equal(self, gold: str, answer: str) -> bool:
        """Return whether two formulas have the same value. Raises UnreadableError."""
        same = is_same_number(gold, answer)
        if same is not None:
            return same
        left = parse(gold)
        right = parse(answer)
        if not self.keeps_case:
            right = _in_case_of(left, right)
        if _is_plain(left) and _is_plain(right):
            return _is_same_expression(left, right)
        if isinstance(left, sympy.Eq) and isinstance(right, sympy.Eq):
            return _is_same_equation(left, right)
        return _is_verified(left, right)

    def is_same_set(self, gold: tuple[str, ...], answer: tuple[str, ...]) -> bool:
        """Return whether two unions of intervals and inequalities are the same set. Raises UnreadableError."""
        left = _as_set(gold)
        right = _as_set(answer)
        if left is None or right is None:
            return False
        return bool(left == right or sympy.SymmetricDifference(left, right).is_empty)


@lru_cache(maxsize=8192)
def parse(latex: str) -> sympy.Basic:
    """Return a formula in SymPy's form. Raises UnreadableError if the grammar does not cover it to the end."""
    # SymPy holds different symbols to have no common divisor.
    if _DIVISOR.search(latex):
        raise UnreadableError(latex)
    try:
        # Real symbols unless i occurs, as math-verify has it.
        is_real = _IMAGINARY.search(latex) is None
        expression = latex2sympy(
            latex,
            is_real=is_real,
            convert_degrees=False,
            normalization_config=None,
            conversion_config=_AS_WRITTEN,
        )
    except Exception as error:  # ANTLR, its listener and SymPy raise errors of many types
        raise UnreadableError(latex) from error
    if isinstance(expression, sympy.Basic | sympy.MatrixBase) and not _is_undefined(expression):
        return expression
    raise UnreadableError(latex)


def uses_case(reading: Reading) -> bool:
    """Return whether the symbols of an answer's formulas are told apart by their case, or a capital Greek one is."""
    names = {symbol.name for latex in formulas(reading) for symbol in parse(latex).free_symbols}
    return differ_in_case_alone(names) or any(map(_GREEK_CAPITAL.match, names))


def _in_case_of(gold: sympy.Basic, answer: sympy.Basic) -> sympy.Basic:
    """Return the answer with the gold answer's symbols for those that differ from them in case alone."""
    names = {symbol.name for symbol in gold.free_symbols}
    by_lower_case = {name.lower(): name for name in names}
    renamed = {}
    for symbol in answer.free_symbols:
        name = by_lower_case.get(symbol.name.lower(), symbol.name)
        if name != symbol.name:
            renamed[symbol] = sympy.Symbol(name, real=symbol.is_real)
    return answer.xreplace(renamed) if renamed else answer


def evaluate(latex: str) -> None:
    """Evaluate a formula as a comparison would, at the same cost. Raises UnreadableError."""
    expression = parse(latex)
    if _is_plain(expression):
        _value(expression, POINTS[0])


def _is_undefined(expression: sympy.Basic) -> bool:
    return isinstance(expression, sympy.Basic) and expression.has(sympy.nan, sympy.zoo)


def _is_plain(expression: sympy.Basic) -> bool:
    return isinstance(expression, sympy.Expr) and not isinstance(expression, sympy.MatrixExpr)


def _is_same_expression(gold: sympy.Expr, answer: sympy.Expr) -> bool:
    """Compare the values at every point where both have one."""
    if gold == answer:
        return True
    has_decimals = bool(gold.atoms(sympy.Float) or answer.atoms(sympy.Float))
    names = {symbol.name for symbol in gold.free_symbols | answer.free_symbols}
    compared = 0
    for point in POINTS if names else POINTS[:1]:
        left = _value(gold, point)
        right = _value(answer, point)
        if left is None or right is None:
            continue
        if not _is_same_value(left, right, has_decimals):
            return False
        compared += 1
    return compared > 0 or _is_verified(gold, answer)


def _is_same_value(gold: sympy.Expr, answer: sympy.Expr, has_decimals: bool) -> bool:
    difference = abs(gold - answer)
    size = max(abs(gold), abs(answer))
    if difference <= SAME * size:
        return True
    if not has_decimals or difference > CLOSE * size:
        return False
    return bool(gold.round(DECIMALS) == answer.round(DECIMALS))


def _value(expression: sympy.Expr, point: float) -> sympy.Expr | None:
    """Return the value with each symbol near ``point``; None if it is not finite, or not real for negative symbols."""
    values = {symbol: _coordinate(symbol.name, point) for symbol in expression.free_symbols}
    # latex2sympy takes i for a symbol like any other.
    values |= {symbol: sympy.I for symbol in values if symbol.name == "i"}
    try:
        number = expression.doit().subs(values)
        value = number.evalf(DIGITS)
        if value.is_Float and abs(value) < TINY and _is_cancelled(number):
            value = sympy.Integer(0)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, AttributeError, NotImplementedError):
        return None
    if not value.is_number or not value.is_finite or value.has(sympy.nan):
        return None
    # √(1/n) and 1/√n are equal where they are real; roots of negative numbers take different branches.
    return None if point < 0 and value.is_real is not True else value


def _is_cancelled(number: sympy.Expr) -> bool:
    """Return whether no digit of a number is left after 100 digits of its terms cancel, as in sin² 1 + cos² 1 − 1."""
    try:
        number.evalf(DIGITS, strict=True)
    except PrecisionExhausted:
        return True
    return False


def _coordinate(name: str, point: float) -> sympy.Rational:
    """Return a symbol's coordinate, the same wherever it occurs.

    Two symbols may share one at a point, with a chance of 1 in 9973, but not at all of them.
    """
    # A shift for each point: with one for all, x - y is the same number at each, and so is (y-x)^3 / (y-x). More digits
    # would tell more symbols apart at each point, and make exact powers slow.
    shift = sympy.Rational(crc32(f"{name} {point}".encode()) % 9973, 29989)
    base = sympy.Rational(int(point * 100), 100)
    return base + shift if point > 0 else base - shift


def _is_same_equation(gold: sympy.Eq, answer: sympy.Eq) -> bool:
    """Return whether one equation is a multiple of the other, or their solutions are the same."""
    left = gold.lhs - gold.rhs
    right = answer.lhs - answer.rhs
    if not _is_plain(left) or not _is_plain(right):
        return _is_verified(gold, answer)
    if left.free_symbols and {symbol.name for symbol in left.free_symbols} != {s.name for s in right.free_symbols}:
        return False
    ratios = []
    for point in POINTS:
        numerator = _value(left, point)
        denominator = _value(right, point)
        if numerator is None or denominator is None or denominator == 0:
            continue
        ratios.append(numerator / denominator)
    if ratios and all(_is_same_value(ratios[0], ratio, False) for ratio in ratios):
        return bool(ratios[0] != 0) and len(ratios) > 1
    # math-verify holds two equations without solutions equal.
    return bool(sympy.solve(gold, list(gold.free_symbols))) and _is_verified(gold, answer)


def _is_verified(gold: sympy.Basic, answer: sympy.Basic) -> bool:
    return bool(verify([gold], [answer], timeout_seconds=None, allow_set_relation_comp=True))


def _as_set(parts: Sequence[str]) -> sympy.Set | None:
    """Return the union of the sets of intervals and inequalities, None if a part is not a set."""
    sets = []
    for part in parts:
        region = _region(parse(plain_latex(part)))
        if region is None:
            return None
        sets.append(region)
    return sympy.Union(*sets)


def _region(expression: sympy.Basic) -> sympy.Set | None:
    # Decimals would make 12.5 another end than 25/2.
    floats = expression.atoms(sympy.Float)
    expression = expression.xreplace({number: sympy.Rational(str(number)) for number in floats})
    # One name: the variable of an inequality is any name of the same line.
    renamed = {symbol: sympy.Symbol("x", real=True) for symbol in expression.free_symbols}
    expression = expression.xreplace(renamed) if len(renamed) == 1 else expression
    try:
        if isinstance(expression, sympy.Set):
            return expression.doit()
        if isinstance(expression, sympy.Tuple) and len(expression) == 2:
            return sympy.Interval.open(*expression)
        relations = getattr(expression, "_unsorted_args", (expression,))
        return sympy.Intersection(*[sympy.Rel(r.lhs, r.rhs, r.rel_op).as_set() for r in relations])
    except Exception:  # SymPy cannot solve every inequality
        return None
