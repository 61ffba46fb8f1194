import json
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tiny_models import roped_model

from headscope.errors import InputError, OutOfMemoryError, is_out_of_memory
from headscope.evaluation import vllm_engine
from headscope.evaluation.completions import Request, Sampling
from headscope.evaluation.sampling import sample
from headscope.evaluation.transformers_engine import _batches, draw_tokens, rows_that_fit
from headscope.evaluation.vllm_engine import served_model
from headscope.evaluation.vllm_settings import Checkpoint, ServedModel, devices_per_engine, start_settings
from headscope.model_files.config_sizes import weight_count

PROMPTS = [[1, 20, 21], [1, 30, 31, 32, 33, 34], [1, 40]]
WARM = Sampling(samples=3, max_new_tokens=12, temperature=1.0, top_p=0.95, seed=5)


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
    again = sample(model, tokenizer, PROMPTS, WARM)
    assert model.generation_config is generation_config
    assert model.training
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
        ([[1]], WARM, {"engine": "vlm"}, "did you mean 'vllm'"),
    ],
)
def test_bad_requests_say_so(model, tokenizer, prompts, sampling, options, message):
    with pytest.raises(InputError, match=message):
        sample(model, tokenizer, prompts, sampling, **options)


@pytest.mark.parametrize(
    "values",
    [{"samples": 0}, {"top_p": 0}, {"temperature": -1}, {"temperature": float("nan")}, {"top_k": -1}, {"min_p": 1.5}],
)
def test_bad_settings_say_so(values):
    with pytest.raises(InputError, match=next(iter(values))):
        Sampling(**values)


def test_logits_that_are_not_finite_are_refused_and_the_model_is_left_clean(model, tokenizer):
    model.train()
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    with pytest.raises(InputError, match="not finite at new token 1"):
        sample(model, tokenizer, PROMPTS, WARM)
    assert model.training


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_vllm_absent_names_the_extra(tokenizer):
    with pytest.raises(InputError, match=r"headscope\[vllm\]"):
        sample("some/path", tokenizer, PROMPTS, WARM, engine="vllm")


def test_each_device_has_one_engine_that_stays_for_the_checkpoint(vllm, tokenizer, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    prompts = [[1, 30], [1, 30, 7], [1, 40]]
    ask = Checkpoint("some/path", dtype="bfloat16", revision="abc")
    first = sample(ask, tokenizer, prompts, WARM, engine="vllm")
    again = sample(ask, tokenizer, prompts, WARM, engine="vllm")
    assert [c.tokens for c in first] == [c.tokens for c in again]  # the process ids are among the tokens
    assert [c.tokens[:2] for c in first[:6]] == [(33, 6)] * 3 + [(35, 3)] * 3
    assert [c.finish for c in first] == ["stop"] * 6 + ["length"] * 3
    second = sample(Checkpoint("other"), tokenizer, prompts, WARM, engine="vllm")
    assert second[0].tokens[2] != first[0].tokens[2]
    assert len(vllm_engine._open) == 2


def test_a_response_that_does_not_come_back_is_an_error_not_a_zero(vllm, tokenizer):
    with pytest.raises(InputError, match="returned 3 of 6 responses; the first missing is sample 0 of prompt 1"):
        sample("some/path", tokenizer, [[1, 20], [1, 77]], WARM, engine="vllm")


def test_vllm_refuses_frequencies_that_depend_on_length(vllm, tokenizer, tmp_path):
    for rope in ("longrope", "llama3"):
        roped_model("llama", rope).config.save_pretrained(tmp_path / rope)
    with pytest.raises(InputError, match=r"depend on a text's length \(longrope\), and vLLM takes the longest text's"):
        sample(str(tmp_path / "longrope"), tokenizer, PROMPTS, WARM, engine="vllm")
    assert len(sample(str(tmp_path / "llama3"), tokenizer, [[1, 20]], WARM, engine="vllm")) == WARM.samples


def test_an_engine_that_dies_says_which(vllm, tokenizer, tmp_path):
    (tmp_path / "vllm.py").write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="some/path ended with status 3"):
        sample("some/path", tokenizer, PROMPTS, WARM, engine="vllm")


def test_vllm_requests_carry_every_setting(vllm, model, tokenizer):
    engine = vllm.LLM()
    completions = sample(engine, tokenizer, [*PROMPTS[::2], [1, 20, 5]], WARM, engine="vllm")
    assert [(c.finish, len(c.tokens)) for c in completions] == [("stop", 2)] * 3 + [("length", 12)] * 3 + [
        ("stop", 2)
    ] * 3
    assert engine.parameters[0]["seed"] == completions[0].seed
    assert {key: engine.parameters[0][key] for key in ("max_tokens", "temperature", "top_p")} == {
        "max_tokens": 12,
        "temperature": 1.0,
        "top_p": 0.95,
    }
    assert not {"top_k", "min_p"} & engine.parameters[0].keys()
    sample(engine, tokenizer, PROMPTS[:1], replace(WARM, top_k=20, min_p=0.05), engine="vllm")
    assert (engine.parameters[0]["top_k"], engine.parameters[0]["min_p"]) == (20, 0.05)
    assert engine.parameters[0]["stop_token_ids"] == [tokenizer.eos_token_id]
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<ans>{% endfor %}"
    sample(engine, tokenizer, PROMPTS[:1], WARM, engine="vllm")
    ends = tokenizer.convert_tokens_to_ids(["<ans>", "<eos>"])
    assert engine.parameters[0]["stop_token_ids"] == ends
    with pytest.raises(InputError, match="cannot serve a loaded Qwen3ForCausalLM"):
        sample(model, tokenizer, PROMPTS, WARM, engine="vllm")


def test_vllm_serves_an_adapter_on_its_base_unmerged(vllm, tokenizer, tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    adapter.mkdir()
    config = {"base_model_name_or_path": str(base), "r": 12, "rank_pattern": {"q_proj": 20}}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    completion = sample(str(adapter), tokenizer, [[1, 30]], WARM, engine="vllm")[0]
    assert completion.tokens[3:] == (41, 50)  # one file in the adapter's folder, none in the base's
    assert start_settings(Checkpoint(str(adapter), revision="abc"), 7, 1) == {
        "model": str(base),
        "dtype": "auto",
        "revision": None,
        "tokenizer": None,
        "trust_remote_code": False,
        "seed": 7,
        "tensor_parallel_size": 1,
        "enable_prefix_caching": True,
        "adapter": str(adapter),
        "enable_lora": True,
        "max_lora_rank": 32,
    }
    for change, sentence in (
        ({"use_dora": True}, "has use_dora true, which vLLM cannot serve"),
        ({"modules_to_save": ["lm_head"]}, r"has modules_to_save \[\"lm_head\"\], which vLLM"),
        ({"bias": "all"}, 'has bias "all", which vLLM'),
        ({"r": 600}, "has rank 600, and vLLM serves adapters of rank 512 or less"),
    ):
        (adapter / "adapter_config.json").write_text(json.dumps(config | change))
        with pytest.raises(InputError, match=sentence):
            start_settings(Checkpoint(str(adapter)), 0, 1)


@pytest.mark.parametrize(
    ("weights", "sizes", "devices", "expected"),
    [
        (40, (32, 8, 0, 0), 8, 1),
        (60, (32, 8, 0, 0), 8, 1),
        (61, (32, 8, 0, 0), 8, 2),
        (200, (32, 8, 0, 0), 8, 4),
        (150, (28, 4, 0, 0), 8, 4),
        (600, (28, 28, 0, 0), 8, 7),
        (350, (28, 4, 0, 0), 8, 4),  # four key/value heads are not shared out over seven
        (150, (12, 4, 0, 0), 8, 4),  # nor over three
        (110, (16, 16, 100, 0), 8, 2),
        (350, (16, 16, 100, 0), 8, 4),  # nor an MLP of width 100 over eight
        (150, (12, 12, 96, 50_000), 6, 4),  # nor 50,048 rows over three
        (350, (32, 2, 0, 0), 8, 8),  # two key/value heads are repeated
    ],
)
def test_a_model_is_split_over_the_fewest_devices_that_hold_it(weights, sizes, devices, expected):
    model = ServedModel("m", weights, "float32", *sizes)
    assert devices_per_engine(model, devices, device_bytes=100) == expected


def test_a_model_that_the_devices_do_not_hold_is_refused():
    model = ServedModel("some/model", 30 * 2**30, "float32", 28, 4)
    assert devices_per_engine(model, 3, 20 * 2**30) == 2
    sentence = r"some/model takes 30.0 GiB in dtype float32, and the 1 device .* hold 24.0 GiB each; .* executor local"
    with pytest.raises(InputError, match=sentence):
        devices_per_engine(model, 1, 24 * 2**30)


QWEN3_8B = {
    "model_type": "qwen3",
    "num_hidden_layers": 36,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}
QWEN3_30B = QWEN3_8B | {
    "model_type": "qwen3_moe",
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "num_key_value_heads": 4,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
}
QWEN_7B = {
    "num_hidden_layers": 28,
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}
GPT2 = {"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257}


@pytest.mark.parametrize(
    ("config", "weights"),  # as their authors state them
    [(QWEN3_8B, 8.19e9), (QWEN3_30B, 30.5e9), (QWEN_7B, 7.61e9), (GPT2, 124e6), ({"text_config": QWEN_7B}, 7.61e9)],
)
def test_weights_of_a_model_on_the_hub_are_counted_from_its_config(config, weights):
    assert weight_count(config) == pytest.approx(weights, rel=0.01)
    for dtype, size in (("float32", 4), ("bfloat16", 2), ("auto", 2)):
        model = ServedModel.of("m", dtype, config, None)
        assert model.weight_bytes == pytest.approx(weights * size, rel=0.01)
        assert model.can_be_split(2)
        assert not model.can_be_split(7)  # 28 heads, but 152,064 rows


def test_the_files_of_a_model_count_in_the_dtype_they_are_served_in(model, tmp_path):
    half = {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=half)
    stored = served_model(Checkpoint(str(tmp_path), "bfloat16"))
    assert stored.weight_bytes == pytest.approx((tmp_path / "model.safetensors").stat().st_size, rel=0.05)
    assert served_model(Checkpoint(str(tmp_path), "float32")).weight_bytes == 2 * stored.weight_bytes
    assert (stored.heads, stored.vocabulary) == (model.config.num_attention_heads, model.config.vocab_size)


def test_a_split_model_has_one_engine_per_group_of_devices(vllm, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,4,5,6")
    monkeypatch.setattr(vllm_engine, "devices_per_engine", lambda model, devices, memory: 2)
    completions = sample("some/path", tokenizer, [[1, 30], [1, 30, 7]], WARM, engine="vllm")
    assert [completion.tokens[:2] for completion in completions] == [(32, 3)] * 3 + [(34, 3)] * 3


class Shortage:
    """Memory for passes of ``most`` rows. rows: of every pass, of those that failed below 0."""

    def __init__(self, most, error):
        self.most, self.error, self.rows = most, error, []

    def __call__(self, module, args, kwargs):
        rows = kwargs["input_ids"].shape[0]
        fails = rows > self.most
        self.rows.append(-rows if fails else rows)
        if fails:
            raise self.error

    @contextmanager
    def on(self, model):
        self.__module__ = "transformers.test"  # as a hook that does not follow rows
        handle = model.register_forward_pre_hook(self, with_kwargs=True)
        try:
            yield self
        finally:
            handle.remove()


SHORT = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    MemoryError("no memory"),
]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
def test_running_out_of_memory_halves_the_batch_and_changes_no_response(model, tokenizer, error):
    prompts = [[1, 20 + number, 21] for number in range(16)]
    expected = sample(model, tokenizer, prompts, WARM)
    with Shortage(3, error).on(model) as shortage:
        assert sample(model, tokenizer, prompts, WARM) == expected
    # Batches of 48, 24, 12 and 6 answers, of which the first pass reads each prompt once for its three samples. Two
    # prompts fit, and their six answers do not.
    assert [rows for rows in shortage.rows if rows < 0] == [-16, -8, -4, -6]
    with Shortage(3, error).on(model) as shortage:
        assert sample(model, tokenizer, prompts, WARM, batch_size=8) == expected
    assert sum(rows < 0 for rows in shortage.rows) <= 3


def test_an_answer_that_fits_in_no_way_fails_with_its_sentence(model, tokenizer):
    with (
        Shortage(0, SHORT[0]).on(model) as shortage,
        pytest.raises(
            OutOfMemoryError, match="sampling ran out of memory with one answer at a time, of up to 12 tokens"
        ) as raised,
    ):
        sample(model, tokenizer, [[1, 20, 21]] * 4, replace(WARM, samples=1))
    assert is_out_of_memory(raised.value)
    assert shortage.rows[-1] == -1


def test_other_errors_of_a_pass_are_not_tried_again(model, tokenizer):
    with (
        Shortage(0, RuntimeError("device-side assert")).on(model) as shortage,
        pytest.raises(RuntimeError, match="device-side"),
    ):
        sample(model, tokenizer, PROMPTS, WARM)
    assert len(shortage.rows) == 1
