"""Where tokens end in a text: pieces of characters, and tokenizers that do not decode piece by piece."""

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer

from headscope.traces.spans import TokenTexts, token_spans


def _bytes_decoder(pieces: Sequence[bytes]):  # type: ignore[no-untyped-def]
    return lambda tokens: b"".join(pieces[token] for token in tokens).decode("utf-8", "replace")


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=40), st.data())
def test_every_token_ends_where_its_last_whole_character_does(text: str, data: st.DataObject) -> None:
    encoded = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(encoded)), max_size=12)) | {0, len(encoded)})
    pieces = [encoded[start:end] for start, end in itertools.pairwise(cuts)]
    ends = TokenTexts(_bytes_decoder(pieces)).ends(range(len(pieces)), text)
    whole = [len(encoded[:cut].decode("utf-8", "ignore")) for cut in cuts[1:]]
    assert ends is not None
    assert ends.tolist() == whole


def test_a_byte_level_vocabulary_with_learned_merges() -> None:
    text = "Naïve 你好 🧮: so 12 * 7 = 84.\n\nWait — \\(x^2\\)… 👩‍👩‍👧"
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([text[:24]] * 9, vocab_size=290, show_progress=False)
    ids = tokenizer.encode(text).ids
    ends = TokenTexts(tokenizer.decode).ends(ids, text)
    assert ends is not None
    assert ends[-1] == len(text)
    assert (np.diff(ends) >= 0).all()
    place = text.index("84")
    first, last = token_spans(ends, [place], [place + 2])
    assert tokenizer.decode(ids[first[0] : last[0]]).strip() == "84"


def test_a_tokenizer_that_rewrites_what_it_said_has_no_spans() -> None:
    def decode(tokens: list[int]) -> str:
        return "".join("ab"[token] for token in tokens)[::-1]

    assert TokenTexts(decode).ends([0, 1, 1, 0, 0], decode([0, 1, 1, 0, 0])) is None


def test_a_leading_space_that_only_the_first_token_loses() -> None:
    def decode(tokens: list[int]) -> str:  # as SentencePiece does
        return "".join([" Hello", " world", "!"][token] for token in tokens).removeprefix(" ")

    ends = TokenTexts(decode).ends([0, 1, 2], "Hello world!")
    assert ends is not None
    assert ends.tolist() == [5, 11, 12]


def test_steps_between_tokens() -> None:
    first, last = token_spans(np.array([3, 5, 9]), [0, 3, 4], [3, 9, 9])
    assert (first.tolist(), last.tolist()) == ([0, 1, 1], [1, 3, 3])
