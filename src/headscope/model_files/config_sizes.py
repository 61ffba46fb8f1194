"""The sizes in a model's config.json: whole numbers above zero that fit one another."""

from collections.abc import Mapping
from pathlib import Path

from headscope.errors import InputError
from headscope.model_files.weight_files import ModelConfig

LAYERS = ("num_hidden_layers", "n_layer")
HEADS = ("num_attention_heads", "n_head")
VOCABULARY = ("vocab_size",)
_MLP_WIDTHS = ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "n_inner")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_UNGATED = ("gpt2", "gpt_neox", "gptj", "opt", "phi", "bloom", "falcon", "starcoder2")
"""Architectures whose MLP has two matrices instead of three."""
_KV_HEADS, _HEAD_DIM, _WIDTH = ("num_key_value_heads",), ("head_dim",), ("hidden_size", "n_embd")
_MAY_BE_NULL = (_KV_HEADS, _HEAD_DIM)
"""Sizes that a model's class derives from the others if they are null."""


def config_size(config: ModelConfig, keys: tuple[str, ...]) -> int | None:
    """Return the first of the sizes under ``keys`` that a config has."""
    key = _first_key(config, keys)
    return None if key is None else int(_language_config(config)[key])


def architecture(config: ModelConfig) -> str | None:
    """Return the ``model_type`` of the language model, None if the config does not say."""
    name: str | None = _language_config(config).get("model_type")
    return name


def attention_sizes(config: ModelConfig) -> dict[str, int | str | None]:
    """Return what two models must share for their heads' weights to be exchanged, by the words people use for it."""
    heads, width = config_size(config, HEADS), config_size(config, _WIDTH)
    kv_heads, d_head = _stated_size(config, _KV_HEADS), _stated_size(config, _HEAD_DIM)
    shared_width = None if heads is None or width is None else width // heads
    return {
        "architecture": architecture(config),
        "layers": config_size(config, LAYERS),
        "heads": heads,
        "key/value heads": heads if kv_heads is None else kv_heads,
        "width of a head": shared_width if d_head is None else d_head,
        "width of the residual stream": width,
    }


def _stated_size(config: ModelConfig, keys: tuple[str, ...]) -> int | None:
    """Return a size that may be null or absent."""
    value = _language_config(config).get(keys[0])
    return None if value is None else int(value)


def mlp_widths(config: ModelConfig) -> list[int]:
    """Return the widths of a config's MLPs, those of experts included; none if it states none."""
    return [int(size) for key in _MLP_WIDTHS if (size := _language_config(config).get(key))]


def weight_count(config: ModelConfig) -> int:
    """Estimate how many weights a model has from its config's sizes; 0 if they are not all there.

    Norms and biases are left out, which is less than a thousandth. All layers count as alike, and as experts if there
    are some.
    """
    layers, vocabulary = config_size(config, LAYERS), config_size(config, VOCABULARY)
    heads, width = config_size(config, HEADS), config_size(config, _WIDTH)
    if layers is None or vocabulary is None or heads is None or width is None:
        return 0
    language = _language_config(config)
    kv_heads, d_head = _stated_size(config, _KV_HEADS) or heads, _stated_size(config, _HEAD_DIM) or width // heads
    attention = 2 * width * d_head * (heads + kv_heads)
    experts = next((int(language[key]) for key in _EXPERTS if language.get(key)), 1)
    mlp_width = int(
        (experts > 1 and language.get("moe_intermediate_size")) or next(iter(mlp_widths(config)), 4 * width)
    )
    mlp = experts * (2 if language.get("model_type") in _UNGATED else 3) * width * mlp_width
    is_tied = language.get("tie_word_embeddings", config.get("tie_word_embeddings", True))
    return layers * (attention + mlp) + (1 if is_tied else 2) * vocabulary * width


def layer_counts(config: ModelConfig) -> tuple[int | None, int]:
    """Return how many layers a config has, and how many further ones only draft tokens."""
    return config_size(config, LAYERS), int(_language_config(config).get("num_nextn_predict_layers") or 0)


def check_sizes(folder: str | Path, config: ModelConfig) -> None:
    """Raise InputError unless a config's sizes are whole numbers above zero and its heads can be shared out."""
    language = _language_config(config)
    for keys in (LAYERS, HEADS, _KV_HEADS, _HEAD_DIM, _WIDTH, VOCABULARY):
        key = _first_key(config, keys)
        if key is None or (language[key] is None and keys in _MAY_BE_NULL):
            continue
        size = language[key]
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise InputError(f"config.json of {folder} says {key} {size!r}; a whole number of at least 1 is needed")
    heads_key = _first_key(config, HEADS)
    if heads_key is None:
        return
    groups_key = _first_key(config, _KV_HEADS)
    width_key = _first_key(config, _WIDTH)
    if groups_key is not None and language[groups_key] is not None:
        _check_divides(folder, language, heads_key, groups_key)
    # Without a width of its own, a head has its share of the stream's.
    if width_key is not None and language.get("head_dim") is None:
        _check_divides(folder, language, width_key, heads_key)


def _check_divides(folder: str | Path, language: ModelConfig, whole: str, part: str) -> None:
    if language[whole] % language[part]:
        raise InputError(
            f"config.json of {folder} says {whole} {language[whole]} and {part} {language[part]}, which does not "
            "divide it; correct them or save the model again"
        )


def _first_key(config: ModelConfig, keys: tuple[str, ...]) -> str | None:
    language = _language_config(config)
    return next((key for key in keys if key in language), None)


def _language_config(config: ModelConfig) -> ModelConfig:
    """Return the part on the language model, which vision-language models keep one level down."""
    nested = config.get("text_config")
    return nested if isinstance(nested, Mapping) else config
