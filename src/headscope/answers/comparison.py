"""Compare two readings part by part. A judge compares formulas: plain numbers here, SymPy in the worker."""

import re
from collections.abc import Collection
from typing import Protocol

from headscope.answers.notation import plain_latex
from headscope.answers.numbers import is_same_number
from headscope.answers.reading import Quantity, Reading, Sequence, Words
from headscope.answers.units import are_compatible

MOST_ITEMS = 60
"""Parts of a list in any order that are compared; longer ones have to be in the same order."""


class Judge(Protocol):
    """Compares formulas in LaTeX, and sets as lists of their parts."""

    def is_equal(self, gold: str, answer: str) -> bool:
        """Return whether two formulas have the same value."""

    def is_same_set(self, gold: tuple[str, ...], answer: tuple[str, ...]) -> bool:
        """Return whether two unions of intervals and inequalities are the same set."""


def is_equal(gold: Reading, answer: Reading, judge: Judge) -> bool:
    """Return whether an answer is equal to the gold answer."""
    gold, answer = _without_conditions(gold, answer)
    if gold == answer:
        return True
    if isinstance(gold, Words) and isinstance(answer, Words):
        return _letters(gold.text) == _letters(answer.text)
    if {type(gold), type(answer)} == {Words, Quantity}:
        return _is_lone_letter(gold, answer)
    if isinstance(gold, Quantity) and isinstance(answer, Quantity):
        return _is_equal_quantity(gold, answer, judge)
    if _differ_in_name(gold, answer):
        return False
    if isinstance(gold, Sequence) and isinstance(answer, Sequence) and _is_equal_sequence(gold, answer, judge):
        return True
    if _is_ratio(gold) != _is_ratio(answer):
        return judge.is_equal(_quotient(gold), _quotient(answer))
    return (_is_region(gold) or _is_region(answer)) and _is_same_region(gold, answer, judge)


def _is_ratio(reading: Reading) -> bool:
    return isinstance(reading, Sequence) and reading.kind == "ratio" and len(reading.items) == 2


def _quotient(reading: Reading) -> str:
    r"""Return ``3:4`` as ``\frac{3}{4}``, for the comparison with a number; others as text that equals none."""
    if isinstance(reading, Sequence) and _is_ratio(reading):
        numerator, denominator = reading.items
        return rf"\frac{{{_latex(numerator)}}}{{{_latex(denominator)}}}"
    return reading.latex if isinstance(reading, Quantity) and not reading.unit else r"\emptyset"


def _is_lone_letter(gold: Reading, answer: Reading) -> bool:
    """Return whether a word and a formula are the same letter: ``(B)`` and ``B``."""
    gold_letter, answer_letter = _letter(gold), _letter(answer)
    return gold_letter == answer_letter and gold_letter.isalpha()


def _letter(reading: Reading) -> str:
    """Return what may be a lone letter, without brackets around it."""
    text = reading.text if isinstance(reading, Words) else reading.latex
    return text.strip("() ")


def _latex(reading: Reading) -> str:
    """Return the formula of a reading; "" for words."""
    return "" if isinstance(reading, Words) else reading.latex


def _without_conditions(gold: Reading, answer: Reading) -> tuple[Reading, Reading]:
    """Return families as their formulas; an answer may leave ``k ∈ Z`` out but must not name another set."""
    gold_condition = answer_condition = ""
    if isinstance(gold, Sequence) and gold.kind == "family":
        gold_condition, gold = gold.label, gold.items[0]
    if isinstance(answer, Sequence) and answer.kind == "family":
        answer_condition, answer = answer.label, answer.items[0]
    if gold_condition and answer_condition and gold_condition[-1] != answer_condition[-1]:
        return gold, Words("")
    return gold, answer


def _is_equal_quantity(gold: Quantity, answer: Quantity, judge: Judge) -> bool:
    if (_is_region(gold) or _is_region(answer)) and not gold.unit and not answer.unit:
        return _is_same_region(gold, answer, judge)
    if _is_relation(gold) != _is_relation(answer) or _differ_in_name(gold, answer):
        equations = _equation(gold), _equation(answer)
        return None not in equations and judge.is_equal(str(equations[0]), str(equations[1]))
    if not _is_relation(gold) and (gold.unit == "%") != (answer.unit == "%"):
        return _is_equal_percentage(gold, answer, judge)
    if not are_compatible(gold.unit, answer.unit):
        return False
    return judge.is_equal(gold.latex, answer.latex)


def _is_same_region(gold: Reading, answer: Reading, judge: Judge) -> bool:
    gold_parts = _set_parts(gold)
    answer_parts = _set_parts(answer)
    return bool(gold_parts and answer_parts) and judge.is_same_set(gold_parts, answer_parts)


def _is_equal_percentage(gold: Quantity, answer: Quantity, judge: Judge) -> bool:
    """Return whether one is a percentage equal to the other: 50 % is 50 and one half, but not 50 km."""
    if gold.unit not in ("", "%") or answer.unit not in ("", "%"):
        return False
    if judge.is_equal(gold.latex, answer.latex):
        return True
    share = [rf"\frac{{{side.latex}}}{{100}}" if side.unit == "%" else side.latex for side in (gold, answer)]
    return judge.is_equal(share[0], share[1])


def _differ_in_name(gold: Reading, answer: Reading) -> bool:
    """Return whether both have names and these differ; a name of several words goes with every quantity."""
    names = gold.label, answer.label
    if not all(names) or any(len(name) > 3 and name.isalpha() for name in names):
        return False
    return names[0].lower() != names[1].lower()


def differ_in_case_alone(names: Collection[str]) -> bool:
    """Return whether two of the names are the same but for the case of their letters: ``R`` and ``r``."""
    return len({name.lower() for name in names}) < len(set(names))


def _is_relation(quantity: Quantity) -> bool:
    return re.search(r"[<>=]|\\(?:leq|geq|neq)", quantity.latex) is not None


def _equation(quantity: Quantity) -> str | None:
    if _is_relation(quantity):
        return quantity.latex
    return f"{quantity.label}={quantity.latex}" if quantity.label else None


def _is_equal_sequence(gold: Sequence, answer: Sequence, judge: Judge) -> bool:
    if len(gold.items) != len(answer.items):
        return False
    kinds = {gold.kind, answer.kind}
    if kinds <= {"list", "set"} or kinds == {"union"}:
        return _is_equal_in_any_order(gold.items, answer.items, judge)
    if len(kinds) > 1 and not (kinds <= {"list", "tuple", "column"} or kinds <= {"list", "tuple", "row"}):
        return False
    return _is_equal_in_order(_by_name(gold.items), _by_name(answer.items), judge)


def _by_name(items: tuple[Reading, ...]) -> tuple[Reading, ...]:
    """Return the parts sorted by name if all have one: ``y = 2, x = 1`` as ``x = 1, y = 2``."""
    names = [item.label for item in items]
    return tuple(sorted(items, key=lambda item: item.label)) if all(names) and len(set(names)) == len(names) else items


def _is_equal_in_order(gold: tuple[Reading, ...], answer: tuple[Reading, ...], judge: Judge) -> bool:
    return all(is_equal(left, right, judge) for left, right in zip(gold, answer, strict=True))


def _is_equal_in_any_order(gold: tuple[Reading, ...], answer: tuple[Reading, ...], judge: Judge) -> bool:
    is_mixed = _are_told_apart(gold) != _are_told_apart(answer)  # A = 5, B = 6 against 5, 6
    # R = 5, r = 3: the case, which no comparison of two parts looks at, tells them apart.
    is_cased = any(differ_in_case_alone([item.label for item in items]) for items in (gold, answer))
    if is_mixed or is_cased or len(gold) > MOST_ITEMS:
        return _is_equal_in_order(_by_name(gold), _by_name(answer), judge)
    left = list(answer)
    for item in gold:
        # Equality is transitive but for rounding, so the first equal one will do.
        equal = next((other for other in left if is_equal(item, other, judge)), None)
        if equal is None:
            return False
        left.remove(equal)
    return True


def _are_told_apart(items: tuple[Reading, ...]) -> bool:
    """Return whether each part has a name, or a unit, of its own."""
    # x_1 and x_2 are numbered, not told apart.
    names = [item.label.split("_")[0] or getattr(item, "unit", "") for item in items]
    return len(items) > 1 and all(names) and len(set(names)) == len(names)


def _is_region(reading: Reading) -> bool:
    """Return whether a reading is an interval, an inequality, or a union of such."""
    if isinstance(reading, Quantity):
        return re.search(r"[<>]|\\(?:leq|geq|neq|setminus|mathbb)(?![a-zA-Z])", reading.latex) is not None
    if isinstance(reading, Sequence):
        return reading.kind in ("[]", "[)", "(]", "union") or (
            reading.kind == "list" and all(map(_is_region, reading.items))
        )
    return False


def _set_parts(reading: Reading) -> tuple[str, ...]:
    if isinstance(reading, Quantity):
        return (reading.latex,) if not reading.label or _is_region(reading) else ()
    if isinstance(reading, Sequence) and reading.kind in ("list", "union"):
        parts = [_set_parts(item) for item in reading.items]
        return tuple(part for group in parts for part in group) if all(parts) else ()
    if isinstance(reading, Sequence) and reading.kind in ("tuple", "[]", "[)", "(]", "set"):
        return (reading.latex,)
    return ()


def _letters(text: str) -> str:
    """Return a text without case, punctuation and articles."""
    words = re.sub(r"[^\w+#]+|_", " ", plain_latex(text).lower()).split()
    return " ".join(word for word in words if word not in ("the", "a", "an")) or " ".join(words)


class UndecidedError(Exception):
    """A comparison that needs SymPy."""


class ExactNumbers:
    """Compares formulas that are identical or plain numbers; all others need SymPy."""

    def is_equal(self, gold: str, answer: str) -> bool:
        """Return whether two formulas are the same text or number. Raises UndecidedError otherwise."""
        if gold.replace(" ", "") == answer.replace(" ", ""):
            return True
        same = is_same_number(gold, answer)
        if same is None:
            raise UndecidedError
        return same

    def is_same_set(self, gold: tuple[str, ...], answer: tuple[str, ...]) -> bool:
        """Raise UndecidedError: sets need SymPy."""
        raise UndecidedError
