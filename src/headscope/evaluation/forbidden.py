"""Find the tokens that write the markers which answers are sampled without.

1. Every token whose text is a marker, whatever its capitals and the white space around it, is never generated: of
   ``wait`` also ``Wait`` and `` wait``.
2. A spelling that the tokenizer writes with several tokens is broken off before its last one, as ``bad_words`` of vLLM
   and of transformers do: the marker as given, in small and in capital letters and with a capital first, each with and
   without a space before it.

A marker spelt from other pieces than the tokenizer's own can still be written; a word that is spelt with the marker's
token, as ``await`` may be, cannot.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headscope.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class ForbiddenTokens:
    """The tokens that are masked.

    singles: ids that are never generated. sequences: ids, of which the last is never generated after all the others.
    """

    singles: tuple[int, ...] = ()
    sequences: tuple[tuple[int, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.singles or self.sequences)

    def occur_in(self, tokens: Sequence[int]) -> bool:
        """Return whether a response holds any of them."""
        is_single = not set(self.singles).isdisjoint(tokens)
        return is_single or any(_holds(tuple(tokens), sequence) for sequence in self.sequences)


def forbidden_tokens(
    tokenizer: "PreTrainedTokenizerBase", markers: Sequence[str], stops: Collection[int]
) -> ForbiddenTokens:
    """Return what writes the ``markers``; nothing if there are none. stops: ids that end an answer.

    Raises InputError for a marker that nothing in the vocabulary writes, one that ends answers, or markers that leave
    no token to answer with.
    """
    if not markers:
        return ForbiddenTokens()
    texts = _token_texts(tokenizer)
    singles: set[int] = set()
    sequences: set[tuple[int, ...]] = set()
    for marker in markers:
        own_singles = {index for index, text in texts.items() if _key(text) == _key(marker)}
        own_sequences = set(_token_sequences(tokenizer, marker))
        if not own_singles and not own_sequences:
            raise InputError(f"forbid holds {marker!r}, which no tokens of the model's vocabulary write; leave it out")
        if not (own_singles | {sequence[-1] for sequence in own_sequences}).isdisjoint(stops):
            raise InputError(f"forbid holds {marker!r}, with which the model ends its answers; leave it out")
        singles |= own_singles
        sequences |= own_sequences
    if texts.keys() <= singles | set(stops):
        raise InputError("forbid leaves the model no token to answer with; forbid fewer markers")
    # A sequence that holds another, or a token that is never generated, needs no mask of its own.
    shortest: list[tuple[int, ...]] = []
    for sequence in sorted(sequences, key=lambda sequence: (len(sequence), sequence)):
        if singles.isdisjoint(sequence) and not any(_holds(sequence, shorter) for shorter in shortest):
            shortest.append(sequence)
    return ForbiddenTokens(tuple(sorted(singles)), tuple(shortest))


def _spellings(marker: str) -> list[str]:
    """Return the texts of a marker that are looked for."""
    word = marker.strip()
    cases = dict.fromkeys((word, word.lower(), word.upper(), word[:1].upper() + word[1:]))
    return [space + case for case in cases for space in ("", " ")]


def _encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[int, ...]:
    """Return the ids of a text alone; none if the tokenizer has no tokens for it."""
    try:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    except Exception:  # the tokenizers library raises bare Exception
        return ()


def _token_sequences(tokenizer: "PreTrainedTokenizerBase", marker: str) -> Iterator[tuple[int, ...]]:
    """Yield the ids of every spelling that takes several tokens."""
    for text in _spellings(marker):
        ids = _encode(tokenizer, text)
        # Unknown pieces may have become one token that says so: then the ids write something else.
        if len(ids) > 1 and _letters(_decode(tokenizer, [ids])[0]) == _letters(marker):
            yield ids


def _token_texts(tokenizer: "PreTrainedTokenizerBase") -> dict[int, str]:
    """Return the text of every token by its id."""
    ids = sorted(tokenizer.get_vocab().values())
    return dict(zip(ids, _decode(tokenizer, [(index,) for index in ids]), strict=True))


def _decode(tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Sequence[int]]) -> list[str]:
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    texts: list[str] = tokenizer.batch_decode([list(row) for row in rows], **options)
    return texts


def _holds(tokens: tuple[int, ...], sequence: tuple[int, ...]) -> bool:
    width = len(sequence)
    return any(tokens[start : start + width] == sequence for start in range(len(tokens) - width + 1))


def _key(text: str) -> str:
    return text.strip().casefold()


def _letters(text: str) -> str:
    """Return a text to be compared with another; a decoder may put spaces of its own between tokens."""
    return "".join(text.split()).casefold()
