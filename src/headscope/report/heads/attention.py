"""Attention for the page: whole heads and texts as long as the page's budget lasts, packed so that a browser unpacks
them.

A tile is one head on one text: the levels of the base (roots of weights, ``results.attention``), then those of the
variant less the base's (modulo 256), which are 0 where training changed nothing; both deflated together and written in
base64.
"""

import base64
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from headscope.plain_text import plain_text
from headscope.report.run_results import RunResults
from headscope.results.attention import LEVELS, Attention, AttentionText
from headscope.results.codec import Json
from headscope.results.not_run import NotRun

PAGE_LEVELS = 63
"""A quarter of what is saved, for a third fewer bytes: a weight a is off by 0.02 √a at most, half a shade."""
BUDGET = 1_000_000
"""Bytes of the page for attention, of all variants and their texts together."""
LONGEST_PIECE = 200
"""Characters of a token that are shown; a longer one ends in an ellipsis."""


def packed_attention(results: RunResults, budget: int = BUDGET) -> dict[str, Json]:
    """Return what the page shows of attention, by variant; a variant of which none was read has a ``reason``.

    The first text of every head comes before any second one, heads in the order in which they were read (new and lost
    ones first), until ``budget`` bytes are used up; ``left_out`` counts what is not there, a head and a text each.
    """
    packed: dict[str, Json] = {}
    read: list[Attention] = []
    for unit in results.in_order(Attention):
        name = plain_text(str(unit.labels["variant"]))
        if isinstance(unit.result, NotRun):
            packed[name] = {"reason": plain_text(unit.result.reason)}
            continue
        read.append(unit.result)
        packed[name] = _frame(unit.result)
        budget -= sum(len("".join(text["pieces"]).encode()) + 4 * len(text["pieces"]) for text in packed[name]["texts"])
    for attention, place, number in _in_turn(read):
        frame, head = packed[plain_text(attention.variant)], str(attention.heads[place])
        tile = "" if budget <= 0 else _tile(attention, place, number)
        budget = budget - len(tile) if len(tile) <= budget else 0  # nothing after the first that does not fit
        if budget > 0:
            frame["tiles"][head][number] = tile
        else:
            frame["left_out"] += 1
    return packed


def _in_turn(read: Sequence[Attention]) -> Iterator[tuple[Attention, int, int]]:
    """Yield every head and text of several variants: result, place of the head, number of the text."""
    for number in range(max((len(attention.texts) for attention in read), default=0)):
        for place in range(max(len(attention.heads) for attention in read)):
            for attention in read:
                if place < len(attention.heads) and number < len(attention.texts):
                    yield attention, place, number


def _frame(attention: Attention) -> dict[str, Json]:
    return {
        "heads_are": attention.heads_are,
        "chosen": attention.chosen,
        "levels": PAGE_LEVELS,
        "texts": [_text(text) for text in attention.texts],
        "tiles": {str(head): [None] * len(attention.texts) for head in attention.heads},
        "left_out": 0,
    }


def _text(text: AttentionText) -> dict[str, Json]:
    pieces = [plain_text(piece) for piece in text.pieces]
    pieces = [piece if len(piece) <= LONGEST_PIECE else f"{piece[:LONGEST_PIECE]}…" for piece in pieces]
    return {"problem": plain_text(text.problem), "pieces": pieces, "shared": text.shared, "length": text.length}


def _tile(attention: Attention, place: int, number: int) -> str:
    cells = attention.cells(number)
    return pack_tile(page_levels(attention.base[place, cells]), page_levels(attention.post[place, cells]))


def page_levels(cells: UInt8[np.ndarray, " cell"]) -> UInt8[np.ndarray, " cell"]:
    """Return saved levels as those of the page."""
    return np.rint(cells * (PAGE_LEVELS / LEVELS)).astype(np.uint8)


def pack_tile(base: UInt8[np.ndarray, " cell"], post: UInt8[np.ndarray, " cell"]) -> str:
    """Return the levels of two models as text, as the module says."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)  # bare deflate
    packed = compressor.compress(base.tobytes() + (post - base).tobytes()) + compressor.flush()
    return base64.b64encode(packed).decode("ascii")
