"""PEFT's adapters: the weights with which a layer with an adapter computes.

A live adapter is never merged into the user's model. Weights are read from a merged copy of the one layer; forward
passes go through PEFT's own layers, which compute the same.
"""

import copy
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeGuard
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel

from headscope.errors import InputError

if TYPE_CHECKING:
    from peft import PeftModel

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

# Merged copies, each with the checksums of the layer it was made from.
_MERGED: WeakKeyDictionary[nn.Module, tuple[tuple[float, ...], nn.Module]] = WeakKeyDictionary()


def is_peft_model(model: object) -> "TypeGuard[PeftModel]":
    """Return whether ``model`` is PEFT's wrapper around a model."""
    # PEFT takes a second to import, and whoever holds a PeftModel has imported it.
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, peft.PeftModel)


def base_of_peft(model: "PeftModel") -> PreTrainedModel:
    """Return the Hugging Face model inside a ``PeftModel``, the adapter's layers in place.

    Raises InputError for adapters that are not in the weights of layers: tokens, prefixes and adaption prompts.
    """
    config = model.active_peft_config
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise InputError(
            f"the adapter is of type {config.peft_type.value}, which adds tokens and changes no weights; "
            "adapters in the layers (such as LoRA) can be studied"
        )
    return model.get_base_model()


def has_adapter(module: nn.Module) -> bool:
    """Return whether a layer is PEFT's wrapper around the layer it adapts or replaces."""
    return _is_tuner(module) or _is_replacement(module)


def merged_layer(module: nn.Module) -> nn.Module:
    """Return the plain layer that ``module`` computes: itself, or a copy with its active adapters merged in.

    The copy is kept until the layer's weights change or ``clear_merged_layers`` is called. Raises InputError for an
    adapter that PEFT cannot merge.
    """
    if _is_replacement(module):
        return _active_replacement(module)
    if not _is_tuner(module):
        return module
    checksums = (float(module.disable_adapters), *weight_checksums(module))
    cached = _MERGED.get(module)
    if cached is None or cached[0] != checksums:
        cached = checksums, _merge_copy(module)
        _MERGED[module] = cached
    return cached[1]


def clear_merged_layers() -> None:
    """Free the merged copies."""
    _MERGED.clear()


def merged_copy(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a Hugging Face model in which plain layers take the place of those with adapters."""
    merged: PreTrainedModel = copy.deepcopy(model)
    merge_adapters(merged)
    return merged


def merge_adapters(model: PreTrainedModel) -> None:
    """Replace a Hugging Face model's layers with adapters by the plain layers that they compute.

    If embeddings are tied, PEFT's ``merge_and_unload`` adds an adapter of one to the other too; here they are untied
    (``untie_differing_embeddings``), as in the live model.
    """
    replaced_paths: list[str] = []
    for path, module in list(model.named_modules(remove_duplicate=False)):
        is_inside = any(path.startswith(f"{outer}.") for outer in replaced_paths)
        if has_adapter(module) and not is_inside:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, merged_layer(module))
            replaced_paths.append(path)
    # What add_adapter leaves on the model; with it, save_pretrained would write the adapter alone.
    model._hf_peft_config_loaded = False
    model.__dict__.pop("peft_config", None)
    untie_differing_embeddings(model)


def untie_differing_embeddings(model: PreTrainedModel) -> None:
    """Correct the config of a model whose embeddings are no longer tied; equal ones become one tensor.

    Otherwise saving and loading would tie them again, which changes the model.
    """
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    if not getattr(model.config, "tie_word_embeddings", False) or outputs is None or inputs.weight is outputs.weight:
        return
    if torch.equal(inputs.weight, outputs.weight):
        outputs.weight = inputs.weight
    else:
        model.config.tie_word_embeddings = False
        model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)


@torch.no_grad()
def weight_checksums(module: nn.Module) -> tuple[float, ...]:
    """Return the sum of each weight; a training step changes some of them."""
    # A tensor's version counter would be cheaper, but fused optimisers do not raise it.
    return tuple(float(parameter.sum(dtype=torch.float32)) for parameter in module.parameters())


def _is_tuner(module: nn.Module) -> TypeGuard[Any]:
    tuners = sys.modules.get("peft.tuners.tuners_utils")
    return tuners is not None and isinstance(module, tuners.BaseTunerLayer)


def _is_replacement(module: nn.Module) -> TypeGuard[Any]:
    """Return whether ``module`` holds a layer and its trained copy (``modules_to_save``) or its trained rows
    (``trainable_token_indices``)."""
    peft_wrappers = sys.modules.get("peft.utils.other")
    return peft_wrappers is not None and isinstance(module, peft_wrappers.AuxiliaryTrainingWrapper)


def _active_replacement(module: Any) -> nn.Module:
    if module.disable_adapters or not module.active_adapters:
        layer: nn.Module = module.original_module
        return layer
    copies = getattr(module, "modules_to_save", None)
    return merged_layer(module.token_adapter) if copies is None else copies[module.active_adapters[0]]


@torch.no_grad()
def _merge_copy(module: Any) -> nn.Module:
    # Hooks are left out of the copy: they hold on to tensors of the pass that is under way. deepcopy takes what its
    # memo has under an object's id as that object's copy.
    memo: dict[int, object] = {}
    for submodule in module.modules():
        for name in _HOOKS:
            memo[id(getattr(submodule, name))] = OrderedDict()
    twin = copy.deepcopy(module, memo)
    if twin.disable_adapters:
        if twin.merged:
            twin.unmerge()
    elif not twin.merged:
        _merge(twin)
    layer: nn.Module = twin.get_base_layer()
    return layer


def _merge(module: Any) -> None:
    try:
        module.merge()
    except (RuntimeError, ValueError, NotImplementedError) as error:
        if any(getattr(module, "lora_bias", {}).values()) and module.get_base_layer().bias is None:
            raise InputError(
                "the adapter has a bias (lora_bias=True) on a layer that has none, so its weights cannot hold it; "
                "train it with lora_bias=False, or on layers with a bias"
            ) from error
        adapters, reason = ", ".join(module.active_adapters), str(error).strip().splitlines()[0]
        raise InputError(
            f"adapter {adapters} cannot be merged into a {type(module.get_base_layer()).__name__} layer: {reason}; "
            "heads are read from merged weights, so take another kind of adapter"
        ) from error
