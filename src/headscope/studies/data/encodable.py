"""A check that a tokenizer has tokens for every text of a study: small vocabularies refuse what they lack."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError
from headscope.training.conversations import TEXT_KEYS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH = 1000


def check_encodable(tokenizer: "PreTrainedTokenizerBase", texts: Iterable[tuple[str, str]], advice: str) -> None:
    """Raise InputError for the first text that the tokenizer cannot encode, with the first piece it has no token for.

    Args:
        tokenizer: of the model that reads the texts.
        texts: what errors call a text, and the text.
        advice: the end of the sentence.
    """
    remaining = iter(texts)
    while batch := list(islice(remaining, _BATCH)):
        if _can_encode(tokenizer, [text for _, text in batch]):
            continue
        for place, text in batch:
            if not _can_encode(tokenizer, [text]):
                piece = next(piece for piece in _pieces(tokenizer, text) if not _can_encode(tokenizer, [piece]))
                raise InputError(f"{place} holds {piece!r}, for which the model's tokenizer has no token; {advice}")


def lacks_tokens(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Return whether there are texts that the tokenizer cannot encode, so that every text has to be tried.

    Those with a token for unknown pieces, or for every byte, encode anything.
    """
    return not _can_encode(tokenizer, ["\U0010fffd \u0378"])


def find_unencodable(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[int]:
    """Return the places of the texts that the tokenizer cannot encode."""
    if not lacks_tokens(tokenizer):
        return []
    places = []
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        if not _can_encode(tokenizer, batch):
            places += [start + place for place, text in enumerate(batch) if not _can_encode(tokenizer, [text])]
    return places


def message_texts(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the texts of the messages in ``columns`` of training rows, each with what errors call its row."""
    for number, row in enumerate(rows, start=1):
        for column in columns:
            for message in row[column]:
                for text in filter(None, map(message.get, TEXT_KEYS)):
                    yield f"row {number} of the training data", text


def _can_encode(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> bool:
    try:
        tokenizer(texts, add_special_tokens=False)
    except Exception:  # the tokenizers library raises bare Exception, and TypeError for lone surrogates
        return False
    return True


def _pieces(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[str]:
    """Return the pieces that a tokenizer looks up one by one, and the whole text last."""
    try:
        pieces = [piece for piece, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]
    except Exception:  # none of the tokenizers library, or a lone surrogate
        pieces = list(text)
    return [*pieces, text]
