"""Replacements: an operator's name gives the same numbers in a hook, in a sweep and in edited weights."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.precision import EXACT

from headscope.errors import InputError
from headscope.interventions import (
    Text,
    capture_mean,
    constant,
    make_replacement,
    mean,
    replace_heads,
    resample,
    teacher_force,
)
from headscope.interventions.spans import Markers, token_parts
from headscope.lab.tokenizer import build_tokenizer
from headscope.models import Subject
from headscope.models.hooks import tells_rows_apart

pytestmark = pytest.mark.usefixtures("float64")

HEADS = ["L0H1", "L1H3"]
THOUGHTS = ["a=3; ?a <think> a=3; </think> <ans> 3", "b=1; ?b <think> b=1; b=1; </think> <ans> 1"]
PLAIN = ["a=3; ?a <ans> 3", "b=1; ?b <ans> 1"]


@pytest.fixture
def subject(tiny_model: Any) -> Subject:
    return Subject(tiny_model("qwen3", vocab_size=79), build_tokenizer(), "lab")


def encode(subject: Subject, lines: list[str]) -> list[list[int]]:
    return [subject.tokenizer(line, add_special_tokens=False)["input_ids"] for line in lines]


def logits(subject: Subject, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return subject.model(torch.tensor([ids])).logits


@pytest.mark.parametrize("operator", ["mean", "resample"])
def test_a_hook_and_a_studys_ablation_give_the_same_numbers(subject: Subject, operator: str) -> None:
    texts = encode(subject, THOUGHTS)
    reference = [Text(tuple(text[:1]), tuple(text[1:])) for text in texts]
    with replace_heads(subject, HEADS, make_replacement(subject, operator, reference)):
        expected = logits(subject, texts[0])
    with mean(subject, HEADS, texts) if operator == "mean" else resample(subject, HEADS, texts):
        assert torch.equal(logits(subject, texts[0]), expected)


def test_the_mean_is_taken_by_part_of_the_text(subject: Subject) -> None:
    texts = encode(subject, THOUGHTS)
    z: list[torch.Tensor] = []
    output = subject.model.model.layers[0].self_attn.o_proj
    handle = output.register_forward_pre_hook(lambda _module, args: z.append(args[0][0, :, 8:16]))
    for text in texts:
        logits(subject, text)
    handle.remove()
    parts = torch.cat([torch.as_tensor(token_parts(text, Markers.of(subject))) for text in texts])
    assert set(parts.tolist()) == {0, 1, 2}
    replaced: list[torch.Tensor] = []
    with mean(subject, ["L0H1"], texts):
        handle = output.register_forward_pre_hook(lambda _module, args: replaced.append(args[0][0, :, 8:16]))
        logits(subject, texts[0])
        handle.remove()
    for place, part in enumerate(parts[: len(texts[0])].tolist()):
        by_hand = torch.cat(z)[parts == part].mean(0)
        assert torch.allclose(replaced[0][place], by_hand, rtol=0, atol=EXACT)
    with constant(subject, ["L0H1"], capture_mean(subject, texts)):
        pooled = logits(subject, texts[0])
    with mean(subject, ["L0H1"], texts):
        assert not torch.allclose(logits(subject, texts[0]), pooled, atol=1e-6)


def test_the_mean_of_texts_with_one_part_is_a_constant(subject: Subject) -> None:
    """Nothing follows the passes then, and rows that have ended may leave a batch."""
    texts = encode(subject, PLAIN)
    with mean(subject, HEADS, texts):
        assert not tells_rows_apart(subject.model)
        replaced = logits(subject, encode(subject, THOUGHTS)[0])
    with constant(subject, HEADS, capture_mean(subject, texts)):
        assert torch.equal(logits(subject, encode(subject, THOUGHTS)[0]), replaced)


@pytest.mark.parametrize(
    ("constants", "message"),
    [(np.full((2, 4, 8), np.nan), "found nan in constants"), (np.ones((1, 4, 8)), r"shape \[2, 4, 8\] is needed")],
)
def test_constants_that_heads_cannot_write_are_refused(subject: Subject, constants: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_replacement(subject, "optimal", [], constants=constants)


def test_without_markers_resampling_knows_a_problem_by_its_prompt(tiny_model: Any) -> None:
    model, factors = tiny_model("llama"), np.ones((1, 2, 4), dtype=np.float32)
    factors[0, 0, 1] = 0
    text, same, other = Text((1, 2, 3), (8, 8)), Text((1, 2, 3), (9, 9)), Text((4, 5), (6, 7))
    with pytest.raises(InputError, match="all 1 reference texts are of the problem"):
        teacher_force(model, [text], factors, replacement=make_replacement(model, "resample", [same]))
    alone, both = (
        teacher_force(model, [text], factors, replacement=make_replacement(model, "resample", bank)).nll
        for bank in ([other], [same, other])
    )
    assert np.array_equal(alone, both)
