"""Where an intervention acts: in every token, or in the prompt, the thought or the answer of each row.

The part of a token is read from the text so far, so it is known while the text is being generated, row by row:

- *prompt*: all before the model's turn, and whatever the turn holds before a thought;
- *thinking*: from the token that completes ``<think>`` to the last one before ``</think>`` is complete;
- *answer*: from the token that completes ``</think>`` on.

A head acts on the token that follows, so the token completing ``</think>`` is the first that makes the answer. Markers
before the model's turn (an instruction that names them, an earlier turn) count nothing.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from headscope.errors import InputError, suggestion
from headscope.models import Subject, as_model

Part = Literal["prompt", "thinking", "answer"]
PARTS: tuple[Part, ...] = get_args(Part)
PADDING = -1


@dataclass(frozen=True)
class Markers:
    """What the parts of a text are told by. White space counts nothing: tokenizers differ in whose it is.

    spell: the text of a token id.
    opening, closing: what encloses a thought. turn: what opens the model's turn, empty where texts have none.
    """

    spell: Callable[[int], str]
    opening: str = "<think>"
    closing: str = "</think>"
    turn: str = ""

    @classmethod
    def of(cls, model: Any) -> "Markers":
        """Those of a ``Subject``: its tokenizer's words, the turn as its chat template opens it.

        Raises InputError where there is no tokenizer, or neither its tokens nor its template know the markers.
        """
        tokenizer = model.tokenizer if isinstance(model, Subject) else None
        if tokenizer is None:
            raise InputError("a span is told by think markers, which need a tokenizer; give a Subject that has one")
        known = set(tokenizer.get_vocab())
        missing = [each for each in (cls.opening, cls.closing) if each not in known]
        if missing and cls.opening not in str(tokenizer.chat_template):
            raise InputError(
                f"the model's tokenizer has no token {missing[0]} and its chat template does not write it; "
                f"name the markers: Span('thinking', Markers(spell, opening, closing))"
            )
        return cls(_speller(tokenizer), turn=_turn(tokenizer))

    @classmethod
    def none(cls) -> "Markers":
        """Of texts without parts: every token is of the prompt."""
        return cls(lambda _: "")


@dataclass(frozen=True)
class Span:
    """One part of every text. Raises InputError for an unknown part."""

    part: str
    markers: Markers

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise InputError(f"span {self.part!r} does not exist{suggestion(self.part, ['all', *PARTS])}")


def resolve_span(model: Any, span: str | Span) -> Span | None:
    """A span by name, with the markers of ``model``; None for ``all``."""
    if isinstance(span, Span):
        return span
    if span == "all":
        return None
    if span not in PARTS:
        raise InputError(f"span {span!r} does not exist{suggestion(span, ['all', *PARTS])}")
    return Span(span, Markers.of(model))


@dataclass
class _Row:
    """One row's text so far: its last letters, the part it is in, how far into it, and its length in tokens.

    prompt: the tokens of that part in the row's first pass.
    """

    tail: str = ""
    part: int = 0
    place: int = 0
    length: int = 0
    prompt: tuple[int, ...] = ()


class Reader:
    """Follows the rows of every forward pass of a model.

    parts: of the current pass, [row, token]: index into PARTS, or PADDING.
    places: how many tokens of the same part stand before each, [row, token].
    prompts: of each row, the tokens of that part in its first pass: which problem it is. Without a cache every pass
        reads the text anew; a row that begins with its last prompt is that text written on.
    """

    def __init__(self, markers: Markers) -> None:
        self.markers = markers
        self._events = ["".join(each.split()) for each in (markers.turn, markers.opening, markers.closing)]
        self._longest = max(map(len, self._events))
        self._rows: list[_Row] = []
        self._length = 0
        self.parts: Int[np.ndarray, "row token"] = np.zeros((0, 0), dtype=np.int64)
        self.places: Int[np.ndarray, "row token"] = self.parts

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """Token ids by row."""
        return [row.prompt for row in self._rows]

    def read(self, ids: Sequence[Sequence[int]], real: Bool[np.ndarray, "row token"], past: int) -> None:
        """Take in one pass: its ids, which of them are text, and how many positions the cache already holds.

        Raises InputError where the cache holds text this reader has not seen.
        """
        before = [row.prompt for row in self._rows]
        if past == 0:
            self._rows = [_Row() for _ in ids]
        elif past != self._length or len(ids) != len(self._rows):
            raise InputError(
                f"a pass of {len(ids)} rows continues a cache of {past} positions, of which {len(self._rows)} rows of "
                f"{self._length} were seen; open the intervention before the text begins"
            )
        self._length = past + real.shape[1]
        self.parts = np.full(real.shape, PADDING)
        self.places = np.zeros(real.shape, dtype=np.int64)
        for index, row in enumerate(self._rows):
            columns = np.flatnonzero(real[index])
            self._read_row(row, ids[index], columns, index)
            if past == 0:
                prompt = tuple(ids[index][column] for column in columns.tolist() if self.parts[index, column] == 0)
                last = before[index] if index < len(before) else ()
                row.prompt = last if last and prompt[: len(last)] == last else prompt

    def _read_row(self, row: _Row, ids: Sequence[int], columns: "Int[np.ndarray, '_']", index: int) -> None:
        for count, column in enumerate(columns.tolist()):
            event = self._event(row, ids[column])
            if event == 0:  # the model's turn: all before it, markers or not, was the prompt
                self.parts[index, columns[:count]] = 0
                self.places[index, columns[:count]] = np.arange(row.length - count, row.length)
                row.part, row.place = 0, row.length
            elif event is not None and event != row.part:
                row.part, row.place = event, 0
            self.parts[index, column], self.places[index, column] = row.part, row.place
            row.place, row.length = row.place + 1, row.length + 1

    def _event(self, row: _Row, token: int) -> int | None:
        """The last marker that ``token`` completes: 0 the turn, 1 opening, 2 closing."""
        text = row.tail + "".join(self.markers.spell(token).split())
        last: int | None = None
        furthest = -1
        for event, marker in enumerate(self._events):
            at = text.rfind(marker) if marker else -1
            if at > furthest and at + len(marker) > len(row.tail):
                last, furthest = event, at
        row.tail = text[-(self._longest - 1) :] if self._longest > 1 else ""
        return last


@contextmanager
def follow_passes(model: Any, reader: Reader) -> Iterator[None]:
    """``reader`` follows the passes of ``model`` inside the block.

    Rows must stay the same rows from pass to pass: beam search, which reorders them, is not followed.
    """
    trunk = as_model(model).base_model
    signature = inspect.signature(trunk.forward)

    def read(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = signature.bind_partial(*args, **kwargs).arguments
        call |= call.pop("kwargs", {})
        ids = call.get("input_ids")
        if ids is None:
            raise InputError("a span is told by token ids, and this pass has none (inputs_embeds)")
        cache = call.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length())
        reader.read(ids.tolist(), _real(ids, call.get("attention_mask")), past)

    # Not a ``Hook``: those see one argument, and the ids, the mask and the cache are needed together.
    handle = trunk.register_forward_pre_hook(read, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def token_parts(tokens: Sequence[int], markers: Markers) -> "Int[np.ndarray, 'token']":
    """The part of each token of one text, as an index into PARTS."""
    reader = Reader(markers)
    reader.read([tokens], np.ones((1, len(tokens)), dtype=bool), 0)
    row: np.ndarray = reader.parts[0]
    return row


def _real(ids: Int[Tensor, "row token"], mask: Any) -> Bool[np.ndarray, "row token"]:
    """Which ids are text and not padding; all of them where the mask does not say."""
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        return np.ones(tuple(ids.shape), dtype=bool)
    real: np.ndarray = mask[:, -ids.shape[1] :].bool().cpu().numpy()
    return real


def _speller(tokenizer: Any) -> Callable[[int], str]:
    known: dict[int, str] = {}

    def spell(token: int) -> str:
        if token not in known:
            known[token] = tokenizer.decode([token], skip_special_tokens=False)
        return known[token]

    return spell


def _turn(tokenizer: Any) -> str:
    """What the chat template writes to open the model's turn, up to a think marker it may write too."""
    if not tokenizer.chat_template:
        return ""
    texts = [
        tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False, add_generation_prompt=on)
        for on in (False, True)
    ]
    opened = str(texts[1])[len(texts[0]) :] if str(texts[1]).startswith(str(texts[0])) else ""
    return opened.split(Markers.opening)[0].strip()
