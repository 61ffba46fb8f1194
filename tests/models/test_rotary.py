"""Rotary frequencies that depend on a text's length: every number is that of each text alone on a new model, whatever
shares its batch, its prefix or its threads, and whatever ran before.
"""

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tests.circuits.slow_reference import slow_scores
from tests.tiny_models import ROPES, SWITCH, VOCABULARY, ragged_pairs, roped_model, tiny_model
from torch import Tensor
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from headscope.circuits import attribute, cross_patch, faithfulness, select
from headscope.circuits.batches import collate
from headscope.circuits.disagreement import answer_divergence
from headscope.circuits.frozen_model import frozen_model
from headscope.circuits.prefix_cache import cache_prefix
from headscope.circuits.source_deltas import record_writes
from headscope.errors import InputError
from headscope.interventions import Text, scale_rows, teacher_force
from headscope.interventions.means import head_writes
from headscope.interventions.spans import Markers, Reader, follow_passes
from headscope.measures.logits import kl
from headscope.measures.quadrature import quadrature
from headscope.models import head_access, validate
from headscope.models.decoding import decode
from headscope.models.hooks import tells_rows_apart
from headscope.models.rotary import (
    depends_on_length,
    frequency_regimes,
    length_dependent_types,
    own_text_lengths,
    positions_from_mask,
)
from headscope.pairs import Pairs

DEPENDING = ("dynamic", "longrope")
MODELS = [("llama", rope) for rope in ROPES] + [("gpt_neox", "dynamic"), ("phi3", "longrope"), ("gpt_oss", "yarn")]
MODELS += [("gemma3_text", rope) for rope in DEPENDING]
# Model families and rope types whose numbers depend on length; one that does not, beside them.
SOME = [("phi3", "longrope"), ("llama", "dynamic"), ("gemma3_text", "longrope"), ("gemma3_text", "dynamic")]
SOME += [("llama", "llama3")]


def straddling_pairs() -> Pairs:
    """On either side of the switch, astride of it (a short prefix of a long text), and two lengths with one prefix."""
    pairs = ragged_pairs(count=6, positions="answer")
    lengths = [len(text) for text in pairs.clean]
    assert min(lengths) < SWITCH < max(lengths)
    assert any(pair.shared < SWITCH < len(pair.clean) for pair in pairs)
    longest = pairs.clean[int(np.argmax(lengths))]
    clean = [*pairs.clean, longest[:SWITCH], longest[: SWITCH + 1]]
    corrupt = [*pairs.corrupt, *(np.append(text[:-1], (text[-1] + 1) % VOCABULARY) for text in clean[-2:])]
    return Pairs.from_tokens(clean, corrupt, "answer")


@cache
def unread_model(architecture: str, rope: str, **more: Any) -> torch.nn.Module:
    return roped_model(architecture, rope, **more)


def plain_logits(architecture: str, rope: str, tokens: Any, **more: Any) -> Tensor:
    """Of a text alone, in one pass of a new model."""
    model = copy.deepcopy(unread_model(architecture, rope, **more))
    with torch.no_grad():
        logits: Tensor = model(torch.as_tensor(tokens)[None]).logits[0]
    return logits


def used_model(architecture: str, rope: str, **more: Any) -> Any:
    """A model that has read a long and a short text already."""
    model = roped_model(architecture, rope, **more)
    with torch.no_grad():
        for length in (2 * SWITCH, 3):
            model(torch.arange(length)[None])
            if architecture != "gemma3_text":  # transformers cannot read a second long text there
                model(torch.arange(SWITCH + 2)[None])
    return model


def forget_lengths(model: Any, architecture: str, rope: str) -> None:
    """Give a model rotary embeddings that have read nothing, not even what the proof on load read."""
    model.base_model.rotary_emb = roped_model(architecture, rope).base_model.rotary_emb


def test_every_type_of_transformers_is_tried() -> None:
    assert set(ROPES) == set(ROPE_INIT_FUNCTIONS)
    for rope in ROPES:
        assert depends_on_length(roped_model("llama", rope)) == (rope in DEPENDING)
    assert not depends_on_length(tiny_model("gpt2"))


@pytest.mark.parametrize(("architecture", "rope"), MODELS)
def test_the_models_of_these_tests_do_switch(architecture: str, rope: str) -> None:
    model = roped_model(architecture, rope)
    with own_text_lengths(model):
        short, last, long, longer = frequency_regimes(model, torch.tensor([2, SWITCH, SWITCH + 1, SWITCH + 2]))
    assert short == last
    assert (last != long) == (rope in DEPENDING)
    assert (long != longer) == (rope == "dynamic")


@pytest.mark.parametrize(("architecture", "rope"), MODELS)
def test_endings_give_each_text_s_own_logits(architecture: str, rope: str) -> None:
    model, pairs = used_model(architecture, rope), straddling_pairs()
    with frozen_model(model):
        access = head_access(model)
        runner = cache_prefix(model, access, collate(pairs, range(len(pairs)), access.device))
        logits = record_writes(runner).logits
    start = [len(text) - runner.batch.ending for text in pairs.clean]
    for index, pair in enumerate(pairs):
        for side, tokens in enumerate((pair.clean, pair.corrupt)):
            expected = plain_logits(architecture, rope, tokens)
            columns = [column for column in runner.batch.columns.tolist() if start[index] + column >= 0]
            here = [runner.batch.columns.tolist().index(column) for column in columns]
            there = [start[index] + column for column in columns]
            assert torch.allclose(logits[index, side, here], expected[there], atol=2e-5)


@pytest.mark.parametrize("rope", DEPENDING)
def test_without_it_neighbours_and_history_tell(rope: str) -> None:
    """The control: in plain passes of the model they do."""
    short, long = torch.arange(SWITCH - 2), torch.arange(SWITCH + 4)
    expected = plain_logits("llama", rope, short)
    model = roped_model("llama", rope)
    padded = torch.stack([long, torch.cat([short, short[:6]])])
    with torch.no_grad():
        batched = model(padded).logits[1, : len(short)]
        with own_text_lengths(model):
            alone = model(short[None]).logits[0]
    assert (batched - expected).norm() > 0.05 * expected.norm()
    assert torch.equal(alone, expected)


@pytest.mark.parametrize(("architecture", "rope"), SOME)
def test_scores_equal_the_slow_reference(architecture: str, rope: str) -> None:
    pairs, rule = straddling_pairs(), quadrature("gauss", 2)
    actual = attribute(used_model(architecture, rope).double(), pairs, nodes=2, keep_pairs=True)
    expected = slow_scores(roped_model(architecture, rope).double(), pairs, rule.alphas, rule.weights)
    assert actual.pair_edges is not None
    error = np.abs(actual.pair_edges - expected).max(axis=(1, 2)) / np.abs(expected).max(axis=(1, 2))
    assert error.max() < 1e-6  # scores are kept as float32


@pytest.mark.parametrize(("architecture", "rope"), SOME)
def test_other_verbs_give_what_each_pair_gives_alone(architecture: str, rope: str) -> None:
    pairs = straddling_pairs()[[0, 2, 6, 7]]
    experienced, second = used_model(architecture, rope), used_model(architecture, rope, seed=1)
    circuit = select(attribute(experienced, pairs, nodes=1), fraction=0.3)
    gaps = cross_patch(experienced, second, pairs).gap
    divergence = answer_divergence(experienced, second, pairs)
    model = roped_model(architecture, rope)
    head_access(model)
    for patch in ("corrupt", "zero"):
        together = faithfulness(experienced, pairs, circuit, patch=patch)
        for index in range(len(pairs)):
            forget_lengths(model, architecture, rope)
            alone = faithfulness(model, pairs[[index]], circuit, patch=patch)
            assert np.allclose(together.circuit[index], alone.circuit[0], rtol=1e-4, atol=1e-5)
    for index, pair in enumerate(pairs):
        ours = plain_logits(architecture, rope, pair.clean)
        theirs = plain_logits(architecture, rope, pair.clean, seed=1)
        expected = kl(theirs, ours)
        assert np.allclose(divergence[index], expected[pair.shared :], rtol=1e-3, atol=1e-5)
        assert np.isclose(gaps[index], expected[pair.positions].mean(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("architecture", "rope"), SOME)
def test_sweeps_read_each_text_by_its_own_length(architecture: str, rope: str) -> None:
    draw = np.random.default_rng(0)
    texts = [Text(tuple(range(2)), tuple(draw.integers(0, VOCABULARY, size).tolist())) for size in (5, 15, 10, 11, 3)]
    factors = draw.choice([0.0, 1.0], size=(3, 2, 4)).astype(np.float32)
    experienced = used_model(architecture, rope)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # of which each takes a text of its own
    try:
        actual = teacher_force(experienced, texts, factors)
        writes = list(head_writes(experienced, [text.tokens for text in texts], [1]))
    finally:
        torch.set_num_threads(threads)
    model = roped_model(architecture, rope)
    access = head_access(model)
    for column, text in enumerate(texts):
        for row, edit in enumerate(factors):
            kept_z: list[Tensor] = []
            forget_lengths(model, architecture, rope)
            handle = access.layers[1].output.register_forward_pre_hook(
                lambda _m, args, kept_z=kept_z: kept_z.append(args[0])
            )
            with scale_rows(model, edit[None]), torch.no_grad():
                logits = model(torch.tensor([text.tokens])).logits[0, text.predicting]
            handle.remove()
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(text.response))
            assert np.isclose(actual.nll[row, column], float(loss), atol=1e-4)
            if (edit == 1).all():
                assert torch.allclose(writes[column][1], kept_z[0][0], atol=1e-5)


PROMPTS = [[1, 5, 9, 3], [1, 7], [1, 5, 9, 3], list(range(10)), list(range(3, 14)), list(range(SWITCH + 2))]


def greedy(logits: Tensor, rows: Tensor, step: int) -> Tensor:
    return logits.argmax(-1)


@pytest.mark.parametrize(("architecture", "rope"), SOME)
@pytest.mark.parametrize("followed", [False, True])
@pytest.mark.parametrize("prompts", [PROMPTS, [[1, 2, 3], [4, 5, 6]]], ids=["ragged", "equal"])
def test_rows_are_written_across_the_switch_as_if_alone(
    architecture: str, rope: str, followed: bool, prompts: list[list[int]]
) -> None:
    model, limit = used_model(architecture, rope), 12
    choices: list[tuple[Tensor, Tensor]] = []

    def choose(logits: Tensor, rows: Tensor, step: int) -> Tensor:
        choices.append((logits, rows))
        return greedy(logits, rows, step)

    if followed:
        with follow_passes(model, Reader(Markers.none())):
            actual = decode(model, prompts, choose, limit=limit, stops=[], keep_rows=True)
    else:
        actual = decode(model, prompts, choose, limit=limit, stops=[])
    for row, prompt in enumerate(prompts):
        for step in range(limit):
            expected = plain_logits(architecture, rope, [*prompt, *actual[row][:step]])[-1]
            assert torch.allclose(choices[step][0][row], expected, atol=5e-5)


def test_a_row_that_crosses_is_read_anew_once_and_rows_that_ended_leave() -> None:
    model, prompts = roped_model("phi3", "longrope"), [[1, 2, 3, 4], [5, 6]]
    whole = decode(model, prompts, greedy, limit=16, stops=[])
    stop = next(token for token in whole[1] if token not in whole[0])
    sizes: list[tuple[int, ...]] = []
    handle = model.get_input_embeddings().register_forward_hook(lambda _m, _a, out: sizes.append(tuple(out.shape[:2])))
    assert decode(model, prompts, greedy, limit=16, stops=[stop])[0] == whole[0]
    handle.remove()
    assert [size for size in sizes[1:] if size[1] > 1] == [(1, 4), (1, 9)]  # the prompt, then what was written


@pytest.mark.parametrize(("architecture", "rope"), SOME[:4])
def test_the_model_is_left_as_it_was(architecture: str, rope: str) -> None:
    model = used_model(architecture, rope)
    rotary = model.base_model.rotary_emb
    before = {name: value.clone() for name, value in rotary.named_buffers()}, dict(vars(rotary))
    attribute(model, straddling_pairs(), nodes=1)
    decode(model, PROMPTS, greedy, limit=8, stops=[])
    with pytest.raises(IndexError), own_text_lengths(model), own_text_lengths(model):
        model(torch.arange(2 * VOCABULARY)[None])
    after = dict(rotary.named_buffers())
    assert before[0].keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before[0].items())
    assert vars(rotary).keys() == before[1].keys()
    assert all(vars(rotary)[name] is value for name, value in before[1].items() if name != "_buffers")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("rope", DEPENDING)
def test_a_mask_tells_how_long_padded_rows_are(rope: str, side: str) -> None:
    model, texts = used_model("llama", rope), [torch.arange(SWITCH + 4), torch.arange(3, SWITCH)]
    gap = torch.zeros(len(texts[0]) - len(texts[1]), dtype=torch.long)
    ends = (lambda row, pad: torch.cat([pad, row])) if side == "left" else (lambda row, pad: torch.cat([row, pad]))
    ids, mask = torch.stack([texts[0], ends(texts[1], gap)]), torch.ones(2, len(texts[0]), dtype=torch.long)
    mask[1] = ends(torch.ones_like(texts[1]), gap)
    plain = torch.stack([model(ids, attention_mask=mask).logits[1, mask[1].bool()]])
    with positions_from_mask(model):
        assert not tells_rows_apart(model)
        rows = model(ids, attention_mask=mask).logits
    for row, text in zip(range(2), texts, strict=True):
        assert torch.allclose(rows[row, mask[row].bool()], plain_logits("llama", rope, text), atol=2e-5)
    assert not torch.allclose(plain[0], plain_logits("llama", rope, texts[1]), atol=1e-2)
    assert not model.base_model._forward_pre_hooks


def test_configs_name_the_types_that_change() -> None:
    for architecture, rope in MODELS:
        expected = [rope] if rope in DEPENDING else []
        assert length_dependent_types(roped_model(architecture, rope).config) == expected
    assert length_dependent_types(tiny_model("gpt2").config) == []


class Stretched(torch.nn.Module):
    """Turns a text by its length without saying so."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        stretch = 1 if position_ids.max() < self.limit else 0.5
        angles = stretch * position_ids[..., None] * torch.tensor([1.0, 0.1, 0.03, 0.01] * 2)
        return angles.cos(), angles.sin()


def test_the_proof_finds_out_a_length_it_cannot_hold_fixed() -> None:
    model = roped_model("llama", "linear")
    access = head_access(model)
    model.model.rotary_emb = Stretched(limit=30)
    with pytest.raises(InputError, match="the length of a text changes how llama turns its first tokens"):
        head_access(model)
    model.model.rotary_emb = Stretched(limit=1000)  # beyond the model's context
    validate(model, access)
    model.model.rotary_emb = Stretched(limit=30)
    model.model.rotary_emb.rope_type = "stretched"  # in the manner of transformers: of an unknown type, but held fixed
    validate(model, access)
    assert depends_on_length(model)
