"""Spans: the part of every token, read row by row, and interventions that keep to it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from tests.precision import EXACT

from headscope.errors import InputError
from headscope.interventions import Markers, Span, capture_mean, mean, resample, scale, scale_rows, zero
from headscope.interventions.spans import PADDING, Reader, token_parts
from headscope.lab.tokenizer import build_tokenizer
from headscope.models import Hook, Subject, attach_hooks

pytestmark = pytest.mark.usefixtures("float64")

# 30 opens a thought, 31 closes it, 32 and 33 open the model's turn together, and 34 35 close a thought in pieces.
WORDS = {30: "<think>", 31: " </think>\n", 32: "<|turn|>", 33: "model", 34: "</thi", 35: "nk>"}
MARKERS = Markers(lambda token: WORDS.get(token, "x"), turn="<|turn|>model")
THINKING, ANSWER = Span("thinking", MARKERS), Span("answer", MARKERS)


def read(*rows: list[int]) -> list[list[int]]:
    return [token_parts(row, MARKERS).tolist() for row in rows]


def test_parts_follow_the_markers() -> None:
    assert read([1, 2, 30, 3, 31, 4]) == [[0, 0, 1, 1, 2, 2]]
    assert read([30, 3, 34, 35, 4]) == [[1, 1, 1, 2, 2]]  # complete only with its last piece
    assert read([1, 2, 3]) == [[0, 0, 0]]


def test_markers_before_the_models_turn_count_nothing() -> None:
    assert read([30, 1, 31, 2, 32, 33, 30, 5, 31, 6]) == [[0, 0, 0, 0, 0, 0, 1, 1, 2, 2]]
    reader = Reader(MARKERS)
    reader.read([[30, 1, 31, 2, 32, 33, 30, 5]], np.ones((1, 8), dtype=bool), 0)
    assert reader.places.tolist() == [[0, 1, 2, 3, 4, 5, 0, 1]]
    assert reader.prompts == [(30, 1, 31, 2, 32, 33)]


def test_rows_are_followed_through_padding_and_cache() -> None:
    reader = Reader(MARKERS)
    reader.read([[0, 0, 1, 30], [1, 30, 2, 31]], np.array([[False, False, True, True], [True] * 4]), 0)
    assert reader.parts.tolist() == [[PADDING, PADDING, 0, 1], [0, 1, 1, 2]]
    reader.read([[31], [5]], np.ones((2, 1), dtype=bool), 4)
    assert (reader.parts.tolist(), reader.places.tolist()) == ([[2], [2]], [[0], [1]])
    with pytest.raises(InputError, match="open the intervention before the text begins"):
        reader.read([[1], [1]], np.ones((2, 1), dtype=bool), 9)


def record_z(model: Any, layer: int, work: Any) -> torch.Tensor:
    """What reaches o_proj, all passes side by side; call it inside the intervention, whose hooks come first."""
    passes: list[torch.Tensor] = []
    with attach_hooks([Hook(model.model.layers[layer].self_attn.o_proj, "input", passes.append)]), torch.no_grad():
        work()
    return torch.cat(passes, dim=1)


def test_a_span_keeps_to_its_tokens_in_left_padded_generation_with_cache(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    ids = torch.tensor([[0, 0, 1, 30], [1, 2, 30, 3], [4, 5, 6, 7]])
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]])
    # What is generated is forced, so that every row closes its thought at another step.
    written = torch.tensor([[3, 31, 4, 5], [31, 4, 5, 6], [30, 2, 31, 4]])

    def force_written(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, -1e9).scatter(1, written[:, input_ids.shape[1] - 4][:, None], 0.0)

    def work() -> None:
        model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=4,
            do_sample=False,
            pad_token_id=0,
            logits_processor=[force_written],
        )

    # The last written token is never fed; the rows' parts, column by column:
    parts = np.array([[-1, -1, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2, 2], [0, 0, 0, 0, 1, 1, 2]])
    for span, part in ((THINKING, 1), (ANSWER, 2)):
        with zero(model, ["L0H2"], span=span):
            z = record_z(model, 0, work)[..., 16:24]
        text = parts != PADDING
        assert ((z == 0).all(-1).numpy() == (parts == part))[text].all()


def test_teacher_forcing_and_generation_agree_under_a_span(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    prompt = torch.tensor([[1, 30, 3]])
    with scale(model, ["L0H1", "L1H2"], 3.0, span=THINKING), torch.no_grad():
        generated = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False, pad_token_id=0
        )
        whole = model(generated).logits[:, 2:-1].argmax(-1)
    assert torch.equal(whole, generated[:, 3:])


def likelier_markers(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Beams that open and close their thoughts at different steps."""
    scores[:, 30:32] += torch.tensor([0.3, 0.6])
    return scores


def beams(model: Any, **settings: Any) -> Any:
    prompts = torch.tensor([[1, 2, 30, 3], [4, 5, 6, 7]])
    return model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=10,
        num_beams=4,
        num_return_sequences=4,
        do_sample=False,
        pad_token_id=0,
        logits_processor=[likelier_markers],
        output_scores=True,
        return_dict_in_generate=True,
        **settings,
    )


def test_beams_are_followed_to_their_new_rows(tiny_model: Any) -> None:
    """With a cache beam search moves rows, and without one every pass reads the texts from their beginning."""
    model = tiny_model("qwen3")
    texts = [[9, 8, 30, 7, 31, 6], [6, 30, 7, 31, 8]]
    edits = {
        "a span": lambda: scale(model, ["L0H1", "L1H2"], 3.0, span=ANSWER),
        "means of parts": lambda: mean(model, ["L0H1", "L1H2"], texts, span=THINKING),
        "another problem's writes": lambda: resample(model, ["L0H1", "L1H2"], texts, span=THINKING),
        "a span in a span": lambda: both(
            scale(model, ["L0H1"], 3.0, span=ANSWER), zero(model, ["L1H2"], span=THINKING)
        ),
    }
    for name, edit in edits.items():
        with edit():
            cached, plain = beams(model, use_cache=True), beams(model, use_cache=False)
        assert torch.equal(cached.sequences, plain.sequences), name
        assert torch.allclose(cached.sequences_scores, plain.sequences_scores, rtol=0, atol=EXACT), name
        assert not torch.equal(cached.sequences_scores, beams(model).sequences_scores), name


@contextmanager
def both(*edits: AbstractContextManager[None]) -> Iterator[None]:
    with edits[0], edits[1]:
        yield


def test_beams_of_a_text_share_their_heads(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    factors = np.ones((8, 2, 4), dtype=np.float32)
    factors[4:, 0, 1] = 3.0  # the four beams of the second text
    with scale_rows(model, factors):
        cached = beams(model)
    with scale(model, ["L0H1"], 3.0):
        assert torch.equal(cached.sequences[4:], beams(model).sequences[4:])
    factors[5, 0, 1] = 2.0
    with pytest.raises(InputError, match="give all beams of a text the same ones"), scale_rows(model, factors):
        beams(model)
    assert torch.equal(beams(model).sequences[:4], cached.sequences[:4])


def test_means_are_of_the_span(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    texts = [[1, 2, 30, 3, 4, 31, 5], [6, 30, 7, 31, 8]]
    by_hand = [record_z(model, 0, lambda text=text: model(torch.tensor([text]))) for text in texts]
    expected = torch.cat([by_hand[0][0, 2:5], by_hand[1][0, 1:3]]).mean(0)
    assert np.allclose(capture_mean(model, texts, span=THINKING)[0].ravel(), expected.numpy(), rtol=0, atol=EXACT)
    with mean(model, ["L0H1"], texts, span=THINKING):
        z = record_z(model, 0, lambda: model(torch.tensor([texts[0]])))
    assert torch.allclose(z[0, 2:5, 8:16], expected[8:16].expand(3, 8), rtol=0, atol=EXACT)
    assert torch.allclose(z[0, :2, 8:16], by_hand[0][0, :2, 8:16], rtol=0, atol=EXACT)
    with pytest.raises(InputError, match="no token of the thinking in the reference texts"):
        capture_mean(model, [[1, 2, 3]], span=THINKING)


def test_resampling_reads_another_problem_at_the_same_place_of_the_same_part(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    text, donor_text = [1, 2, 30, 3, 4, 5, 31, 6], [7, 8, 9, 30, 10, 11, 31, 12]
    donor = record_z(model, 1, lambda: model(torch.tensor([donor_text])))[0]
    with resample(model, ["L1H3"], [text, donor_text], span=THINKING):
        z = record_z(model, 1, lambda: model(torch.tensor([text])))[0]
    assert torch.allclose(z[2:6, 24:], donor[[3, 4, 5, 3], 24:], rtol=0, atol=EXACT)  # from the front again
    plain = record_z(model, 1, lambda: model(torch.tensor([text])))[0]
    assert torch.allclose(z[6:, 24:], plain[6:, 24:], rtol=0, atol=EXACT)
    with resample(model, ["L1H3"], [text, donor_text], span=ANSWER):
        again = record_z(model, 1, lambda: model(torch.tensor([text])))[0]
    assert torch.allclose(again[6:, 24:], donor[6:, 24:], rtol=0, atol=EXACT)
    with pytest.raises(InputError, match="one of another problem"), resample(model, ["L1H3"], [text]):
        model(torch.tensor([text]))
    assert not model.model._forward_pre_hooks


def test_a_rows_donor_depends_on_its_prompt_and_the_seed_alone(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    texts = [[20 + index, index, 3, index + 1] for index in range(8)]
    rows = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    with resample(model, ["L0H0"], texts, seed=1), torch.no_grad():
        together = model(rows).logits
        alone = model(rows[1:]).logits
        padded = model(
            torch.cat([torch.zeros(1, 2, dtype=torch.long), rows[1:]], 1),
            attention_mask=torch.tensor([[0, 0, 1, 1, 1, 1]]),
        ).logits[:, 2:]
    assert torch.allclose(together[1:], alone, rtol=0, atol=EXACT)
    assert torch.allclose(padded, alone, rtol=0, atol=EXACT)
    by_seed = []
    for seed in range(6):
        with resample(model, ["L0H0"], texts, seed=seed), torch.no_grad():
            by_seed.append(model(rows).logits)
    assert any(not torch.allclose(alternative, together) for alternative in by_seed)


def test_a_text_written_on_keeps_its_donor_without_a_cache_too(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    texts = [[20 + index, index, 3, index + 1] for index in range(8)]
    with resample(model, ["L0H0", "L1H2"], texts, seed=1), torch.no_grad():
        written = model.generate(torch.tensor([[1, 2, 3]]), do_sample=False, max_new_tokens=6, use_cache=False)
        cached = model.generate(torch.tensor([[1, 2, 3]]), do_sample=False, max_new_tokens=6, use_cache=True)
        donors = record_z(model, 0, lambda: model(written))[0, :, :8]
    assert torch.equal(written, cached)
    first = record_z(model, 0, lambda: model(torch.tensor(texts)))[:, :, :8]
    assert any(torch.allclose(donors[:4], alternative, rtol=0, atol=EXACT) for alternative in first)


def test_the_labs_tokenizer_and_template_give_the_markers(tiny_model: Any) -> None:
    tokenizer = build_tokenizer()
    markers = Markers.of(Subject(tiny_model("qwen3"), tokenizer, "lab"))
    assert markers.turn == "<|im_start|>assistant"
    for thinks, expected in ((True, "prompt thinking answer"), (False, "prompt answer")):
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "a=3; ?a"}], tokenize=False, add_generation_prompt=True, enable_thinking=thinks
        ) + (" <think> a=3; </think> <ans> 3" if thinks else " <ans> 3")
        parts = token_parts(tokenizer(text, add_special_tokens=False)["input_ids"], markers)
        actual = [("prompt", "thinking", "answer")[part] for part in dict.fromkeys(parts.tolist())]
        assert actual == expected.split() or (not thinks and actual == ["prompt", "thinking", "answer"])


def test_a_span_without_markers_is_refused(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    with pytest.raises(InputError, match="need a tokenizer"):
        zero(model, ["L0H0"], span="thinking").__enter__()
    with pytest.raises(InputError, match=r"span 'thinkin' does not exist .did you mean 'thinking'"):
        zero(model, ["L0H0"], span="thinkin").__enter__()
    with pytest.raises(InputError, match="this pass has none"), zero(model, ["L0H0"], span=THINKING):
        model(inputs_embeds=torch.zeros(1, 2, 32))
    assert all(not module._forward_pre_hooks and not module._forward_hooks for module in model.modules())
