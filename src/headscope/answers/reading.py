"""Readings of answers as lists, tuples, intervals, quantities or words; an answer is read completely or not at all.

``read`` splits a text into parts by punctuation and brackets. Formulas in the parts stay LaTeX; the worker checks
whether SymPy can read them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from headscope.answers.notation import plain_latex
from headscope.answers.units import is_word, split_unit

MOST_NESTED = 12
"""Brackets within brackets that are read; deeper ones are no answer."""


class UnreadableError(Exception):
    """A text that cannot be read completely."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or formula, possibly named and with a unit.

    latex: the formula. unit: "" for none. label: ``x`` of ``x = 5``, "" for none.
    """

    latex: str
    unit: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """A text that is not mathematics: ``even``, ``May 5``."""

    text: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """Several parts.

    kind: list (no brackets) | set | tuple | [] | [) | (] (intervals) | union | column | row | matrix | ratio | family
        (of one part, for every value of a parameter).
    items: the parts.
    latex: the whole.
    label: as in ``Quantity``; the condition of a family.
    """

    kind: str
    items: "tuple[Reading, ...]"
    latex: str
    label: str = ""


Reading = Quantity | Words | Sequence

_JOIN = r"\\text ?\{\s*,?\s*(?:and|or|und|et|和|或|与|及)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|[和或与及]"
_LIST = re.compile(rf"\s*(?:[,;]\s*(?:{_JOIN})?|{_JOIN})\s*")
_COMMA = re.compile(r"\s*[,;]\s*")
_UNION = re.compile(r"\\cup(?![a-zA-Z])")
_PLUS_MINUS = re.compile(r"\\pm(?![a-zA-Z])")
_RELATION = re.compile(r"[<>=]|\\(?:leq|geq|neq|approx|equiv)(?![a-zA-Z])")
_ORDER = re.compile(r"[<>]|\\(?:leq|geq|neq)(?![a-zA-Z])")
_EQUALS = re.compile(r"(?<![<>!:])=|\\approx(?![a-zA-Z])|\\in(?![a-zA-Z])")
_LABEL = re.compile(
    r"(?:[A-Za-z]|\( ?[a-z](?: ?, ?[a-z])* ?\)|[A-Z]{2,3}|\\text ?\{[^{}=]*\}|(?P<words>[A-Za-z][a-z]{2,}(?: [a-z]+)*)"
    r"|\\(?:alpha|beta|gamma|theta|phi|lambda|mu|omega|sigma|Delta|angle ?[A-Z]{1,3}|triangle ?[A-Z]{3}))"
    r"(?:_\{?\w{1,9}\}?)?(?:\^\{-1\})?'{0,2}(?: ?\( ?[A-Za-z0-9](?:, ?[A-Za-z0-9])* ?\))?"
)
_FAMILY = re.compile(
    r"(?P<formula>.*\S)(?:\s*[,;(]|\\text ?\{[^{}]*\}|\s)\s*"
    r"(?P<name>[a-z])\s*\\in\s*(?P<set>\\mathbb ?\{?[A-Z]\}?|[ZNQR])\s*\)?"
)
_REVERSED = re.compile(r"(?P<left>[\[\]])(?P<from>[^\[\],;]+)[,;](?P<to>[^\[\],;]+)(?P<right>[\[\]])")
_MATRIX = re.compile(
    r"\\begin ?\{(?:[pbBv]?matrix|array)\}(?:\s*\{[clr| ]+\})?(?P<cells>(?:(?!\\begin).)*?)\\end ?\{\w+\}"
)
_SET_BUILDER = re.compile(r"[a-z]\s*(?:\\in\s*\\mathbb ?\{?R\}?\s*)?[|:](?P<condition>.*)")
_OPTION = re.compile(r"(?:\\text ?\{\s*\(?[A-Z][).]\s*\}|\([A-Z]\))\s*(?=[^\s^_*/+-])")
_RATIO = re.compile(r"[^:]*[^:\s](?:\s*:\s*[^:\s][^:]*)+")
_CLOCK = re.compile(r"\d{1,2}(?::\d\d){0,2} ?[ap]\.? ?m\.?", re.IGNORECASE)
_PROSE = re.compile(r"[\w\s'’\".,:;()/&#?!+-]*")
_WORD = re.compile(r"[^\W\d_]+")
_TEXT = re.compile(r"\\text ?\{([^{}]*)\}")
_APPROXIMATE = re.compile(r"^(?:\\approx|=)\s*")
_LEFT_OVER = re.compile(r"\\text(?![a-zA-Z])|\\ldots|'|\"|[^\x00-\x7f]|\d\s+\d|&|#|@|\\(?:bmod|pmod|mod)(?![a-zA-Z])")
_OPENING = {"(": ")", "[": "]", "{": "}"}


@lru_cache(maxsize=8192)
def read(text: str) -> Reading:
    """Return the reading of an answer. Raises UnreadableError if a part of it cannot be read."""
    return _read(plain_latex(text), 0)


def formulas(reading: Reading) -> Iterator[str]:
    """Yield the LaTeX of every quantity; the answer is readable if all of them are."""
    if isinstance(reading, Quantity):
        yield reading.latex
    elif isinstance(reading, Sequence):
        for item in reading.items:
            yield from formulas(item)


def _read(text: str, depth: int) -> Reading:
    text = text.strip()
    if not text or depth > MOST_NESTED:
        raise UnreadableError(text)
    family = _FAMILY.fullmatch(text)
    if family is not None and not text.startswith("\\{") and not family["formula"].endswith("|"):
        condition = re.sub(r"[\s{}]|\\mathbb", "", f"{family['name']}∈{family['set']}")
        inner = _read(family["formula"].rstrip(" ,;("), depth + 1)
        return Sequence("family", (inner,), text, condition)
    text = text[option.end() :] if (option := _OPTION.match(text)) else text
    parts = _split(text, _LIST)
    if len(parts) > 1:
        return _read_list(parts, text, depth)
    if _is_prose(text):
        return Words(_unwrap(text))
    return (
        _read_union(text, depth)
        or _read_enclosed(text, depth)
        or _read_matrix(text, depth)
        or _read_named(text, depth)
        or _read_plus_minus(text, depth)
        or _read_quantity(text)
    )


def _read_list(parts: list[str], text: str, depth: int) -> Reading:
    """Read the parts of a list; a name before the first part only is the list's: ``n = 1, 2, 3``."""
    label, first = _split_label(parts[0])
    if label and not any(_RELATION.search(part) for part in parts[1:]):
        parts = [first, *parts[1:]]
    else:
        label = ""
    items = _read_items(parts, depth)
    if all(isinstance(item, Quantity) and item.unit == "" for item in items[:-1]):
        items = _share_unit(items)
    return Sequence("list", items, text, label)


def _read_items(parts: list[str], depth: int) -> tuple[Reading, ...]:
    """Read the parts; ``1 \\pm 2`` gives two of them."""
    items: list[Reading] = []
    for part in parts:
        item = _read(part, depth + 1)
        items += item.items if isinstance(item, Sequence) and item.kind == "list" else [item]
    return tuple(items)


def _share_unit(items: tuple[Reading, ...]) -> tuple[Reading, ...]:
    """Give the unit after the last of several numbers to all of them: ``3 and 4 cm``."""
    last = items[-1]
    if not isinstance(last, Quantity) or not last.unit:
        return items
    return tuple(replace(item, unit=last.unit) if isinstance(item, Quantity) else item for item in items)


def _read_union(text: str, depth: int) -> Reading | None:
    parts = _UNION.split(text)
    if len(parts) == 1 or (text.startswith("\\{") and _encloses(text[1:], "{")):
        return None
    label, first = _split_label(parts[0])
    return Sequence("union", tuple(_read(part, depth + 1) for part in [first, *parts[1:]]), text, label)


def _read_enclosed(text: str, depth: int) -> Reading | None:
    """Read ``(…)``, ``[…]``, ``\\{…\\}``, half-open intervals and the French ``]2, 5[``."""
    reverse = _REVERSED.fullmatch(text)
    if reverse is not None and (reverse["left"] == "]" or reverse["right"] == "["):
        kind = ("[" if reverse["left"] == "[" else "(") + ("]" if reverse["right"] == "]" else ")")
        ends = (_read(reverse["from"], depth + 1), _read(reverse["to"], depth + 1))
        latex = f"{kind[0]}{reverse['from']},{reverse['to']}{kind[1]}"
        return Sequence("tuple" if kind == "()" else kind, ends, latex)
    braces = text.startswith("\\{") and text.endswith("\\}") and _encloses(text[1:], "{")
    if not braces and not (text[0] in "([{" and _encloses(text, text[0])):
        return None
    inner = text[2:-2].strip() if braces else text[1:-1].strip()
    if braces and (builder := _SET_BUILDER.fullmatch(inner)):
        return _read(builder["condition"], depth + 1)
    if braces and not inner:
        return Quantity(r"\emptyset")
    parts = _split(inner, _COMMA)
    items = _read_items(parts, depth)
    if len(items) == 1:
        return items[0]
    kind = text[0] + text[-1]
    if text[0] in "\\{":
        return Sequence("set", items, text)
    return Sequence(kind if "[" in kind or ("]" in kind and len(items) == 2) else "tuple", items, text)


def _read_matrix(text: str, depth: int) -> Reading | None:
    match = _MATRIX.fullmatch(text)
    if match is None or text.startswith("\\begin{v"):
        return None
    rows = [row.split("&") for row in re.split(r"\\\\(?:\[[^\]]*\])?", match["cells"]) if row.strip()]
    if not rows:
        raise UnreadableError(text)
    cells = [tuple(_read(cell, depth + 1) for cell in row) for row in rows]
    if len(cells) == 1:
        return Sequence("row", cells[0], text)
    if all(len(row) == 1 for row in cells):
        return Sequence("column", tuple(row[0] for row in cells), text)
    return Sequence("matrix", tuple(Sequence("row", row, text) for row in cells), text)


def _read_named(text: str, depth: int) -> Reading | None:
    """Read ``x = 5``, ``x \\in (0, 1)``, ``5 = x`` and the result of a calculation ``12 \\times 4 = 48``."""
    text, approximate = _APPROXIMATE.subn("", text)
    if approximate:
        return _read(text, depth + 1)
    label, rest = _split_label(text)
    if not label:
        parts = _split(text, _EQUALS)
        if len(parts) > 1 and _LABEL.fullmatch(parts[-1]) and len(parts) == 2:
            label, rest = parts[-1], parts[0]
        elif len(parts) > 1 and not any(_WORD.search(_without_commands(part)) for part in parts[:-1]):
            return _read(parts[-1], depth + 1)
        else:
            return None
    chain = _split(rest, _EQUALS)
    if _ORDER.search(rest):
        return None
    return replace(_read(chain[-1], depth + 1), label=_plain_label(label))


def _split_label(text: str) -> tuple[str, str]:
    """Return the name before the first equals sign and what follows; "" and the whole if there is no name."""
    equals = _EQUALS.search(text)
    name = None if equals is None else _LABEL.fullmatch(text[: equals.start()].strip())
    # xyz = 1 is an equation, area = 1 names its value.
    if equals is None or name is None or not any(map(is_word, (name["words"] or "area").split())):
        return "", text
    return text[: equals.start()].strip(), text[equals.end() :].strip()


def _plain_label(label: str) -> str:
    return re.sub(r"[\s{}]", "", _unwrap(label))


def _read_plus_minus(text: str, depth: int) -> Reading | None:
    parts = _split(text, _PLUS_MINUS)
    if len(parts) == 1:
        return None
    if len(parts) > 2 or not parts[1]:
        raise UnreadableError(text)
    before, after = parts
    return Sequence(
        "list", (_read(f"{before}+{after}".lstrip("+"), depth + 1), _read(f"{before}-{after}", depth + 1)), text
    )


def _read_quantity(text: str) -> Reading:
    if _CLOCK.fullmatch(text):
        return Words(text)
    if _RATIO.fullmatch(text) and not _RELATION.search(text):
        return Sequence("ratio", tuple(_read_quantity(part.strip()) for part in text.split(":")), text)
    latex, unit, scale = split_unit(text)
    if scale:
        latex = rf"({latex}) \times 10^{{{scale}}}"
    if not latex or _LEFT_OVER.search(latex) or any(map(is_word, _WORD.findall(_without_commands(latex)))):
        raise UnreadableError(text)
    return Quantity(latex, unit)


def _is_prose(text: str) -> bool:
    """Return whether a text is words without mathematics, and not a number with its unit."""
    plain = _unwrap(text)
    if not _PROSE.fullmatch(plain):
        return False
    if not _TEXT.search(text) and not any(map(is_word, _WORD.findall(plain))):
        return False
    try:
        latex, _, _ = split_unit(text)
    except UnreadableError:
        return True
    return not latex or any(map(is_word, _WORD.findall(_unwrap(latex)))) or bool(_TEXT.search(latex))


def _unwrap(text: str) -> str:
    return " ".join(_TEXT.sub(r" \1 ", text).split())


def _without_commands(latex: str) -> str:
    return re.sub(r"\\[a-zA-Z]+", " ", latex)


def _encloses(text: str, opening: str) -> bool:
    """Return whether the bracket at the start closes at the end; ``[2, 5)`` counts, ``(x+1)(x-2)`` does not."""
    depth = 0
    for index, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0:
            return index == len(text) - 1 and (sign == _OPENING[opening] or {opening, sign} <= set("()[]"))
    return False


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Split at the separators outside brackets."""
    depths = [0]
    for sign in text:
        depths.append(depths[-1] + (sign in "([{") - (sign in ")]}"))
    parts, start = [], 0
    for match in separator.finditer(text):
        if depths[match.start()] == 0 and match.end() > match.start():
            parts.append(text[start : match.start()].strip())
            start = match.end()
    parts.append(text[start:].strip())
    return parts
