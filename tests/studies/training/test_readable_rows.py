"""Rows that a tokenizer cannot encode are named before a training, whatever kind of tokenizer it is."""

from typing import TYPE_CHECKING, cast

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from headscope.errors import InputError
from headscope.studies.data.encodable import lacks_tokens
from headscope.studies.training.train import check_readable

if TYPE_CHECKING:
    from datasets import Dataset


class Rows(list[dict[str, list[dict[str, str]]]]):
    """Rows in memory: a data set of Arrow holds no half of a character."""

    def select(self, places: range) -> "Rows":
        return Rows(self[place] for place in places)


def test_half_a_character_is_refused_by_a_tokenizer_that_encodes_anything_else() -> None:
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    of_bytes = Tokenizer(models.BPE(vocab={symbol: number for number, symbol in enumerate(symbols)}, merges=[]))
    of_bytes.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=of_bytes)
    assert not lacks_tokens(tokenizer)
    rows = Rows([{"prompt": [{"role": "user", "content": "half \ud800"}], "completion": []}])
    with pytest.raises(InputError, match="row 1 of the training data holds"):
        check_readable(tokenizer, cast("Dataset", rows))
