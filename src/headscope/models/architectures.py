"""Head access per architecture; a new one is a function here and a line in ``ARCHITECTURES``.

Most models use the same module names; ``llama_like`` reads those, and is tried on architectures outside the table.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from headscope.errors import InputError
from headscope.models.access import HeadAccess, LayerAccess
from headscope.models.hooks import HIDDEN_FROM_HOOKS
from headscope.models.norms import NormAccess, norm_access
from headscope.models.projections import Projection
from headscope.models.validation import prove

Architecture = Callable[[PreTrainedModel], HeadAccess]
"""Finds the heads of one family of models."""


def llama_like(model: PreTrainedModel) -> HeadAccess:
    """Return access to a model whose modules have the names of Llama's.

    Norms: before attention and MLP (Llama, Qwen, Mistral, Phi 3, gpt-oss), before and after (Gemma 2 and 3), or only
    after (OLMo 2). q, k, v: separate, or joined in ``qkv_proj`` (Phi 3). Raises InputError naming a missing
    module.
    """
    config, trunk = model.config, model.base_model
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // heads
    port_heads = {"q": heads, "k": kv_heads, "v": kv_heads}
    layers = _find_module(trunk, ("layers", "h", "blocks"))
    return HeadAccess(
        layers=tuple(_llama_like_layer(layer, port_heads, d_head) for layer in layers),
        embedding=model.get_input_embeddings(),
        final_norm=norm_access(_find_module(trunk, ("norm", "final_layernorm", "final_layer_norm", "ln_f"))),
        heads=heads,
        kv_heads=kv_heads,
        d_head=d_head,
        d_model=config.hidden_size,
    )


def _llama_like_layer(layer: nn.Module, port_heads: dict[str, int], d_head: int) -> LayerAccess:
    attention = _find_module(layer, ("self_attn", "attention", "attn"))
    mlp = _find_module(layer, ("mlp", "feed_forward", "block_sparse_moe"))
    # ``post_attention_layernorm`` is the MLP's pre-norm in most models, and attention's post-norm if the MLP has norms
    # of its own.
    mlp_has_own_norms = hasattr(layer, "post_feedforward_layernorm")
    attention_norm = _norm_of(layer, "input_layernorm")
    if mlp_has_own_norms:
        attention_post_norm = _norm_of(layer, "post_attention_layernorm")
        mlp_norm = _norm_of(layer, "pre_feedforward_layernorm")
        mlp_post_norm = _norm_of(layer, "post_feedforward_layernorm")
    else:
        attention_post_norm, mlp_post_norm = None, None
        mlp_norm = _norm_of(layer, "post_attention_layernorm")
        for name, norm in (("input_layernorm", attention_norm), ("post_attention_layernorm", mlp_norm)):
            if norm is None:
                raise InputError(f"its {type(layer).__name__} has no {name}, so its norms are unclear")
    return LayerAccess(
        block=layer,
        attention=attention,
        attention_norm=attention_norm,
        projections=_llama_like_projections(attention, port_heads, d_head),
        output=_find_module(attention, ("o_proj", "out_proj", "dense")),
        attention_post_norm=attention_post_norm,
        mlp=mlp,
        mlp_norm=mlp_norm,
        mlp_write=mlp if mlp_post_norm is None else mlp_post_norm.module,
    )


def _norm_of(layer: nn.Module, name: str) -> NormAccess | None:
    return norm_access(getattr(layer, name)) if hasattr(layer, name) else None


def _llama_like_projections(attention: nn.Module, port_heads: dict[str, int], d_head: int) -> tuple[Projection, ...]:
    if hasattr(attention, "qkv_proj"):
        return (Projection(_find_module(attention, ("qkv_proj",)), port_heads, d_head),)
    projections = []
    for port, count in port_heads.items():
        linear = _find_module(attention, (f"{port}_proj",))
        projections.append(Projection(linear, {port: count}, d_head, _port_norm(attention, port, d_head)))
    return tuple(projections)


def _port_norm(attention: nn.Module, port: str, d_head: int) -> NormAccess | None:
    """Return ``q_norm`` or ``k_norm`` if it spans all heads; a norm per head follows the split and needs no access."""
    norm = getattr(attention, f"{port}_norm", None)
    return None if norm is None or norm.weight.shape[-1] == d_head else norm_access(norm)


def _find_module(parent: nn.Module, names: Sequence[str]) -> Any:
    for name in names:
        module = getattr(parent, name, None)
        if module is not None:
            return module
    raise InputError(f"its {type(parent).__name__} has no module called {' or '.join(names)}")


def gpt2(model: PreTrainedModel) -> HeadAccess:
    """Return access to GPT-2: LayerNorm, one fused Conv1D for q, k and v.

    The graph holds the token embedding; learned positions are outside it.
    """
    config, trunk = model.config, model.base_model
    heads, d_head = config.n_head, config.n_embd // config.n_head
    layers = []
    for block in trunk.h:
        layer = LayerAccess(
            block=block,
            attention=block.attn,
            attention_norm=norm_access(block.ln_1),
            projections=(Projection(block.attn.c_attn, dict.fromkeys("qkv", heads), d_head),),
            output=block.attn.c_proj,
            attention_post_norm=None,
            mlp=block.mlp,
            mlp_norm=norm_access(block.ln_2),
            mlp_write=block.mlp,
        )
        layers.append(layer)
    return HeadAccess(
        layers=tuple(layers),
        embedding=trunk.wte,
        final_norm=norm_access(trunk.ln_f),
        heads=heads,
        kv_heads=heads,
        d_head=d_head,
        d_model=config.n_embd,
        longest=config.n_positions,
    )


def gpt_neox(model: PreTrainedModel) -> HeadAccess:
    """Return access to GPT-NeoX (Pythia): LayerNorm, q, k and v interleaved head by head, a parallel MLP."""
    config, trunk = model.config, model.base_model
    heads, d_head = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    layers = []
    for block in trunk.layers:
        fused = block.attention.query_key_value
        layer = LayerAccess(
            block=block,
            attention=block.attention,
            attention_norm=norm_access(block.input_layernorm),
            projections=(Projection(fused, dict.fromkeys("qkv", heads), d_head, interleaved=True),),
            output=block.attention.dense,
            attention_post_norm=None,
            mlp=block.mlp,
            mlp_norm=norm_access(block.post_attention_layernorm),
            mlp_write=block.mlp,
        )
        layers.append(layer)
    return HeadAccess(
        layers=tuple(layers),
        embedding=trunk.embed_in,
        final_norm=norm_access(trunk.final_layer_norm),
        heads=heads,
        kv_heads=heads,
        d_head=d_head,
        d_model=config.hidden_size,
        parallel=config.use_parallel_residual,
    )


# Each of these is tested against a plainly written reference (tests/circuits/test_architectures.py).
ARCHITECTURES: dict[str, Architecture] = {
    "gemma2": llama_like,
    "gemma3_text": llama_like,
    "gpt2": gpt2,
    "gpt_neox": gpt_neox,
    "gpt_oss": llama_like,
    "llama": llama_like,
    "mistral": llama_like,
    "olmo2": llama_like,
    "phi3": llama_like,
    "qwen2": llama_like,
    "qwen3": llama_like,
    "qwen3_moe": llama_like,
}


def head_access(model: PreTrainedModel) -> HeadAccess:
    """Return access to the heads of ``model``, which is checked the first time a model is seen (``prove``).

    An architecture outside ``ARCHITECTURES`` is tried with ``llama_like``. Raises InputError naming a check that
    failed, or if weights cannot be read because they are quantised, offloaded or compiled.
    """
    name = model.config.model_type
    _check_plain(model)
    if name in ARCHITECTURES:
        return _checked_access(model, ARCHITECTURES[name])
    try:
        return _checked_access(model, llama_like)
    except torch.OutOfMemoryError:
        raise
    except (InputError, AttributeError, RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        raise InputError(
            f"architecture {name!r} is unknown, and read like a usual one: {error} (known: {', '.join(ARCHITECTURES)})"
        ) from error


def _checked_access(model: PreTrainedModel, architecture: Architecture) -> HeadAccess:
    access = architecture(model)
    _check_weights(model.config.model_type, access)
    prove(model, access)
    return access


def _check_plain(model: PreTrainedModel) -> None:
    """Raise InputError if a module is compiled or a weight is offloaded."""
    for path, module in model.named_modules():
        is_compiled = getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod")
        if is_compiled or hasattr(vars(module).get("forward"), "_torchdynamo_orig_callable"):
            raise InputError(f"module {path or 'model'} is compiled: {HIDDEN_FROM_HOOKS}")
    for path, parameter in model.named_parameters():
        if parameter.is_meta:
            raise InputError(f"{path} is offloaded from its device; give a device_map that holds every weight")


def _check_weights(name: str, access: HeadAccess) -> None:
    """Raise InputError for packed weights, which cannot be split into heads."""
    for index, layer in enumerate(access.layers):
        for module in (*(projection.linear for projection in layer.projections), layer.output):
            weight: Any = module.weight
            is_readable = weight.is_floating_point() and weight.element_size() > 1  # FP8 counts as floating point
            if not is_readable or weight.ndim != 2 or access.d_model not in weight.shape:
                kind = f"{type(module).__name__} of {weight.dtype} {tuple(weight.shape)}"
                raise InputError(f"layer {index} of {name} holds a {kind}; load it unquantised (bfloat16 or float32)")
