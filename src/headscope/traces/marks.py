"""Strategy marks: words in a step that are signs of what it is for, such as ``let me check`` of verification.

The words stand in ``marks.yaml``, which the report shows. A mark is no proof of a strategy, and what goes with it in
the answers is an association.
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
    found = {strategy for match in _pattern().finditer(text.casefold()) for strategy in _strategies()[match[0]]}
    return tuple(strategy for strategy in lexicon() if strategy in found)


@cache
def _strategies() -> dict[str, tuple[str, ...]]:
    strategies: dict[str, tuple[str, ...]] = {}
    for strategy, signs in lexicon().items():
        for sign in signs:
            strategies[sign] = (*strategies.get(sign, ()), strategy)
    return strategies


@cache
def _pattern() -> re.Pattern[str]:
    # Longer signs first, so that "double check" is not read as its beginning.
    signs = sorted(_strategies(), key=len, reverse=True)
    parts = []
    for sign in signs:
        before, after = (r"\b" if edge.isalnum() else "" for edge in (sign[0], sign[-1]))
        parts.append(f"{before}{re.escape(sign)}{after}")
    return re.compile("|".join(parts))
