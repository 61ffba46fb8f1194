"""Cut a response into steps: its thought and its answer, their paragraphs, and the sentences of these.

A step never ends inside a formula (``$…$``, ``$$…$$``, ``\\(…\\)``, ``\\[…\\]``) or a code fence; a fence is its own
step. An opening marker without a closing one is ignored, except for a fence, which then continues to the end. Time is
proportional to the text's length.
"""

import re
from collections.abc import Iterator

from headscope.traces.steps import Part, Step

OPEN, CLOSE = "<think>", "</think>"
_FENCE = "```"
_CLOSING = {"$$": "$$", "$": "$", "\\[": "\\]", "\\(": "\\)"}
_LONGEST_INLINE = 500
"""Characters of a formula between single dollar signs; two prices further apart than that are no formula."""
_STOP = re.compile(
    r"""
    (?P<fence>^[ \t]*```) | (?P<formula>\$\$|\\\[|\\\(|(?<!\\)\$) | (?P<paragraph>\n[^\S\n]*\n\s*)
    | (?P<sentence>[.!?][)\]"'”’*]*(?=\s)|[。！？])
    """,
    re.VERBOSE | re.MULTILINE,
)
# What ends with a full stop and no sentence: a number of a list, an initial, an abbreviation.
_NO_END = re.compile(r"(?:^|\n)\s*\d{1,3}\.$|\b[A-Z]\.$|\b(?:e\.g|i\.e|etc|vs|cf|Dr|Mr|Mrs|Ms|Eq|Fig|approx|resp)\.$")


def split_steps(response: str) -> tuple[Step, ...]:
    """Return the steps of a response in order, without spaces around them and without empty ones.

    The thought ends at the first ``</think>``. Without it, a response that begins with ``<think>`` is all thought, and
    any other is all answer.
    """
    start = response.find(OPEN) + len(OPEN) if response.lstrip().startswith(OPEN) else 0
    end = response.find(CLOSE)
    steps: list[Step] = []
    if end >= 0:
        steps += _part(response, start, end, "thinking")
        steps += _part(response, end + len(CLOSE), len(response), "answer")
    else:
        steps += _part(response, start, len(response), "thinking" if start else "answer")
    return tuple(steps)


def _part(response: str, start: int, end: int, part: Part) -> Iterator[Step]:
    """Yield the steps of one part."""
    for first, last, kind in _spans(response[start:end]):
        piece = response[start + first : start + last]
        stripped = piece.strip()
        if stripped:
            begin = start + first + len(piece) - len(piece.lstrip())
            yield Step(part, begin, begin + len(stripped), kind=kind)


def _spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, kind) of sentences and code."""
    start = place = 0
    absent: set[str] = set()  # closing markers that do not come any more: looked for once, not from every opening one
    while match := _STOP.search(text, place):
        if match["fence"]:
            yield start, match.start(), "sentence"
            start = place = _end_of_fence(text, match.end())
            yield match.start(), place, "code"
        elif match["formula"]:
            place = _end_of_formula(text, match, absent)
        elif match["sentence"] and _NO_END.search(text, max(start, match.end() - 12), match.end()):
            place = match.end()
        else:
            place = match.end()
            yield start, place, "sentence"
            start = place
    yield start, len(text), "sentence"


def _end_of_fence(text: str, place: int) -> int:
    closing = text.find("\n" + _FENCE, place)
    return len(text) if closing < 0 else closing + 1 + len(_FENCE)


def _end_of_formula(text: str, opening: "re.Match[str]", absent: set[str]) -> int:
    """Return the place after a formula; after its opening marker, if nothing closes it."""
    marker, after = opening["formula"], opening.end()
    closing = _CLOSING[marker]
    if closing in absent:
        return after
    limit = min(len(text), after + _LONGEST_INLINE) if marker == "$" else len(text)
    place = text.find(closing, after, limit)
    if place < 0:
        if marker != "$":
            absent.add(closing)
        return after
    if marker == "$" and "\n\n" in text[after:place]:
        return after  # two prices in two paragraphs
    return place + len(closing)
