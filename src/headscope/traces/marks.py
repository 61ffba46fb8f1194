"""Strategy marks: words in a step that are signs of its purpose, such as ``let me check`` of verification.

The words are in ``marks.yaml``, which the report shows. A mark does not prove a strategy, and its relation to right
answers is an association.
"""

import re
from functools import cache
from pathlib import Path

import yaml

LEXICON = Path(__file__).with_name("marks.yaml")


@cache
def lexicon() -> dict[str, tuple[str, ...]]:
    """Return the signs of each strategy, in the file's order."""
    content: dict[str, list[str]] = yaml.safe_load(LEXICON.read_text(encoding="utf-8"))
    return {strategy: tuple(signs) for strategy, signs in content.items()}


def find_marks(text: str) -> tuple[str, ...]:
    """Return the strategies that a step has signs of, in the lexicon's order."""
    folded = text.casefold()
    return tuple(strategy for strategy, signs in _patterns().items() if _stands_in(folded, signs))


def _stands_in(folded: str, signs: tuple[tuple[str, re.Pattern[str]], ...]) -> bool:
    # Looking for the letters is many times faster than for whole words, and mostly settles it.
    return any(sign in folded and pattern.search(folded) for sign, pattern in signs)


@cache
def _patterns() -> dict[str, tuple[tuple[str, re.Pattern[str]], ...]]:
    return {
        strategy: tuple((sign, re.compile(_whole_words(sign))) for sign in signs)
        for strategy, signs in lexicon().items()
    }


def _whole_words(sign: str) -> str:
    before = r"\b" if sign[0].isalnum() else ""
    after = r"\b" if sign[-1].isalnum() else ""
    return f"{before}{re.escape(sign)}{after}"
