"""A place for constants: copies of models whose output projections have biases, and whose checkpoints can hold them.

Most architectures have the switch ``attention_bias`` for biases on q, k, v and o_proj; Qwen 2 and Mistral have none for
o_proj, but without a sliding window they compute what Llama computes, which has it. Phi 3 has neither: its copy gets
the biases in memory, works, and cannot be saved whole.
"""

import copy
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from headscope.models import head_access
from headscope.models.projections import linear_bias, linear_weight

_LIKE_LLAMA = ("qwen2", "mistral")


def with_output_biases(model: PreTrainedModel) -> PreTrainedModel:
    """Return ``model``, or one rebuilt from its weights, with a bias on every o_proj: zero if it had none, so that the
    logits are the same. The model given is taken over: hand in a copy of one that is still needed.

    Of the same class with ``attention_bias`` where that gives o_proj a bias; else a Llama, where that computes the
    same; else of the same class with biases that ``save_pretrained`` writes and ``from_pretrained`` does not read.
    """
    if all(linear_bias(layer.output) is not None for layer in head_access(model).layers):
        return model
    config = copy.deepcopy(model.config)
    config.attention_bias = True
    for kind, settings in ((type(model), config), (LlamaForCausalLM, _as_llama(model))):
        rebuilt = None if settings is None else _rebuilt(model, kind, settings)
        if rebuilt is not None:
            return rebuilt
    for layer in head_access(model).layers:
        weight = linear_weight(layer.output)
        layer.output.bias = nn.Parameter(weight.new_zeros(weight.shape[0]), requires_grad=False)
    return model


def _as_llama(model: PreTrainedModel) -> Any:
    """A Llama configuration that computes what ``model`` computes, biases allowed; None where there is none."""
    config = model.config
    if config.model_type not in _LIKE_LLAMA or any("full" not in kind for kind in _attention_kinds(config)):
        return None
    shared = {name: getattr(config, name) for name in LlamaConfig().to_dict() if hasattr(config, name)}
    kept = {name: value for name, value in shared.items() if name not in ("model_type", "architectures", "head_dim")}
    return LlamaConfig(**kept | {"attention_bias": True, "head_dim": head_access(model).d_head})


def _attention_kinds(config: Any) -> list[str]:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return list(kinds)
    return ["full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"]


def _rebuilt(model: PreTrainedModel, kind: type[Any], config: Any) -> PreTrainedModel | None:
    """The same weights in another shell, with zeros for the biases it has more; None where o_proj still gets none."""
    with torch.device("meta"):
        shell = kind(config)
    outputs = {layer.output for layer in head_access(model).layers}
    needed = {f"{path}.bias" for path, module in model.named_modules() if module in outputs}
    if not needed <= set(shell.state_dict()):
        return None
    weights = dict(model.state_dict())
    like = next(model.parameters())
    for name, empty in shell.state_dict().items():
        if name not in weights:
            weights[name] = torch.zeros(empty.shape, dtype=like.dtype, device=like.device)
    shell.load_state_dict(weights, strict=True, assign=True)
    for name, buffer in model.named_buffers():  # rotary frequencies are in no checkpoint
        owner, _, own = name.rpartition(".")
        shell.get_submodule(owner)._buffers[own] = buffer.clone()
    shell.tie_weights()
    shell.generation_config = copy.deepcopy(model.generation_config)
    rebuilt: PreTrainedModel = shell.requires_grad_(False).eval()
    return rebuilt
