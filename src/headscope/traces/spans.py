"""Spans of tokens that a response's steps and numbers cover: the ends of its tokens in its text, and spans of both.

The ends are found by decoding the token ids piece by piece.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from headscope.traces.steps import Step

Decode = Callable[[list[int]], str]
TokenEnds = Int[np.ndarray, "token"]

_REPLACEMENT = "\ufffd"
_CONTEXT = 4
"""Tokens before a piece that are decoded with it: what a space or a broken character becomes depends on them."""
_LONGEST_CHARACTER = 8
"""Tokens after which a character that is still incomplete counts as broken."""


class CarriedSpan(NamedTuple):
    """A number of a response that repeats an earlier result, as characters of the text or as tokens of the response.

    start, end: its first place, and the one after its last.
    source_start, source_end: the same of the result that it repeats.
    """

    start: int
    end: int
    source_start: int
    source_end: int


class TokenTexts:
    """Texts of single tokens, each decoded once.

    Args:
        decode: function from token ids to text, the same with which the response was decoded.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._texts: dict[int, str] = {}

    def ends(self, tokens: Sequence[int], response: str) -> TokenEnds | None:
        """Return the character after each token's last one, in Unicode code points.

        A token that ends within a character ends before it. None if the pieces do not add up to the response, as with
        tokenizers that do not decode piece by piece.
        """
        pieces = [self._text(int(token)) for token in tokens]
        if "".join(pieces) == response:
            return np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        return self._ends_in_context([int(token) for token in tokens], response)

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._decode([token])
        return self._texts[token]

    def _ends_in_context(self, tokens: list[int], response: str) -> TokenEnds | None:
        """Decode the tokens a few at a time, each piece after the ones before it."""
        ends = np.zeros(len(tokens), dtype=np.int64)
        context = first = place = 0  # the piece begins at token ``first``, its context at ``context``
        for index in range(len(tokens)):
            before = self._decode(tokens[context:first])
            whole = self._decode(tokens[context : index + 1])
            is_open = whole.endswith(_REPLACEMENT) and index + 1 - first < _LONGEST_CHARACTER
            piece = whole[len(before) :]
            if is_open and index + 1 < len(tokens):
                ends[index] = place + len(piece.rstrip(_REPLACEMENT))
                continue
            if not response.startswith(piece, place):
                return None
            place += len(piece)
            ends[index] = place
            first = index + 1
            context = max(0, first - _CONTEXT)
        return ends if place == len(response) else None


def token_spans(
    ends: TokenEnds, starts: Sequence[int], stops: Sequence[int]
) -> tuple[Int[np.ndarray, "step"], Int[np.ndarray, "step"]]:
    """Return the first token of each step and the token after its last one.

    Args:
        ends: ends of the response's tokens, from ``TokenTexts``.
        starts: first character of each step.
        stops: character after the last one of each step.
    """
    first = np.searchsorted(ends, np.asarray(starts, dtype=np.int64), side="right")
    last = np.searchsorted(ends, np.asarray(stops, dtype=np.int64), side="left") + 1
    return first, np.minimum(last, len(ends))


def place_steps(steps: Sequence[Step], ends: TokenEnds) -> tuple[Step, ...]:
    """Return the steps with the positions of their tokens. ends: of the response's tokens, from ``TokenTexts``."""
    firsts, lasts = token_spans(ends, [step.start for step in steps], [step.end for step in steps])
    placed = []
    for step, first, last in zip(steps, firsts.tolist(), lasts.tolist(), strict=True):
        placed.append(replace(step, first_token=first, last_token=last))
    return tuple(placed)


def place_carried(spans: Sequence[CarriedSpan], ends: TokenEnds) -> list[CarriedSpan]:
    """Return spans of characters as spans of tokens. ends: of the response's tokens, from ``TokenTexts``."""
    firsts, lasts = token_spans(ends, [span.start for span in spans], [span.end for span in spans])
    source_firsts, source_lasts = token_spans(
        ends, [span.source_start for span in spans], [span.source_end for span in spans]
    )
    columns = [firsts.tolist(), lasts.tolist(), source_firsts.tolist(), source_lasts.tolist()]
    return [CarriedSpan(*places) for places in zip(*columns, strict=True)]
