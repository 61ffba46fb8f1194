"""Give a model biases on its output projections, which constants need, in a class whose checkpoints can hold them.

Most architectures have the option ``attention_bias`` for biases on q, k, v and o_proj. Qwen 2 and Mistral have none for
o_proj, but without a sliding window they compute what Llama computes, which has the option. Phi 3 has neither, nor
have these two with a window: the copy gets the biases in memory, and a checkpoint of it cannot hold them.
"""

import copy

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedConfig, PreTrainedModel

from headscope.models import head_access
from headscope.models.projections import linear_bias, linear_weight

_EQUIVALENT_TO_LLAMA = ("qwen2", "mistral")


def with_output_biases(model: PreTrainedModel) -> PreTrainedModel:
    """Return ``model``, or one rebuilt from its weights, with a bias on every o_proj.

    New biases are zero, so the logits stay the same. ``model`` may be changed: pass a copy if it is still needed. The
    result is the first of these that has a bias on o_proj:

    1. the same class with ``attention_bias``;
    2. a Llama, if that computes the same;
    3. the same class with biases that ``save_pretrained`` writes and ``from_pretrained`` does not read.
    """
    if all(linear_bias(layer.output) is not None for layer in head_access(model).layers):
        return model
    config = copy.deepcopy(model.config)
    config.attention_bias = True
    rebuilt = _rebuild(model, type(model), config)
    if rebuilt is None:
        llama_config = _llama_config(model)
        rebuilt = None if llama_config is None else _rebuild(model, LlamaForCausalLM, llama_config)
    if rebuilt is not None:
        return rebuilt
    for layer in head_access(model).layers:
        weight = linear_weight(layer.output)
        layer.output.bias = nn.Parameter(weight.new_zeros(weight.shape[0]), requires_grad=False)
    return model


def _llama_config(model: PreTrainedModel) -> LlamaConfig | None:
    """Return a Llama configuration that computes what ``model`` computes, with biases; None if there is none."""
    config = model.config
    if config.model_type not in _EQUIVALENT_TO_LLAMA or _has_window(config):
        return None
    settings = {}
    for name in LlamaConfig().to_dict():
        if hasattr(config, name) and name not in ("model_type", "architectures", "head_dim"):
            settings[name] = getattr(config, name)
    return LlamaConfig(**settings | {"attention_bias": True, "head_dim": head_access(model).d_head})


def _has_window(config: PreTrainedConfig) -> bool:
    """Tell whether a layer attends to a sliding window."""
    layer_types = getattr(config, "layer_types", None)
    if layer_types is None:
        return getattr(config, "sliding_window", None) is not None
    return any("full" not in layer_type for layer_type in layer_types)


def _rebuild(
    model: PreTrainedModel, architecture: type[PreTrainedModel], config: PreTrainedConfig
) -> PreTrainedModel | None:
    """Return a model of another class with the same weights and zero biases; None if its o_proj has no bias."""
    with torch.device("meta"):
        rebuilt: PreTrainedModel = architecture(config)
    outputs = {layer.output for layer in head_access(model).layers}
    needed = {f"{path}.bias" for path, module in model.named_modules() if module in outputs}
    if not needed <= set(rebuilt.state_dict()):
        return None
    weights = dict(model.state_dict())
    like = next(model.parameters())
    for name, empty in rebuilt.state_dict().items():
        if name not in weights:
            weights[name] = torch.zeros(empty.shape, dtype=like.dtype, device=like.device)
    rebuilt.load_state_dict(weights, strict=True, assign=True)
    for path, buffer in model.named_buffers():  # rotary frequencies are in no checkpoint
        owner, _, name = path.rpartition(".")
        rebuilt.get_submodule(owner)._buffers[name] = buffer.clone()
    rebuilt.tie_weights()
    rebuilt.generation_config = copy.deepcopy(model.generation_config)
    return rebuilt.requires_grad_(False).eval()
