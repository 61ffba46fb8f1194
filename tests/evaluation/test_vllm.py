"""Sampling by vLLM: engines, the devices they take, and what they are asked."""

import json
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from tests.evaluation.prompts import PROMPTS, WARM
from tests.tiny_models import roped_model

from headscope.errors import InputError
from headscope.evaluation import Problem, Task, evaluate, vllm_engine
from headscope.evaluation.sampling import sample
from headscope.evaluation.vllm_engine import served_model
from headscope.evaluation.vllm_settings import Checkpoint, ServedModel, devices_per_engine, start_settings
from headscope.model_files.config_sizes import weight_count


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


def test_a_folder_written_anew_is_served_anew(vllm, model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path / "model")
    processes = []
    for _ in range(2):
        (completion, *_) = sample(str(tmp_path / "model"), tokenizer, [[1, 30]], WARM, engine="vllm")
        (again, *_) = sample(str(tmp_path / "model"), tokenizer, [[1, 30]], WARM, engine="vllm")
        assert again.tokens == completion.tokens  # the process ids are among the tokens
        processes.append(vllm_engine._open[0]._process.pid)
        model.save_pretrained(tmp_path / "model")
    assert processes[0] != processes[1]


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


def test_an_evaluated_checkpoint_brings_its_own_tokenizer(vllm, model, tokenizer, tmp_path):
    tokenizer.chat_template = "<bos>{{ messages[0].content }}"
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    task = Task("lab", (Problem("t1", "w11", "w9", "exact"),))
    expected = evaluate(str(tmp_path), tokenizer, task, WARM, engine="vllm").table["response"]
    for served in (str(tmp_path), Checkpoint(str(tmp_path))):
        assert evaluate(served, None, task, WARM, engine="vllm").table["response"].equals(expected)
