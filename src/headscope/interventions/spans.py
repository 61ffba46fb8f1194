"""The tokens an intervention acts on: all of them, or the prompt, the thought or the answer of each row.

The part of a token is read from the text so far, so it is known while the text is being generated, row by row:

- *prompt*: everything before the model's turn, and anything in the turn before a thought;
- *thinking*: from the token that completes ``<think>`` to the last one before ``</think>`` is complete;
- *answer*: from the token that completes ``</think>`` on.

A head acts on the token that follows, so the token completing ``</think>`` is the first that makes the answer. Markers
before the model's turn (an instruction that names them, an earlier turn) are ignored.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from headscope.errors import InputError, suggestion
from headscope.models import Subject, as_model
from headscope.models.subject import SubjectOrModel

Part = Literal["prompt", "thinking", "answer"]
PARTS: tuple[Part, ...] = get_args(Part)
PADDING = -1


@dataclass(frozen=True)
class Markers:
    """Markers that separate the parts of a text; white space is ignored, as tokenizers split it differently.

    spell: returns the text of a token id.
    opening, closing: texts around a thought.
    turn: text that opens the model's turn, empty if texts have none.
    """

    spell: Callable[[int], str]
    opening: str = "<think>"
    closing: str = "</think>"
    turn: str = ""

    @classmethod
    def of(cls, model: SubjectOrModel) -> "Markers":
        """Return the markers of a ``Subject``: its tokenizer's words, the turn as its chat template opens it.

        Raises InputError if there is no tokenizer, or neither its tokens nor its template have think markers.
        """
        tokenizer = model.tokenizer if isinstance(model, Subject) else None
        if tokenizer is None:
            raise InputError("a span is told by think markers, which need a tokenizer; give a Subject that has one")
        vocabulary = set(tokenizer.get_vocab())
        missing = [marker for marker in (cls.opening, cls.closing) if marker not in vocabulary]
        if missing and cls.opening not in str(tokenizer.chat_template):
            raise InputError(
                f"the model's tokenizer has no token {missing[0]} and its chat template does not write it; "
                f"name the markers: Span('thinking', Markers(spell, opening, closing))"
            )
        return cls(_speller(tokenizer), turn=_turn_opening(tokenizer))

    @classmethod
    def none(cls) -> "Markers":
        """Return the markers of texts without parts: every token belongs to the prompt."""
        return cls(lambda _: "")

    @classmethod
    def if_known(cls, model: SubjectOrModel) -> "Markers":
        """Return the markers ``of`` a model, or ``none`` if the model has no think markers."""
        try:
            return cls.of(model)
        except InputError:
            return cls.none()


@dataclass(frozen=True)
class Span:
    """One part of every text. Raises InputError for an unknown part."""

    part: str
    markers: Markers

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise InputError(f"span {self.part!r} does not exist{suggestion(self.part, ['all', *PARTS])}")


def resolve_span(model: SubjectOrModel, span: str | Span) -> Span | None:
    """Return a span by name, with the markers of ``model``; None for ``all``."""
    if isinstance(span, Span):
        return span
    if span == "all":
        return None
    if span not in PARTS:
        raise InputError(f"span {span!r} does not exist{suggestion(span, ['all', *PARTS])}")
    return Span(span, Markers.of(model))


@dataclass
class _Row:
    """The state of one row's text so far.

    tail: its last letters, in which a marker may begin.
    part: its current part, as an index into PARTS.
    place: number of its tokens in that part.
    length: its length in tokens.
    prompt: the tokens of the prompt in the row's first pass.
    """

    tail: str = ""
    part: int = 0
    place: int = 0
    length: int = 0
    prompt: tuple[int, ...] = ()


class Reader:
    """Follows the rows of every forward pass of a model.

    parts: [row, token] of the current pass, index into PARTS, or PADDING.
    places: [row, token], number of tokens of the same part before each token.
    """

    def __init__(self, markers: Markers) -> None:
        self.markers = markers
        # In the order of PARTS: the event with index i begins part i.
        self._events = ["".join(marker.split()) for marker in (markers.turn, markers.opening, markers.closing)]
        self._longest = max(map(len, self._events))
        self._rows: list[_Row] = []
        self._length = 0
        self.parts: Int[np.ndarray, "row token"] = np.zeros((0, 0), dtype=np.int64)
        self.places: Int[np.ndarray, "row token"] = self.parts

    @property
    def prompts(self) -> list[tuple[int, ...]]:
        """Return the token ids of each row's prompt in its first pass, by which problems are told apart."""
        return [row.prompt for row in self._rows]

    def read(self, ids: Sequence[Sequence[int]], is_text: Bool[np.ndarray, "row token"], past: int) -> None:
        """Read one pass: its ids, which of them are text, and the number of positions in the cache.

        Raises InputError if the cache holds text this reader has not read.
        """
        previous_prompts = self.prompts
        if past == 0:
            self._rows = [_Row() for _ in ids]
        elif past != self._length or len(ids) != len(self._rows):
            raise InputError(
                f"a pass of {len(ids)} rows continues a cache of {past} positions, of which {len(self._rows)} rows of "
                f"{self._length} were seen; open the intervention before the text begins"
            )
        self._length = past + is_text.shape[1]
        # New arrays for every pass: copies of a reader keep those of theirs.
        self.parts = np.full(is_text.shape, PADDING)
        self.places = np.zeros(is_text.shape, dtype=np.int64)
        for index, row in enumerate(self._rows):
            columns = np.flatnonzero(is_text[index])
            self._read_row(row, ids[index], columns, index)
            if past == 0:
                prompt = tuple(ids[index][column] for column in columns.tolist() if self.parts[index, column] == 0)
                # Without a cache every pass reads the text from its beginning: a row that begins with its last prompt
                # is that text continued.
                previous = previous_prompts[index] if index < len(previous_prompts) else ()
                row.prompt = previous if previous and prompt[: len(previous)] == previous else prompt

    def move_rows(self, rows: Sequence[int]) -> None:
        """Go on with row ``rows[i]`` in place i, as beam search does."""
        self._rows = [replace(self._rows[row]) for row in rows]  # copies: two beams may go on from one

    def _read_row(self, row: _Row, ids: Sequence[int], columns: Int[np.ndarray, " _"], index: int) -> None:
        for count, column in enumerate(columns.tolist()):
            event = self._event(row, ids[column])
            if event == 0:  # the model's turn: everything before it, markers or not, was the prompt
                self.parts[index, columns[:count]] = 0
                self.places[index, columns[:count]] = np.arange(row.length - count, row.length)
                row.part, row.place = 0, row.length
            elif event is not None and event != row.part:
                row.part, row.place = event, 0
            self.parts[index, column] = row.part
            self.places[index, column] = row.place
            row.place += 1
            row.length += 1

    def _event(self, row: _Row, token: int) -> int | None:
        """Return the last marker that ``token`` completes: 0 the turn, 1 opening, 2 closing."""
        text = row.tail + "".join(self.markers.spell(token).split())
        last_event: int | None = None
        last_start = -1
        for event, marker in enumerate(self._events):
            start = text.rfind(marker) if marker else -1
            if start > last_start and start + len(marker) > len(row.tail):
                last_event, last_start = event, start
        row.tail = text[-(self._longest - 1) :] if self._longest > 1 else ""
        return last_event


@dataclass(frozen=True)
class SpanReader:
    """Finds the tokens of the current pass that lie in one part of their text."""

    reader: Reader
    part: int

    @classmethod
    def of(cls, span: Span | None) -> "SpanReader | None":
        """Return a reader for a span, None for no span; its ``reader`` must follow the passes."""
        return None if span is None else cls(Reader(span.markers), PARTS.index(span.part))

    def contains(self, device: torch.device) -> Bool[Tensor, "row token"]:
        """Return which tokens lie in the span."""
        return torch.as_tensor(self.reader.parts == self.part, device=device)


@contextmanager
def follow_passes(model: SubjectOrModel, reader: Reader) -> Iterator[None]:
    """Let ``reader`` follow the passes of ``model`` inside the block, and its rows where beam search moves them."""

    def read(call: Mapping[str, Any]) -> None:
        ids = call.get("input_ids")
        if ids is None:
            raise InputError("a span is told by token ids, and this pass has none (inputs_embeds)")
        cache = call.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length())
        reader.read(ids.tolist(), _is_text(ids, call.get("attention_mask")), past)

    with follow_rows(model, reader.move_rows, read):
        yield


@contextmanager
def follow_rows(
    model: SubjectOrModel,
    moved: Callable[[list[int]], None],
    begin: Callable[[Mapping[str, Any]], None] = lambda call: None,
) -> Iterator[None]:
    """Call ``moved`` inside the block when beam search moves the rows of a cache, and ``begin`` before each pass.

    moved: receives for each row the row it was before. begin: receives the arguments of the pass by name.
    """
    trunk = as_model(model).base_model
    signature = inspect.signature(trunk.forward)
    watched: list[tuple[Any, Callable[[Tensor], None]]] = []

    def watch(cache: Any) -> None:
        original = cache.reorder_cache  # or what another reader put in its place

        def reorder(rows: Int[Tensor, " row"]) -> None:
            original(rows)
            moved(rows.tolist())

        cache.reorder_cache = reorder
        watched.append((cache, original))

    def read(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = signature.bind_partial(*args, **kwargs).arguments
        call |= call.pop("kwargs", {})
        cache = call.get("past_key_values")
        if hasattr(cache, "reorder_cache") and all(cache is not known for known, _ in watched):
            watch(cache)
        begin(call)

    # Not a ``Hook``: those receive one argument, and the ids, the mask and the cache are needed together.
    handle = trunk.register_forward_pre_hook(read, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
        for cache, original in watched:
            cache.reorder_cache = original


def token_parts(tokens: Sequence[int], markers: Markers) -> Int[np.ndarray, " token"]:
    """Return the part of each token of one text, as an index into PARTS."""
    reader = Reader(markers)
    reader.read([tokens], np.ones((1, len(tokens)), dtype=bool), 0)
    row: Int[np.ndarray, " token"] = reader.parts[0]
    return row


def _is_text(ids: Int[Tensor, "row token"], mask: object) -> Bool[np.ndarray, "row token"]:
    """Return which ids are text and not padding; all of them without a mask."""
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        return np.ones(tuple(ids.shape), dtype=bool)
    is_text: Bool[np.ndarray, "row token"] = mask[:, -ids.shape[1] :].bool().cpu().numpy()
    return is_text


def _speller(tokenizer: PreTrainedTokenizerBase) -> Callable[[int], str]:
    spellings: dict[int, str] = {}

    def spell(token: int) -> str:
        if token not in spellings:
            spellings[token] = tokenizer.decode([token], skip_special_tokens=False)
        return spellings[token]

    return spell


def _turn_opening(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return what the chat template writes to open the model's turn, without a think marker."""
    if not tokenizer.chat_template:
        return ""
    question = [{"role": "user", "content": "?"}]
    question_text = str(tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=False))
    opened = str(tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True))
    opening = opened[len(question_text) :] if opened.startswith(question_text) else ""
    return opening.split(Markers.opening)[0].strip()
