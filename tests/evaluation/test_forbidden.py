"""Markers that are never generated: which tokens write them, and that both engines mask exactly those."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.evaluation.prompts import PROMPTS, WARM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from headscope.errors import InputError
from headscope.evaluation import sample
from headscope.evaluation.completions import Sampling
from headscope.evaluation.forbidden import ForbiddenTokens, _encode, forbidden_tokens
from headscope.evaluation.transformers_engine import _Mask
from headscope.model_files.chat_templates import stop_tokens

MERGES = "w a|i t|wa it|Ġ wait|W a|Wa it|c h|e c|ec k|ch eck|r e|Ġ re"


@pytest.fixture
def bpe() -> Any:
    """Byte-level BPE, as of most models: ``wait`` and `` wait`` are tokens, ``recheck`` takes two, ``WAIT`` four."""
    merges = [tuple(merge.split()) for merge in MERGES.split("|")]
    tokens = ["<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(merge) for merge in merges)]
    backend = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def written(tokenizer: Any, forbidden: ForbiddenTokens) -> tuple[set[str], set[str]]:
    """The texts of the single tokens, and those of the sequences with a bar between tokens."""
    sequences = {"|".join(tokenizer.decode([token]) for token in sequence) for sequence in forbidden.sequences}
    return {tokenizer.decode([token]) for token in forbidden.singles}, sequences


def test_capitals_and_spaces_of_a_marker_are_masked_and_nothing_else(bpe: Any) -> None:
    for marker in ("wait", " Wait"):
        singles, sequences = written(bpe, forbidden_tokens(bpe, [marker], [0]))
        assert singles == {"wait", " wait", "Wait"}
        # " Wait" and " WAIT" are written with a token for the space, and cannot come about without the rest.
        assert sequences == {"W|A|I|T"}
    both = forbidden_tokens(bpe, ["wait", "recheck"], [0])
    assert {"re|check", " re|check"} <= written(bpe, both)[1]
    for text in ("so wait", "Wait, no", "a WAIT", "please recheck it"):
        assert both.occur_in(_encode(bpe, text)), text
    for text in ("so it is", "re check", "checked", "w a i t"):
        assert not both.occur_in(_encode(bpe, text)), text
    assert forbidden_tokens(bpe, [], [0]) == ForbiddenTokens()


@pytest.mark.parametrize(
    ("markers", "stops", "message"),
    [
        (["w3", "hmm"], [2], "forbid holds 'hmm', which no tokens of the model's vocabulary write"),
        (["<eos>"], [2], "forbid holds '<eos>', with which the model ends its answers"),
        (["w3 w4"], [2, 13], "forbid holds 'w3 w4', with which the model ends its answers"),
        (["w3", "w4"], [token for token in range(97) if token not in (12, 13)], "leaves the model no token"),
    ],
)
def test_markers_that_cannot_or_must_be_written_are_refused(
    tokenizer: Any, markers: list[str], stops: list[int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        forbidden_tokens(tokenizer, markers, stops)


def test_a_mask_by_hand() -> None:
    mask = _Mask(ForbiddenTokens((1, 99), ((2, 3), (2, 2, 4))), rows=3, steps=4)
    free = torch.zeros(2, 5)
    rows = torch.tensor([0, 2])  # row 1 has ended

    def hidden(step: int) -> list[list[int]]:
        return [row.isinf().nonzero()[:, 0].tolist() for row in mask.hide(free, rows, step)]

    assert hidden(0) == [[1], [1]]
    mask.record(torch.tensor([2, 0]), rows, 0)
    assert hidden(1) == [[1, 3], [1]]
    mask.record(torch.tensor([2, 2]), rows, 1)
    assert hidden(2) == [[1, 3, 4], [1, 3]]
    assert not free.any()


@pytest.mark.usefixtures("float64")
def test_answers_are_those_of_a_plain_loop_that_skips_what_is_masked(model: Any, tokenizer: Any) -> None:
    greedy = Sampling(samples=1, max_new_tokens=8, temperature=0, top_p=1.0)
    plain = sample(model, tokenizer, PROMPTS, greedy)
    # The first two tokens of an answer as one marker, the fourth token of another as one more.
    markers = (tokenizer.decode(plain[0].tokens[:2]), tokenizer.decode([plain[1].tokens[3]]))
    masked = sample(model, tokenizer, PROMPTS, replace(greedy, forbid=markers))
    forbidden = forbidden_tokens(tokenizer, markers, stop_tokens(tokenizer))
    assert [len(forbidden.singles), len(forbidden.sequences)] == [1, 1]
    assert masked != plain
    for prompt, completion in zip(PROMPTS, masked, strict=True):
        response: list[int] = []
        for token in completion.tokens:
            with torch.no_grad():
                ranked = model(torch.tensor([[*prompt, *response]])).logits[0, -1].argsort(descending=True).tolist()
            assert token == next(index for index in ranked if not forbidden.occur_in([*response, index]))
            response.append(token)


@pytest.mark.usefixtures("float64")
def test_no_draw_holds_a_marker_and_batches_change_nothing(model: Any, tokenizer: Any) -> None:
    plain = sample(model, tokenizer, PROMPTS, WARM)
    markers = tuple(dict.fromkeys(tokenizer.decode([completion.tokens[1]]) for completion in plain))[:3]
    sampling = replace(WARM, forbid=(*markers, "w3 w4"))
    masked = sample(model, tokenizer, PROMPTS, sampling)
    forbidden = forbidden_tokens(tokenizer, sampling.forbid, stop_tokens(tokenizer))
    assert any(forbidden.occur_in(completion.tokens) for completion in plain)
    assert not any(forbidden.occur_in(completion.tokens) for completion in masked)
    assert [completion.seed for completion in masked] == [completion.seed for completion in plain]
    assert sample(model, tokenizer, PROMPTS, sampling, batch_size=2) == masked
    assert WARM.as_dict().keys() == {"samples", "max_new_tokens", "temperature", "top_p", "seed"}
    assert sampling.as_dict()["forbid"] == [*markers, "w3 w4"]


def test_vllm_is_told_what_to_mask_and_is_not_believed(vllm: Any, tokenizer: Any) -> None:
    engine = vllm.LLM()
    sample(engine, tokenizer, PROMPTS[:1], WARM, engine="vllm")
    assert (engine.parameters[0]["logit_bias"], engine.parameters[0]._bad_words_token_ids) == (None, None)
    sample(engine, tokenizer, PROMPTS[:1], replace(WARM, forbid=("w3", "w4 w5")), engine="vllm")
    assert engine.parameters[0]["logit_bias"] == {12: -100.0}
    assert engine.parameters[0]._bad_words_token_ids == [[13, 14]]
    for marker in ("w11", "w11 w12"):  # the stand-in masks nothing, and always writes these
        with pytest.raises(InputError, match=f"'vllm' wrote one of the forbidden {marker}"):
            sample(engine, tokenizer, PROMPTS[:1], replace(WARM, forbid=(marker,)), engine="vllm")
