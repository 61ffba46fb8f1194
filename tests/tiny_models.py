"""Tiny models with random weights from their real config classes, and ragged pairs for them."""

from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from headscope.pairs import Pairs

LAYERS, HEADS, KV_HEADS, D_HEAD, WIDTH, VOCABULARY = 2, 4, 2, 8, 32, 40
LONGEST_SUM = 8 * WIDTH  # products in a score, over the (at most 8) positions of an ending; MLPs are 4 x WIDTH or less
WINDOW = 6
_ALTERNATING = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_EXPERTS = {"num_experts_per_tok": 2}
# Config class, and what its family has beside the common sizes.
_FAMILIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "gemma2": (Gemma2Config, {**_ALTERNATING, "query_pre_attn_scalar": 5, "attn_implementation": "eager"}),
    "gemma3_text": (Gemma3TextConfig, {**_ALTERNATING, "query_pre_attn_scalar": 5}),
    "gpt_neox": (GPTNeoXConfig, {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
    "gpt_oss": (GptOssConfig, {**_ALTERNATING, **_EXPERTS, "num_local_experts": 4}),
    "llama": (LlamaConfig, {}),
    "mistral": (MistralConfig, {"sliding_window": WINDOW}),
    "olmo2": (Olmo2Config, {}),
    "phi3": (Phi3Config, {}),
    "qwen2": (Qwen2Config, {}),
    "qwen3": (Qwen3Config, {}),
    "qwen3_moe": (Qwen3MoeConfig, {**_EXPERTS, "num_experts": 4, "moe_intermediate_size": 24}),
}
SWITCH = 12
_FACTORS = {"short_factor": [1.0, 1.5, 1.0, 2.0], "long_factor": [1.0, 3.0, 5.0, 8.0]}
# Every type of ``ROPE_INIT_FUNCTIONS``. Frequencies that depend on a text's length change beyond ``SWITCH`` tokens.
ROPES: dict[str, dict[str, Any]] = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 16},
    "longrope": {"factor": 4.0, "original_max_position_embeddings": SWITCH, **_FACTORS},
    "llama3": {
        "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
    },
    "proportional": {"partial_rotary_factor": 0.5},
}  # fmt: skip


def roped_model(architecture: str, rope: str, **more: Any) -> torch.nn.Module:
    """A new ``tiny_model`` with rotary embeddings of type ``rope``, in Gemma 3 those of its layer without a window."""
    parameters: dict[str, Any] = {"rope_type": rope, "rope_theta": 100.0, **ROPES[rope]}
    if architecture == "gemma3_text":
        plain = {"rope_type": "default", "rope_theta": 100.0}
        parameters = {"sliding_attention": plain, "full_attention": parameters}
    if architecture == "phi3":
        more["original_max_position_embeddings"] = SWITCH
    if architecture == "gpt_neox":
        parameters["partial_rotary_factor"] = 0.5
    # Dynamic NTK changes where the context ends.
    return tiny_model(
        architecture, rope_parameters=parameters, max_position_embeddings=SWITCH if rope == "dynamic" else 64, **more
    )


def tiny_model(architecture: str, seed: int = 0, **more: Any) -> torch.nn.Module:
    """2 layers x 4 heads (2 key/value heads, 4 in GPT-2 and GPT-NeoX), d 32, all parameters random.

    Sliding windows are 6 wide: everywhere in Mistral, in the first layer of Gemma and gpt-oss. ``more`` goes to the
    config.
    """
    torch.manual_seed(seed)
    if architecture == "gpt2":
        config = GPT2Config(
            vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=64,
            bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
    else:
        family, own = _FAMILIES[architecture]
        config = family(
            **{
                "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": LAYERS,
                "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": D_HEAD,
                "max_position_embeddings": 64, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
                **own, **more,
            }
        )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    if model.dtype == torch.float64:
        model.config._experts_implementation = "eager"  # grouped products know no float64
    for parameter in model.parameters():
        # Far from the small initial weights: attention is not uniform and every term of a formula counts.
        vector = parameter.ndim == 1
        around = vector and not architecture.startswith("gemma")  # whose norms multiply by one plus their weight
        parameter.data = torch.randn_like(parameter) * (0.5 if vector else 0.25) + around
    assert sum(parameter.numel() for parameter in model.parameters()) < 60_000
    return model


def ragged_pairs(seed: int = 0, count: int = 5, positions: str = "last") -> Pairs:
    """Pairs of different lengths (9-17 tokens) and shared beginnings (4-11 tokens), each with labels."""
    draw = np.random.default_rng(seed)
    clean, corrupt = [], []
    for _ in range(count):
        shared = draw.integers(0, VOCABULARY, draw.integers(4, 12))
        ending = int(draw.integers(5, 7))
        one = draw.integers(0, VOCABULARY, ending)
        other = (one + draw.integers(1, VOCABULARY, ending)) % VOCABULARY
        clean.append(np.concatenate([shared, one]))
        corrupt.append(np.concatenate([shared, other]))
    return Pairs.from_tokens(
        clean,
        corrupt,
        positions,
        labels=draw.permuted(np.tile(np.arange(VOCABULARY), (count, 1)), axis=1)[:, :2],
    )
