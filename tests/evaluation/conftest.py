"""A word-level tokenizer with a chat template and think switch, and a tiny random model over it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
VOCABULARY = 97
SPECIAL = ["<pad>", "<bos>", "<eos>", "<think>", "</think>", "<ans>", "<user>", "<system>", "<assistant>"]
TEMPLATE = (
    "<bos>{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} {% endfor %}"
    "{% if date_string is defined %}{{ date_string }} {% endif %}"
    "{% if add_generation_prompt %}<assistant>"
    "{% if enable_thinking is defined and enable_thinking is false %} <think></think>{% endif %}{% endif %}"
)


@pytest.fixture(scope="session")
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"the public data files are not at {DATA}")
    return DATA


@pytest.fixture
def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = SPECIAL + [f"w{number}" for number in range(VOCABULARY - len(SPECIAL))]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[3:]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture
def model() -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    model = Qwen3ForCausalLM(config).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) < 30_000
    return model


# Stands where the library would: takes the arguments that vLLM 0.31.0 takes (``benchmarks/vllm_signatures.py`` compares
# them with its source) and answers with its record types.
VLLM = (Path(__file__).parent / "vllm_stand_in.py").read_text()


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A stand-in for the library, importable here and in the engines' processes."""
    from headscope.evaluation import vllm_engine

    (tmp_path / "vllm.py").write_text(VLLM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield importlib.import_module("vllm")
    vllm_engine.close_engines()
    vllm_engine._engines.cache_clear()
    for name in ("vllm", "vllm.lora", "vllm.lora.request"):
        sys.modules.pop(name, None)
