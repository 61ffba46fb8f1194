"""The option letter of a multiple-choice answer. Two letters are no answer, and neither are the words A and I."""

import re

from headscope.evaluation.extraction import SHORT, final_text, last_box, last_statement

_STATED = re.compile(
    r"(?:answer|choice|option|答案)(?: to [^.\n]{1,40}?)?[ \t]*+(?:\*\*)?+[ \t]*+"
    r"(?:(?:is|are|was|would be|must be|should be)\b|:|：|=|-|–|—|是|为|选|(?=\n))[*:： \t]*|####",
    re.IGNORECASE,
)
_FONT = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|boxed|left|right)(?![a-zA-Z])")
_NO_BRACES = str.maketrans(dict.fromkeys("{}$"))
_QUOTED = re.compile(r"['\"‘“](\w)['\"’”]")
_LEADING = re.compile(
    r"[\W_]*(?:(?:the )?(?:correct |right |best |final )?(?:option|choice|answer|letter)\b[\W_]*)*", re.IGNORECASE
)
_LABELLED = re.compile(r"([A-Za-z])(?=\s*(?:[).:]|$))")
_LETTER = re.compile(r"(?<![A-Za-z'’])([A-Z])(?![A-Za-z'’])")
_NEGATED = re.compile(
    r"\b(?:not|n't|isn't|neither|nor|rather than|instead of|unlike)\s+(?:option\s+)?\(?[A-Z]\b\)?", re.IGNORECASE
)
_ALTERNATIVE = re.compile(
    r"\)?\s*(?:(?:or|and|&|/)\s*(?:option\s+)?\(?[A-Z](?![A-Za-z])|[,;]\s*\(?[A-Z]\)?\s*(?:$|[.,;/]|or\b|and\b))"
)
_WORD_FOLLOWS = re.compile(r"\s{1,9}[A-Za-z]|['’]")
# After A or I these words show that the letter is an option: "A because …". Before any other word it is a word itself.
_AFTER_LETTER = re.compile(r"\s+(?:because|since|as|which|is|due|based|for|and|or|from|by|with|then|\()(?![A-Za-z])")

LONG = 1000
"""Characters of a statement that are looked at."""


def stated_letter(response: str) -> str:
    """Return the letter of the stated option, else the only lone capital of the response; "" for none or several."""
    text = final_text(response).strip()
    box = last_box(text)
    stated = last_statement(text, _STATED) if box is None else box
    if stated:
        return _letter_of(stated)
    return _letter_of(text[:SHORT]) if len(text) <= SHORT else _only_letter(text)


def explicit_letter(text: str) -> str:
    """Return the letter that a piece of a response states in so many words, in a box or after "answer is"; else ""."""
    box = last_box(text)
    stated = last_statement(text, _STATED) if box is None else box
    return _letter_of(stated) if stated else ""


def _letter_of(statement: str) -> str:
    """Return the letter a statement begins with, ``b) 12`` and ``E: A polygenic score``, else the only one in it."""
    text = _NEGATED.sub("", _QUOTED.sub(r"\1", _FONT.sub("", statement[:LONG]).translate(_NO_BRACES)).strip())
    start = _LEADING.match(text)
    rest = text[start.end() :] if start else text
    labelled = _LABELLED.match(rest)
    if labelled is not None or _is_option(rest, 0):
        return "" if _ALTERNATIVE.match(rest, 1) else rest[0].upper()
    return _only_letter(text)


def _only_letter(text: str) -> str:
    letters = {match[1] for match in _LETTER.finditer(text) if _is_option(text, match.start())}
    return letters.pop() if len(letters) == 1 else ""


def _is_option(text: str, index: int) -> bool:
    """Return whether a lone capital is an option and not the article or the pronoun."""
    if not _LETTER.match(text, index):
        return False
    if text[index] not in "AI":
        return True
    return not _WORD_FOLLOWS.match(text, index + 1) or _AFTER_LETTER.match(text, index + 1) is not None
