"""Units and other words after a number: ``12 \\text{ cm}^2``, ``3.5 million``, ``18 eggs``, ``2516_8``, ``50%``.

A missing unit does not make an answer wrong; a different unit does.
"""

import re
from itertools import pairwise

_ALIASES = {
    "mm": "millimeter millimetre",
    "cm": "centimeter centimetre",
    "m": "meter metre",
    "km": "kilometer kilometre",
    "inch": "in inche",
    "foot": "ft feet",
    "yard": "yd",
    "mile": "mi",
    "mg": "milligram",
    "g": "gram gm",
    "kg": "kilogram kilo",
    "pound": "lb",
    "ounce": "oz",
    "tonne": "ton",
    "ms": "millisecond",
    "s": "sec second",
    "min": "minute",
    "h": "hr hour",
    "day": "d",
    "week": "wk",
    "month": "",
    "year": "yr",
    "l": "liter litre",
    "ml": "milliliter millilitre",
    "gallon": "gal",
    "mile / h": "mph",
    "km / h": "kmh kph kmph",
    "degree": "deg",
    "radian": "rad",
    "dollar": "usd buck",
    "euro": "eur",
    "sterling": "gbp",
    "yen": "jpy",
    "yuan": "rmb cny 元",
    "cent": "¢",
    "rupee": "inr rs",
    "%": "percent pct",
    "j": "joule",
    "kj": "kilojoule",
    "n": "newton",
    "w": "watt",
    "kw": "kilowatt",
    "v": "volt",
    "a": "ampere amp",
    "pa": "pascal",
    "hz": "hertz",
    "k": "kelvin",
    "mol": "mole",
    "unit": "",
}
_CANONICAL = {alias: unit for unit, aliases in _ALIASES.items() for alias in (unit, *aliases.split())}
_MODIFIERS = frozenset(["square", "sq", "squared", "cubic", "cu", "cubed"])
# Words whose letters are in the order of the alphabet, as products are written.
_ORDERED_WORDS = frozenset(
    ["no", "not", "now", "any", "for", "how", "its", "most", "best", "almost", "below", "first", "cost", "ago"]
)
_CURRENCY = {"\\$": "dollar", "$": "dollar", "€": "euro", "£": "sterling", "¥": "yen", "₹": "rupee", "¢": "cent"}
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_FILLERS = frozenset(
    ["of", "the", "a", "an", "in", "total", "only", "more", "each", "exactly", "about", "approximately"]
)
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?|[¢%/]|\^ ?\{?-?\d\}?")
_VOWEL = re.compile(r"[aeiouyAEIOUY]")

_SINGLE_LETTERS = frozenset(["m", "g", "s", "h", "L", "l", "N", "J", "W", "V"])
# Possessive: letters are taken whole, so that a long word cannot be divided in many ways.
_TOKEN = re.compile(r"\\text ?\{[^{}]*\}|\\\$|\\[a-zA-Z]++|[^\W\d_]++|[¢%€£¥₹]")
_PHRASE = re.compile(rf"(?:\s*+(?:{_TOKEN.pattern}|[()/.-])(?:\s*+\^\s*+(?:\{{-?\d\}}|\d))?)+\s*")
_DEGREES = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})\s*(?:\\text ?\{\s*)?([CFK]?)\}?\s*$")
_BASE = re.compile(
    r"(?P<digits>[0-9A-F]+(?:\.[0-9A-F]+)?)\s*(?:_\s*(?P<sign>\d)|_\s*\{\s*(?:\\text ?\{)?(?P<name>\w+)\s*\}(?:\s*\})?"
    r"|_\s*\\text ?\{(?P<text>\w+)\}|\(?\s*(?:\\text ?\{)?\s*\(?(?:in )?base[- ](?P<said>\w+)\)?\s*\}?\)?)"
)
_MONEY = re.compile(r"^([+-]?)\s*(\\\$|[€£¥₹]|USD|US\\\$)\s*(?=[\d.\\+-])")


def is_word(letters: str) -> bool:
    """Return whether bare letters are a word and not a product: ``even``, ``km`` and 三角形, but not ``xyz``.

    Three letters in the order of the alphabet are a product, and so are letters without a vowel.
    """
    word = letters.lower()
    if len(word) > 1 and (_singular(word) in _ALIASES or word in _MODIFIERS or word in _ORDERED_WORDS):
        return True
    if not letters.isascii():
        return True
    is_one_case = letters.islower() or letters.isupper()
    in_order = is_one_case and all(first < second for first, second in pairwise(letters))
    return len(letters) > 2 and not in_order and _VOWEL.search(letters) is not None


def split_unit(text: str) -> tuple[str, str, int]:
    """Split a quantity into its number or formula, the unit ("" for none) and a power of ten (``million`` is 6)."""
    based = _BASE.fullmatch(text)
    if based is not None:
        return based["digits"], "base " + _base_name(based), 0
    money = _MONEY.match(text)
    prefix = ""
    if money is not None:
        prefix = _CURRENCY.get(money[2], "dollar")
        text = money[1] + text[money.end() :]
    degrees = _DEGREES.search(text)
    if degrees is not None and degrees.start() > 0:
        return text[: degrees.start()].strip(), "degree" + degrees[1].lower(), 0
    start = _phrase_start(text)
    words = _WORD.findall(_unwrap(text[start:]))
    scale = 0
    if words and words[0].lower() in _SCALES:
        scale = _SCALES[words.pop(0).lower()]
    unit = _canonical(words)
    if prefix and unit and unit != prefix:
        unit = f"{prefix} {unit}"
    return text[:start].strip(), unit or prefix, scale


def are_compatible(gold: str, answer: str) -> bool:
    """Return whether two units can be of equal quantities; "" goes with every unit, ``unit^2`` with every area."""
    if not gold or not answer or gold == answer:
        return True
    generic = re.sub(r"[^\s^/]+", "unit", gold) == re.sub(r"[^\s^/]+", "unit", answer)
    if generic and ("unit" in gold.split("^")[0].split() or "unit" in answer.split("^")[0].split()):
        return True
    gold_words = set(gold.split())
    answer_words = set(answer.split())
    # ``eggs`` and ``eggs a day`` may be the same, ``m`` and ``m / s`` are not.
    has_measure = any(word.split("^")[0] in _ALIASES or word == "/" for word in gold_words ^ answer_words)
    return not has_measure and (gold_words <= answer_words or answer_words <= gold_words)


def _phrase_start(text: str) -> int:
    """Return the start of the words at the end that are a unit; the text's length if there are none."""
    for match in _TOKEN.finditer(text):
        is_filler = match[0].lower() in _FILLERS
        if not is_filler and _is_unit_word(match[0], text[: match.start()]) and _is_phrase(text, match.start()):
            before = text[: match.start()].rstrip()
            return len(before) - 1 if before.endswith("(") else match.start()  # 5 (minutes)
    return len(text)


def _is_phrase(text: str, start: int) -> bool:
    if _PHRASE.fullmatch(text, start) is None:
        return False
    return all(_is_unit_word(token[0], text[: token.start()]) for token in _TOKEN.finditer(text, start))


def _is_unit_word(token: str, before: str) -> bool:
    """Return whether a token may be part of a unit: a letter only after a number and a space, or after a slash."""
    if token.startswith("\\"):
        return token.startswith(("\\text", "\\$"))
    if token in _SINGLE_LETTERS:
        return re.search(r"(?:\d\s|/\s?|(?:sq|cu|square|cubic|per)\s)$", before) is not None
    if not token[0].isalpha() or token.lower() in _FILLERS | {"per"}:
        return True
    # Letters right after a digit are a product unless they are a unit: 2bac, 5cm.
    is_close = before[-1:].isalnum() and token.isascii() and _singular(token.lower()) not in _ALIASES
    return is_word(token) and not is_close


def _unwrap(text: str) -> str:
    for sign, name in _CURRENCY.items():
        text = text.replace(sign, f" {name} ")
    return re.sub(r"\\text ?\{([^{}]*)\}", r" \1 ", text)


def _canonical(words: list[str]) -> str:
    """Return one name for ``square centimeters``, ``cm^2``, ``cm squared``; other words in the singular."""
    names: list[str] = []
    power = ""
    for word in (word.lower() for word in words):
        if word in _MODIFIERS:
            exponent = "^2" if word.startswith("sq") else "^3"
            if word in ("squared", "cubed") and names:
                names[-1] += exponent
            else:
                power = exponent
        elif word.startswith("^"):
            if names:
                names[-1] += "^" + word.strip("^ {}")
        elif word in ("per", "/"):
            names.append("/")
        elif word not in _FILLERS:
            names.append(_singular(word) + power)
            power = ""
    if power:
        names.append("unit" + power)
    return " ".join(names)


def _singular(word: str) -> str:
    if word in _CANONICAL:
        return _CANONICAL[word]
    for ending, singular in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("s", "")):
        if word.endswith(ending) and not word.endswith("ss"):
            stem = word[: -len(ending)] + singular
            return _CANONICAL.get(stem, stem)
    return word


def _base_name(match: re.Match[str]) -> str:
    name = (match["sign"] or match["name"] or match["text"] or match["said"]).lower()
    return (
        str(_NUMBER_WORDS.index(name)) if name in _NUMBER_WORDS else {"sixteen": "16", "twenty": "20"}.get(name, name)
    )
