"""Compare an answer with a gold answer, as far as spelling and rational numbers can tell."""

import re
import string
import unicodedata
from collections.abc import Callable, Iterator

from headscope.answers.comparison import ExactNumbers, UndecidedError, is_equal
from headscope.answers.notation import plain_latex
from headscope.answers.numbers import is_same_number, without_groups
from headscope.answers.reading import UnreadableError, read

# A fourth of ``plain_latex``'s time, and enough for most answers; what it leaves different is read and compared whole.
# LaTeX that does not change a value: styles of fractions, text, sizes of brackets, dollar signs.
_SPELLING = (
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\!|(?<!\\)\$"), ""),
)
# A space between digits may be a mixed number's: 5 1/2 is not 51/2.
_BLANKS = (
    (re.compile(r"(?<!\\)\\[,;: ]"), " "),
    (re.compile(r"(?<!\d)\s+|\s+(?!\d)"), ""),
)
_INTEGER = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`_", " "))
_DOTTED = re.compile(r"\b(\w)\.(?=\w\b|\s|$)")
_IT_IS = re.compile(r"(?:.{0,80}\s)?(?:is|was|are|were|be|it's|that's|named|called)\s+(.+)", re.IGNORECASE)
_IS_THE = re.compile(r"(.{1,60}?)\s+(?:is|was|are|were)\s+(?:the|a|an)\s.+", re.IGNORECASE)
_REMARK = re.compile(r"\s*\([^()]*\)$")
_LONE_LETTERS = re.compile(r"\b(\w) (?=\w\b)")
_DIGIT_COMMA = re.compile(r"(?<=\d),(?=\d{3})")


def normal_answer(answer: str, kind: str) -> str:
    """Return one spelling for answers that are equal by spelling; majority votes and cheap comparisons go by it."""
    return _NORMAL[kind](answer)


def is_same(answer: str, gold: str, kind: str) -> bool | None:
    """Return whether the answer is right; None if only SymPy can tell (kind math).

    gold: of kind ``alias`` several accepted answers, separated by newlines.
    Raises UnreadableError if the answer, of kind ``math``, cannot be read whole.
    """
    if kind == "alias":
        accepted = {normal_answer(alias, kind) for alias in gold.split("\n")}
        return any(normal_answer(candidate, kind) in accepted for candidate in _alias_candidates(answer))
    normal = normal_answer(answer, kind)
    normal_gold = normal_answer(gold, kind)
    if kind == "number":
        return normal == normal_gold or bool(is_same_number(normal_gold, normal))
    if normal == normal_gold or kind != "math":
        return normal == normal_gold
    same = is_same_number(normal_gold, normal)
    return _is_same_reading(answer, gold) if same is None else same


def _is_same_reading(answer: str, gold: str) -> bool | None:
    reading = read(answer)
    try:
        return is_equal(read(gold), reading, ExactNumbers())
    except UnreadableError:  # of the gold one: no other spelling equals it
        return False
    except UndecidedError:
        return None


def _normal_math(text: str) -> str:
    for pattern, plain in _SPELLING:
        text = pattern.sub(plain, text)
    # Before blanks go: ``10,100`` is a number and ``10, 100`` a list.
    text = without_groups(text.strip().removesuffix("."))
    for pattern, plain in _BLANKS:
        text = pattern.sub(plain, text)
    text = text.removesuffix(".")
    integer = _INTEGER.fullmatch(text)
    if integer is None:
        return text
    sign, digits = integer.groups()
    return digits if sign != "-" or digits == "0" else f"-{digits}"


def _alias_candidates(answer: str) -> Iterator[str]:
    """Yield what of a short sentence may be the name: ``It is Paris.``, ``Paris, France``."""
    plain = plain_latex(answer) if "\\" in answer else answer
    plain = re.sub(r"\\text ?\{([^{}]*)\}", r"\1", plain)
    plain = _REMARK.sub("", plain[:200].strip().rstrip("."))
    sentences = (_IT_IS.fullmatch(plain), _IS_THE.fullmatch(plain))
    for name in (answer, plain, *(sentence[1] for sentence in sentences if sentence)):
        yield name
        before, _, after = name.partition(",")
        if after and "," not in after and len(after.split()) <= 3:
            yield before


def _normal_alias(text: str) -> str:
    """Apply TriviaQA's own normalisation (case, punctuation, articles and white space), without accents and the dots
    of abbreviations.
    """
    text = _DIGIT_COMMA.sub("", _DOTTED.sub(r"\1", text)).replace("&", " and ")
    text = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    words = " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
    return _LONE_LETTERS.sub(r"\1", words) or text.strip().lower()  # "The The" and "!" are not nothing


def _normal_letter(text: str) -> str:
    return text.strip().strip("()").upper()


def _normal_tokens(text: str) -> str:
    return " ".join(text.split())


_NORMAL: dict[str, Callable[[str], str]] = {
    "math": _normal_math,
    "number": _normal_math,
    "choice": _normal_letter,
    "alias": _normal_alias,
    "exact": _normal_tokens,
}
