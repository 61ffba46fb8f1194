"""Sampling by transformers: whole, repeatable, drawn from the distribution that the settings leave."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PromptTuningConfig, get_peft_model
from tests.evaluation.prompts import PROMPTS, WARM

from headscope.errors import InputError
from headscope.evaluation.completions import Request, Sampling
from headscope.evaluation.sampling import sample
from headscope.evaluation.transformers_engine import _batches, draw_tokens, rows_that_fit


def test_results_are_problem_major_and_complete(model, tokenizer):
    completions = sample(model, tokenizer, PROMPTS, WARM)
    assert [(c.prompt, c.sample) for c in completions] == [(p, s) for p in range(3) for s in range(3)]
    assert len({c.seed for c in completions}) == 9
    assert all(c.tokens and len(c.tokens) <= 12 for c in completions)


@pytest.mark.usefixtures("float64")
def test_a_response_depends_on_neither_batch_nor_neighbours_nor_global_state(model, tokenizer):
    together = sample(model, tokenizer, PROMPTS, WARM)
    torch.manual_seed(1234)
    before = torch.get_rng_state()
    assert sample(model, tokenizer, PROMPTS, WARM, batch_size=2) == together
    assert torch.equal(torch.get_rng_state(), before)
    alone = sample(model, tokenizer, [PROMPTS[1]], WARM)
    assert [c.tokens for c in alone] == [c.tokens for c in together if c.prompt == 1]


def test_seed_and_repetition_change_the_responses(model, tokenizer):
    first = sample(model, tokenizer, [PROMPTS[0], PROMPTS[0]], WARM)
    reseeded = sample(model, tokenizer, [PROMPTS[0], PROMPTS[0]], Sampling(3, 12, 1.0, 0.95, seed=6))
    assert [c.tokens for c in first] != [c.tokens for c in reseeded]
    assert [c.tokens for c in first if c.prompt == 0] != [c.tokens for c in first if c.prompt == 1]


@pytest.mark.usefixtures("float64")
def test_greedy_equals_a_plain_forward_loop(model, tokenizer):
    greedy = Sampling(samples=1, max_new_tokens=6, temperature=0, top_p=1.0)
    for prompt, completion in zip(PROMPTS, sample(model, tokenizer, PROMPTS, greedy), strict=True):
        ids = list(prompt)
        for token in completion.tokens:
            with torch.no_grad():
                assert token == int(model(torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(token)


def test_open_hooks_act(model, tokenizer):
    greedy = Sampling(samples=1, max_new_tokens=8, temperature=0)
    plain = sample(model, tokenizer, PROMPTS, greedy)
    hook = model.model.layers[0].self_attn.o_proj.register_forward_hook(lambda *args: torch.zeros_like(args[2]))
    hooked = sample(model, tokenizer, PROMPTS, greedy)
    hook.remove()
    assert [c.tokens for c in hooked] != [c.tokens for c in plain]
    assert sample(model, tokenizer, PROMPTS, greedy) == plain


@pytest.mark.usefixtures("float64")
def test_rows_that_end_leave_the_batch_and_change_no_response(model, tokenizer):
    """With a hook, even one that does nothing, every row is read by itself and stays to the end."""
    model.generation_config.eos_token_id = [2, *range(40, 44)]
    long = Sampling(samples=8, max_new_tokens=90, temperature=1.0, top_p=0.95, seed=3)
    rows = []
    count = model.get_input_embeddings().register_forward_hook(lambda _m, _a, out: rows.append(len(out)))
    whole = sample(model, tokenizer, PROMPTS, long)
    count.remove()
    assert set(rows) == {24}
    assert sample(model, tokenizer, PROMPTS, long) == whole
    assert sample(model, tokenizer, PROMPTS, long, batch_size=7) == whole
    lengths = [len(completion.tokens) for completion in whole]
    assert min(lengths) < 16 < max(lengths)


def test_prompts_of_one_length_stay_together():
    requests = [Request(p, s, 0, [1] * length) for p, length in enumerate([4, 6, 6, 5]) for s in range(3)]
    lengths = [[len(request.tokens) for request in batch] for batch in _batches(requests, 6)]
    assert lengths == [[6] * 6, [5] * 3, [4] * 3]
    assert [[request.prompt for request in batch] for batch in _batches(requests, 100)] == [
        [1] * 3 + [2] * 3 + [3] * 3 + [0] * 3
    ]


def forced(model, token_of_step):
    """Make the model emit chosen tokens, counted from the prompt's length of two."""

    def force(module, args, kwargs, output):
        step = kwargs["past_key_values"].get_seq_length() - 2
        output.logits = torch.full_like(output.logits, -50.0)
        output.logits[:, -1, token_of_step[step]] = 50.0
        return output

    return model.register_forward_hook(force, with_kwargs=True)


def test_text_keeps_markers_and_drops_the_stop_token(model, tokenizer):
    hook = forced(model, [3, 20, 4, 5, 25, 2, 30, 30])
    (completion,) = sample(model, tokenizer, [[1, 7]], Sampling(samples=1, max_new_tokens=8))
    hook.remove()
    assert completion.text.split() == ["<think>", "w11", "</think>", "<ans>", "w16"]
    assert completion.tokens == (3, 20, 4, 5, 25)
    assert completion.finish == "stop"
    assert completion.end == tokenizer.eos_token_id == 2


def test_a_cut_response_has_finish_length(model, tokenizer):
    hook = forced(model, [20, 21, 22])
    (completion,) = sample(model, tokenizer, [[1, 7]], Sampling(samples=1, max_new_tokens=3))
    hook.remove()
    assert (completion.finish, completion.tokens) == ("length", (20, 21, 22))


def test_the_models_own_generation_config_neither_acts_nor_changes(model, tokenizer):
    plain = sample(model, tokenizer, PROMPTS, WARM)
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.top_k = 1
    model.generation_config.eos_token_id = [2, 50]
    generation_config = model.generation_config
    model.train()
    model.model.layers[0].eval()  # as of a layer that is frozen
    again = sample(model, tokenizer, PROMPTS, WARM)
    assert model.generation_config is generation_config
    assert model.training
    assert not model.model.layers[0].self_attn.training
    for old, new in zip(plain, again, strict=True):
        end = old.tokens.index(50) if 50 in old.tokens else len(old.tokens)
        assert new.tokens == old.tokens[:end]


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.floats(0.0, 0.999999))
def test_draws_stay_inside_the_nucleus(seed, top_p, uniform):
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 3, (4, 11))).float()
    tokens = draw_tokens(logits, torch.full((4,), uniform), temperature=0.7, top_p=top_p)
    probabilities = torch.softmax(logits / 0.7, -1)
    for row, token in enumerate(tokens):
        likelier = probabilities[row][probabilities[row] > probabilities[row, token]].sum()
        assert likelier < top_p + 1e-6


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_draw_frequencies_match_the_truncated_distribution(top_p):
    probabilities = torch.tensor([0.1, 0.5, 0.25, 0.15])
    uniform = (torch.arange(20_000) + 0.5) / 20_000
    tokens = draw_tokens(probabilities.log().expand(20_000, 4), uniform, temperature=1.0, top_p=top_p)
    share = torch.bincount(tokens, minlength=4) / 20_000
    expected = probabilities if top_p == 1 else torch.tensor([0.0, 0.5, 0.25, 0.15]) / 0.9
    assert torch.allclose(share, expected, atol=2e-4)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"top_k": 2}, [0.0, 0.5, 0.25, 0.0]),
        ({"top_k": 9}, [0.1, 0.5, 0.25, 0.15]),
        ({"min_p": 0.3}, [0.0, 0.5, 0.25, 0.15]),
        ({"min_p": 0.5}, [0.0, 0.5, 0.25, 0.0]),
        ({"top_k": 3, "min_p": 0.4}, [0.0, 0.5, 0.25, 0.0]),
        # The nucleus is of what the others leave: 2/3 of three quarters is the likeliest token alone.
        ({"top_k": 2, "top_p": 0.66}, [0.0, 0.5, 0.0, 0.0]),
        ({"top_k": 2, "top_p": 0.67}, [0.0, 0.5, 0.25, 0.0]),
    ],
)
def test_draw_frequencies_match_what_top_k_and_min_p_leave(limits, expected):
    probabilities = torch.tensor([0.1, 0.5, 0.25, 0.15])
    uniform = (torch.arange(20_000) + 0.5) / 20_000
    tokens = draw_tokens(probabilities.log().expand(20_000, 4), uniform, temperature=1.0, **({"top_p": 1.0} | limits))
    share = torch.bincount(tokens, minlength=4) / 20_000
    assert torch.allclose(share, torch.tensor(expected) / sum(expected), atol=2e-4)


def test_limits_act_in_the_engine_and_leave_plain_settings_as_they_were(model, tokenizer):
    plain = sample(model, tokenizer, PROMPTS, WARM)
    assert sample(model, tokenizer, PROMPTS, replace(WARM, top_k=97, min_p=0.0)) == plain
    greedy = sample(model, tokenizer, PROMPTS, replace(WARM, temperature=0, top_p=1.0))
    for limit in ({"top_k": 1}, {"min_p": 1.0}):
        limited = sample(model, tokenizer, PROMPTS, replace(WARM, **limit))
        assert [completion.tokens for completion in limited] == [completion.tokens for completion in greedy]
        assert [completion.seed for completion in limited] == [completion.seed for completion in plain]
    assert "top_k" not in WARM.as_dict()
    assert replace(WARM, top_k=20, min_p=0.1).as_dict() == WARM.as_dict() | {"top_k": 20, "min_p": 0.1}


def test_a_quantile_of_one_never_draws_a_token_without_mass():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, -torch.inf]])
    assert int(draw_tokens(logits, torch.tensor([1.0]), temperature=1.0, top_p=1.0)) == 1


def test_rows_that_fit_counts_cache_and_logits(model, monkeypatch):
    budget = 10 * (2 * 2 * 2 * 2 * 8 * 100 * 4 + 24 * 97)
    monkeypatch.setattr("headscope.evaluation.transformers_engine.CPU_BUDGET", budget)
    assert rows_that_fit(model, 100) == 10
    monkeypatch.setattr("headscope.evaluation.transformers_engine.CPU_BUDGET", 1)
    assert rows_that_fit(model, 100) == 1


@pytest.mark.parametrize(
    ("prompts", "sampling", "options", "message"),
    [
        ([], WARM, {}, "no prompt"),
        ([[1], []], WARM, {}, "prompt 1 has no tokens"),
        ([[1] * 120], WARM, {}, "context of 128; lower max_new_tokens to 8"),
        ([[1] * 300], WARM, {}, "a prompt of 300 tokens leaves no room for an answer in the model's context of 128"),
        (["w1 w2"], WARM, {}, "row 0 of token ids holds 0 axes of <U5; give whole numbers"),
        ([5, 6], WARM, {}, "row 0 of token ids holds 0 axes"),
        ([[5, -100]], WARM, {}, "row 0 of token ids holds id -100"),
        ([[5]], WARM, {"part": range(3, 5)}, r"part is range\(3, 5\), which holds none of the 1 prompts"),
        ([[5]], WARM, {"batch_size": -1}, "batch_size is -1"),
        ([[1]], WARM, {"engine": "vlm"}, "did you mean 'vllm'"),
    ],
)
def test_bad_requests_say_so(model, tokenizer, prompts, sampling, options, message):
    with pytest.raises(InputError, match=message):
        sample(model, tokenizer, prompts, sampling, **options)


@pytest.mark.parametrize(
    "values",
    [
        *({"samples": 0}, {"temperature": -1}, {"temperature": float("nan")}, {"temperature": float("inf")}),
        *({"top_p": 0}, {"top_k": -1}, {"min_p": 1.5}, {"forbid": "wait"}),
    ],
)
def test_bad_settings_say_so(values):
    with pytest.raises(InputError, match=next(iter(values))):
        Sampling(**values)


def test_prompts_may_be_an_array(model, tokenizer):
    ids = np.array([[5, 6, 7], [8, 9, 10]])
    expected = sample(model, tokenizer, ids.tolist(), WARM)
    for prompts in (ids, torch.tensor(ids), [torch.tensor(row) for row in ids]):
        assert sample(model, tokenizer, prompts, WARM) == expected


def test_what_cannot_be_sampled_from_is_named(model, tokenizer):
    with pytest.raises(InputError, match="there is no tokenizer"):
        sample(model, None, PROMPTS, WARM)
    # The forward pass of the wrapper would add its tokens again at every new token.
    tuned = get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(InputError, match="type PROMPT_TUNING, which adds tokens and changes no weights"):
        sample(tuned, tokenizer, PROMPTS, WARM)


def test_logits_that_are_not_finite_are_refused_and_the_model_is_left_clean(model, tokenizer):
    model.train()
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    with pytest.raises(InputError, match="not finite at new token 1"):
        sample(model, tokenizer, PROMPTS, WARM)
    assert model.training
