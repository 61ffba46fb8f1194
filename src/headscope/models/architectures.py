"""Head access per architecture: a new one is a function here and a line in ``ARCHITECTURES``.

Most models name their modules alike; ``usual`` reads those, and is tried on architectures nobody has tested.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from headscope.errors import InputError
from headscope.models.access import HeadAccess, LayerAccess
from headscope.models.hooks import UNSEEN
from headscope.models.norms import NormAccess, norm_access
from headscope.models.projections import Projection
from headscope.models.validation import prove


class Architecture(Protocol):
    """Finds the heads of one family of models."""

    def __call__(self, model: PreTrainedModel) -> HeadAccess:
        """Access to ``model``'s layers."""


def usual(model: PreTrainedModel) -> HeadAccess:
    """Models whose modules have the usual names, those of Llama and its kin.

    Norms: before attention and MLP (Llama, Qwen, Mistral, Phi 3, gpt-oss), before and after (Gemma 2 and 3), or only
    after (OLMo 2). q, k, v: separate, or side by side in ``qkv_proj`` (Phi 3). Raises InputError naming the module that
    is missing.
    """
    config, trunk = model.config, model.base_model
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    d_head = getattr(config, "head_dim", None) or config.hidden_size // heads
    layers = _named(trunk, ("layers", "h", "blocks"))
    return HeadAccess(
        layers=tuple(_usual_layer(layer, {"q": heads, "k": kv_heads, "v": kv_heads}, d_head) for layer in layers),
        embedding=model.get_input_embeddings(),
        final_norm=norm_access(_named(trunk, ("norm", "final_layernorm", "final_layer_norm", "ln_f"))),
        heads=heads,
        kv_heads=kv_heads,
        d_head=d_head,
        d_model=config.hidden_size,
    )


def _usual_layer(layer: Any, heads: dict[str, int], d_head: int) -> LayerAccess:
    attention = _named(layer, ("self_attn", "attention", "attn"))
    mlp = _named(layer, ("mlp", "feed_forward", "block_sparse_moe"))
    before, after = _usual_norms(layer)
    return LayerAccess(
        block=layer,
        attention=attention,
        attention_norm=before[0],
        projections=_usual_projections(attention, heads, d_head),
        output=_named(attention, ("o_proj", "out_proj", "dense")),
        attention_post_norm=after[0],
        mlp=mlp,
        mlp_norm=before[1],
        mlp_write=mlp if after[1] is None else after[1].module,
    )


def _usual_norms(layer: nn.Module) -> tuple[list[NormAccess | None], list[NormAccess | None]]:
    """Norms before and after attention and MLP.

    ``post_attention_layernorm`` is the MLP's pre-norm in most models, and attention's post-norm where the MLP has norms
    of its own.
    """
    own = hasattr(layer, "post_feedforward_layernorm")
    names = (
        ("input_layernorm", "pre_feedforward_layernorm" if own else "post_attention_layernorm"),
        ("post_attention_layernorm", "post_feedforward_layernorm") if own else ("", ""),
    )
    before, after = ([norm_access(getattr(layer, n)) if hasattr(layer, n) else None for n in each] for each in names)
    if not own and None in before:
        raise InputError(f"its {type(layer).__name__} has no {names[0][before.index(None)]}, so its norms are unclear")
    return before, after


def _usual_projections(attention: nn.Module, heads: dict[str, int], d_head: int) -> tuple[Projection, ...]:
    if hasattr(attention, "qkv_proj"):
        return (Projection(_named(attention, ("qkv_proj",)), heads, d_head),)
    return tuple(
        Projection(_named(attention, (f"{port}_proj",)), {port: count}, d_head, _wide_norm(attention, port, d_head))
        for port, count in heads.items()
    )


def _wide_norm(attention: nn.Module, port: str, d_head: int) -> NormAccess | None:
    """``q_norm`` and the like where they span all heads; one norm per head follows the split and needs no access."""
    norm = getattr(attention, f"{port}_norm", None)
    return None if norm is None or norm.weight.shape[-1] == d_head else norm_access(norm)


def _named(parent: nn.Module, names: Sequence[str]) -> Any:
    for name in names:
        if (found := getattr(parent, name, None)) is not None:
            return found
    raise InputError(f"its {type(parent).__name__} has no module called {' or '.join(names)}")


def gpt2(model: PreTrainedModel) -> HeadAccess:
    """GPT-2: LayerNorm, one fused Conv1D for q, k and v. The graph holds the token embedding; learned
    positions are outside it."""
    config, trunk = model.config, model.base_model
    heads, d_head = config.n_head, config.n_embd // config.n_head
    layers = tuple(
        LayerAccess(
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
        for block in trunk.h
    )
    return HeadAccess(
        layers=layers,
        embedding=trunk.wte,
        final_norm=norm_access(trunk.ln_f),
        heads=heads,
        kv_heads=heads,
        d_head=d_head,
        d_model=config.n_embd,
        longest=config.n_positions,
    )


def gpt_neox(model: PreTrainedModel) -> HeadAccess:
    """GPT-NeoX (Pythia): LayerNorm, q, k and v interleaved head by head, attention and MLP side by side."""
    config, trunk = model.config, model.base_model
    heads, d_head = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    layers = tuple(
        LayerAccess(
            block=block,
            attention=block.attention,
            attention_norm=norm_access(block.input_layernorm),
            projections=(
                Projection(block.attention.query_key_value, dict.fromkeys("qkv", heads), d_head, interleaved=True),
            ),
            output=block.attention.dense,
            attention_post_norm=None,
            mlp=block.mlp,
            mlp_norm=norm_access(block.post_attention_layernorm),
            mlp_write=block.mlp,
        )
        for block in trunk.layers
    )
    return HeadAccess(
        layers=layers,
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
    "gemma2": usual,
    "gemma3_text": usual,
    "gpt2": gpt2,
    "gpt_neox": gpt_neox,
    "gpt_oss": usual,
    "llama": usual,
    "mistral": usual,
    "olmo2": usual,
    "phi3": usual,
    "qwen2": usual,
    "qwen3": usual,
    "qwen3_moe": usual,
}


def head_access(model: PreTrainedModel) -> HeadAccess:
    """Access to the heads of ``model``, which proves itself the first time a model object is seen (``prove``).

    An architecture outside ``ARCHITECTURES`` is tried by the usual module names. Raises InputError where the proof
    fails, naming what did, and where weights cannot be read: quantised, offloaded or compiled.
    """
    name = model.config.model_type
    _check_plain(model)
    if name in ARCHITECTURES:
        access = ARCHITECTURES[name](model)
        _check_weights(name, access)
        prove(model, access)
        return access
    try:
        access = usual(model)
        _check_weights(name, access)
        prove(model, access)
    except torch.OutOfMemoryError:
        raise
    except (InputError, AttributeError, RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
        known = ", ".join(ARCHITECTURES)
        raise InputError(
            f"architecture {name!r} is unknown, and read like a usual one: {error} (known: {known})"
        ) from error
    return access


def _check_plain(model: PreTrainedModel) -> None:
    for path, module in model.named_modules():
        compiled = getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod")
        if compiled or hasattr(vars(module).get("forward"), "_torchdynamo_orig_callable"):
            raise InputError(f"module {path or 'model'} is compiled: {UNSEEN}")
    for path, parameter in model.named_parameters():
        if parameter.is_meta:
            raise InputError(f"{path} is offloaded from its device; give a device_map that holds every weight")


def _check_weights(name: str, access: HeadAccess) -> None:
    """Refuse packed weights, which cannot be split into heads."""
    for index, layer in enumerate(access.layers):
        for module in (*(projection.linear for projection in layer.projections), layer.output):
            weight: Any = module.weight
            readable = weight.is_floating_point() and weight.element_size() > 1  # FP8 counts as floating point
            if not readable or weight.ndim != 2 or access.d_model not in weight.shape:
                found = f"{type(module).__name__} of {weight.dtype} {tuple(weight.shape)}"
                raise InputError(f"layer {index} of {name} holds a {found}; load it unquantised (bfloat16 or float32)")
