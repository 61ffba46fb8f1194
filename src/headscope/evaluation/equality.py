"""Whether an answer equals a gold answer, as far as normalisation and rational numbers can tell."""

import re
import string
from collections.abc import Callable
from fractions import Fraction

# LaTeX that does not change a value: styles of fractions, text, sizes of brackets, spaces, dollar signs.
_SPELLING = (
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\[!,;: ]|(?<!\\)\$|\s"), ""),
)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.\d+)?")
_INTEGER = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?")
# Digits are bounded: int() of a long text takes quadratic time, and Python refuses more than 4300 digits.
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<decimal>\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})"
    r"|(?P<n>\d{1,300})/(?P<d>\d{1,300})|\\frac(?:\{(?P<nn>\d{1,300})\}|(?P<nd>\d))(?:\{(?P<dd>\d{1,300})\}|(?P<dn>\d)))"
)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`_", " "))

CLOSE = Fraction(1, 1000)
"""Two numbers that differ by no more than this, relative to the gold one, are left to math-verify, which rounds."""


def normal_answer(answer: str, kind: str) -> str:
    """Return one spelling for answers that are equal by spelling; majority votes and cheap comparisons go by it."""
    return _NORMAL[kind](answer)


def is_same(answer: str, gold: str, kind: str) -> bool | None:
    """Return whether the answer is right; None if only math-verify can tell (kind math).

    gold: of kind ``alias`` several accepted answers, separated by newlines.
    """
    golds = gold.split("\n") if kind == "alias" else [gold]
    if normal_answer(answer, kind) in {normal_answer(accepted, kind) for accepted in golds}:
        return True
    return _is_same_number(answer, gold) if kind == "math" else False


def rational(text: str) -> Fraction | None:
    r"""Return the number that ``12``, ``-1,234.5``, ``3/4`` or ``\frac{3}{4}`` writes; None for anything else."""
    match = _NUMBER.fullmatch(_normal_math(text))
    if match is None:
        return None
    if match["decimal"]:
        size = Fraction(match["decimal"])
    else:
        denominator = int(match["d"] or match["dd"] or match["dn"])
        if denominator == 0:
            return None
        size = Fraction(int(match["n"] or match["nn"] or match["nd"]), denominator)
    return -size if match["sign"] == "-" else size


def _is_same_number(answer: str, gold: str) -> bool | None:
    """Compare by value if both are plain numbers; None if that cannot tell.

    Different integers are wrong however near they are.
    """
    number = rational(answer)
    gold_number = rational(gold)
    if number is None or gold_number is None:
        # Integers above 300 digits are no rationals here, and differ if their digits do.
        return False if _are_integers(answer, gold) else None
    if number == gold_number:
        return True
    # The lower bound keeps a gold answer of 0 from making every difference a large one.
    is_far = abs(number - gold_number) > CLOSE * max(abs(gold_number), CLOSE)
    return False if is_far or _are_integers(answer, gold) else None


def _are_integers(*texts: str) -> bool:
    return all(_INTEGER.fullmatch(_normal_math(text)) for text in texts)


def _normal_math(text: str) -> str:
    for pattern, plain in _SPELLING:
        text = pattern.sub(plain, text)
    text = text.removesuffix(".")
    # ``1,234`` is a number and ``1,23`` a pair.
    text = text.replace("{,}", "").replace(",", "") if _GROUPED.fullmatch(text) else text
    integer = _INTEGER.fullmatch(text)
    if integer is None:
        return text
    sign, digits = integer.groups()
    return digits if sign != "-" or digits == "0" else f"-{digits}"


def _normal_alias(text: str) -> str:
    """Apply TriviaQA's own normalisation: case, punctuation, articles and white space."""
    words = " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
    return words or text.strip().lower()  # "The The" and "!" are not nothing


def _normal_letter(text: str) -> str:
    return text.strip().strip("()").upper()


def _normal_tokens(text: str) -> str:
    return " ".join(text.split())


_NORMAL: dict[str, Callable[[str], str]] = {
    "math": _normal_math,
    "choice": _normal_letter,
    "alias": _normal_alias,
    "exact": _normal_tokens,
}
