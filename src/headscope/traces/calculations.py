"""Check the calculations that a text writes out: ``3 * 4 = 12``, ``20% of 50 = 100/10 = 10``, ``\\frac{7}{2} ≈ 3.5``.

1. The text is cut into numbers, operators, brackets, relations (``=``, ``≈``) and the rest. Words after a number are
   its unit if an operator or a relation follows them (``5 red apples * 3 = 15``), and left out, as currency signs are.
2. Arithmetic between other words and signs is a run, which its relations cut into sides. The first side may begin, and
   the last one end, inside the run's outer pieces, but not at an operator.
3. Sides are computed exactly (``arithmetic``). A difference of one unit of the last decimal is allowed, and one of 1
   with ``≈`` and a whole number. ``25%`` may stand for 0.25 and for 25.
4. Sides with a variable, a function or an unknown command are not checked, nor two bare numbers (``1 hour = 60
   minutes``), a bare number at the start (``Week 4 = 48 + 48``), and sides that differ by a factor of 100 (dollars and
   cents). ``3 + 5 = 8 + 2 = 10`` continues from its result and is not an error.

Time is proportional to the text's length; sides of more than ``LONGEST_SIDE`` symbols are not checked.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from headscope.traces.arithmetic import Quantity, Symbol, compute

LONGEST_SIDE = 100
_UNIT_WORDS = 4

_TOKEN = re.compile(
    r"""
    (?P<clock>\d+:\d\d)
    | (?P<number>(?:\d{1,3}(?:[, ]\d{3})+(?![\d,])|\d+)(?:\.\d+)?|\.\d+)
    | (?P<relation>=|≈|≃|\\approx\b|\\simeq\b)
    | (?P<percent>%|\\%)
    | (?P<operator>\*\*|[-+*/^×÷·−–∗⋅]|\\(?:times|cdot|div|ast)\b)
    | (?P<root>√|\\sqrt\b) | (?P<frac>\\[dt]?frac\b) | (?P<power>[²³])
    | (?P<open>(?:\\left\s*)?[(\[{]) | (?P<close>(?:\\right\s*)?[)\]}])
    | (?P<skip>\\[,;!:\ ]|\\quad\b|\\\$|[$€£]|[^\S\n]+)
    | (?P<word>\\(?:text|mathrm|mbox)\s*\{[^{}\n]{0,40}\}|[^\W\d_]{2,}(?:['’-][^\W\d_]+)*)
    | (?P<unreadable>\\[A-Za-z]+|[^\W\d]|[!|<>≤≥≠_])
    | (?P<cut>.)
    """,
    re.VERBOSE,
)
_LINE = re.compile(r"[^\n]+")
RELATION = re.compile(r"[=≈≃]|\\approx|\\simeq")
_OPERATORS = {"×": "*", "·": "*", "∗": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-", "**": "^"}
_OPERATORS |= {"\\times": "*", "\\cdot": "*", "\\ast": "*", "\\div": "/"}
_VALUE_ENDS = ("number", "percent", "close")
_ARITHMETIC = frozenset(("number", "operator", "percent", "root", "frac", "open", "close", "relation"))


@dataclass(frozen=True, slots=True)
class Calculation:
    """One relation between two sides.

    Attributes:
        start: its first character in the text, in Unicode code points.
        end: the character after its last one.
        right: whether both sides have the same value; None if that cannot be checked.
    """

    start: int
    end: int
    right: bool | None


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int

    @property
    def symbol(self) -> Symbol:
        return Symbol(self.kind, self.text)


@dataclass(frozen=True, slots=True)
class _Run:
    """Tokens of arithmetic one after the other. before, after: the kinds of the tokens around them."""

    tokens: list[_Token]
    before: str
    after: str


def find_calculations(text: str) -> list[Calculation]:
    """Return the calculations of a text in order; none spans lines."""
    calculations: list[Calculation] = []
    for line in _LINE.finditer(text):
        if not RELATION.search(line[0]):
            continue
        for run in _runs(_drop_units(_bind_fractions(_tokens(text, line.start(), line.end())))):
            calculations += _check_run(run)
    return calculations


def _tokens(text: str, start: int, end: int) -> list[_Token]:
    """Return the tokens of one line."""
    tokens = []
    for match in _TOKEN.finditer(text, start, end):
        kind, written = str(match.lastgroup), match[0]
        if kind == "skip":
            continue
        if kind == "clock":
            kind = "unreadable"
        elif kind == "power":
            tokens.append(_Token("operator", "^", match.start(), match.start()))
            kind, written = "number", {"²": "2", "³": "3"}[written]
        elif kind == "word" and text[match.end() : match.end() + 1] == "(" and not written.startswith("\\"):
            kind = "unreadable"  # a function
        elif kind == "unreadable" and written in "xX" and _between_numbers(text, match.start()):
            kind, written = "operator", "*"
        elif kind == "operator":
            written = _OPERATORS.get(written, written)
        tokens.append(_Token(kind, written, match.start(), match.end()))
    return tokens


def _between_numbers(text: str, place: int) -> bool:
    """Return whether the letter stands alone between two numbers: ``3 x 4``."""
    return bool(re.search(r"[\d)] ?$", text[max(0, place - 2) : place])) and bool(
        re.match(r" ?[$(]?\d", text[place + 1 : place + 4])
    )


def _drop_units(tokens: list[_Token]) -> Iterator[_Token]:
    """Leave out words that are the unit of the number before them; ``of`` after a share multiplies."""
    place = 0
    previous = ""
    while place < len(tokens):
        token = tokens[place]
        if token.kind == "word" and previous in _VALUE_ENDS:
            end = place
            while end < len(tokens) and tokens[end].kind == "word" and end - place < _UNIT_WORDS:
                end += 1
            following = tokens[end].kind if end < len(tokens) else "cut"
            if token.text == "of" and end == place + 1 and following in ("number", "open") and previous == "percent":
                yield _Token("operator", "*", token.start, token.end)
                previous, place = "operator", end
                continue
            if following in ("operator", "relation", "close") or _joins_mixed_number(tokens, place):
                place = end
                continue
        yield token
        previous = token.kind
        place += 1


def _bind_fractions(tokens: list[_Token]) -> list[_Token]:
    """Put the fraction of ``28 / 1/5`` in brackets: what is written without spaces belongs together."""
    if sum(token.text == "/" for token in tokens) < 2:
        return tokens
    bound: list[_Token] = []
    for place, token in enumerate(tokens):
        bound.append(token)
        if [part.kind for part in tokens[place - 3 : place + 1]] != ["operator", "number", "operator", "number"]:
            continue
        outer, top, inner, bottom = tokens[place - 3 : place + 1]
        glued = top.end == inner.start and inner.end == bottom.start and outer.end < top.start
        if glued and outer.text == inner.text == "/":
            bound.insert(-3, _Token("open", "(", top.start, top.start))
            bound.append(_Token("close", ")", bottom.end, bottom.end))
    return bound


def _joins_mixed_number(tokens: list[_Token], place: int) -> bool:
    """Return whether a word is the ``and`` of ``1 and 1/3``."""
    kinds = [token.kind for token in tokens[place - 1 : place + 4]]
    return (
        tokens[place].text == "and"
        and kinds == ["number", "word", "number", "operator", "number"]
        and tokens[place + 2].text == "/"
    )


def _runs(tokens: Iterator[_Token]) -> Iterator[_Run]:
    """Yield the runs of arithmetic tokens that have a relation in them."""
    run: list[_Token] = []
    before, has_relation = "line", False
    for token in tokens:
        if token.kind in _ARITHMETIC:
            run.append(token)
            has_relation = has_relation or token.kind == "relation"
            continue
        if has_relation:
            yield _Run(run, before, token.kind)
        run, before, has_relation = [], token.kind, False
    if has_relation:
        yield _Run(run, before, "line")


def _check_run(run: _Run) -> Iterator[Calculation]:
    """Check every relation of a run."""
    places = [place for place, token in enumerate(run.tokens) if token.kind == "relation"]
    ends = [*places, len(run.tokens)]
    pieces = []
    start = 0
    for end in ends:
        pieces.append(run.tokens[start:end])
        start = end + 1
    pieces[0] = _last_expression(pieces[0], run.before)
    pieces[-1] = _first_expression(pieces[-1], run.after)
    quantities = [_quantity(piece) for piece in pieces]
    for index, place in enumerate(places):
        relation = run.tokens[place]
        start = (pieces[index] or [relation])[0].start
        end = (pieces[index + 1] or [relation])[-1].end
        right = _agree(quantities[index], quantities[index + 1], relation.text != "=", begins=index == 0)
        yield Calculation(start, end, right)


def _quantity(piece: list[_Token]) -> Quantity | None:
    return compute([token.symbol for token in piece]) if len(piece) <= LONGEST_SIDE else None


def _last_expression(piece: list[_Token], before: str) -> list[_Token]:
    """Return the longest end of a piece that is an expression; empty if none is, or if what is before belongs to it."""
    piece = piece[-LONGEST_SIDE - 1 :]
    if piece and piece[0].kind == "operator" and not (piece[0].text in "+-" and _is_glued(piece)):
        if before in ("word", "unreadable"):
            return []
        piece = piece[1:]  # a dash or a star that begins a line
    elif before == "unreadable" and piece and piece[0].kind != "close":
        return []
    for start in range(len(piece)):
        begins = start == 0 or piece[start - 1].kind in (*_VALUE_ENDS, "open")
        if begins and (start == 0 or piece[start].kind != "operator") and _quantity(piece[start:]) is not None:
            return piece[start:]
    return []


def _is_glued(piece: list[_Token]) -> bool:
    """Return whether no space follows the first token."""
    return len(piece) > 1 and piece[1].start == piece[0].end


def _first_expression(piece: list[_Token], after: str) -> list[_Token]:
    """Return the longest start of a piece that is an expression; empty if none is, or if what follows belongs to it."""
    piece = piece[: LONGEST_SIDE + 1]
    for end in range(len(piece), 0, -1):
        if end == len(piece) and after == "unreadable":
            return []
        if end < len(piece) and piece[end].kind == "operator" and (end + 1 < len(piece) or after == "unreadable"):
            continue
        if _quantity(piece[:end]) is not None:
            return piece[:end]
    return []


def _agree(left: Quantity | None, right: Quantity | None, approximate: bool, *, begins: bool) -> bool | None:
    """Return whether two sides have the same value; None if that cannot be checked.

    begins: whether the left side is the first of a chain, where a bare number is often a name and not a value.
    """
    if left is None or right is None or (left.is_number and (begins or right.is_number)):
        return None
    if left.value == right.first and not right.is_number:
        return True  # written on from the result
    tolerance = _tolerance(left, right, approximate)
    differences = [abs(first - second) for first in left.readings for second in right.readings]
    if min(differences) <= tolerance:
        return True
    hundredfold = min(abs(left.value - 100 * right.value), abs(100 * left.value - right.value))
    return None if hundredfold <= tolerance else False  # dollars and cents, shares and per cent


def _tolerance(left: Quantity, right: Quantity, approximate: bool) -> Fraction:
    """Return the allowed difference of two sides: one unit of the last decimal of either."""
    tolerance = max(Fraction(1), abs(left.value), abs(right.value)) / 10**9  # of roots
    for side in (left, right):
        if side.decimals or (side.decimals == 0 and approximate):
            tolerance = max(tolerance, Fraction(1, 10**side.decimals))
    return tolerance
