"""PEFT's adapters: which weights a layer with an adapter computes with.

A live adapter is never merged into the user's model. Where weights are read, they are read from a merged copy of the
one layer; forward passes go through PEFT's own layers, which compute the same.
"""

import copy
import sys
from collections import OrderedDict
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import torch
from torch import nn

from headscope.errors import InputError

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

# Merged copies, each with the checksums of the layer it was made from.
_MERGED: WeakKeyDictionary[nn.Module, tuple[tuple[float, ...], nn.Module]] = WeakKeyDictionary()


def is_peft_model(model: Any) -> bool:
    """Tell whether ``model`` is PEFT's wrapper around a model. PEFT is not imported for the question."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, peft.PeftModel)


def base_of_peft(model: Any) -> Any:
    """Return the Hugging Face model inside a ``PeftModel``, the adapter's layers in place.

    Raises InputError for adapters that are tokens or prefixes: they are in no layer's weights.
    """
    config = model.active_peft_config
    if config.is_prompt_learning:
        raise InputError(
            f"the adapter is a {config.peft_type.value}, which adds tokens and changes no weights; "
            "adapters in the layers (LoRA and its kin) can be studied"
        )
    return model.get_base_model()


def has_adapter(module: nn.Module) -> bool:
    """Tell whether a layer is PEFT's wrapper around the layer it adapts or replaces."""
    return _is_tuner(module) or _is_replacement(module)


def merged_layer(module: nn.Module) -> nn.Module:
    """Return the plain layer that ``module`` computes: itself, or a copy with its active adapters merged in.

    The copy is kept until the layer's weights change or ``forget_merged`` is called.
    """
    if _is_replacement(module):
        return _active_replacement(module)
    if not _is_tuner(module):
        return module
    checksums = (float(module.disable_adapters), *weight_checksums(module))
    known = _MERGED.get(module)
    if known is None or known[0] != checksums:
        known = checksums, _merge_copy(module)
        _MERGED[module] = known
    return known[1]


def forget_merged() -> None:
    """Free the merged copies."""
    _MERGED.clear()


def merged_copy(model: Any) -> Any:
    """Return a copy of a Hugging Face model in which plain layers stand for those with adapters."""
    merged = copy.deepcopy(model)
    replaced: list[str] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in replaced)
        if has_adapter(module) and not inside:
            parent, _, name = path.rpartition(".")
            setattr(merged.get_submodule(parent), name, copy.deepcopy(merged_layer(module)))
            replaced.append(path)
    # What add_adapter leaves behind, by which save_pretrained would write the adapter alone.
    merged._hf_peft_config_loaded = False
    merged.__dict__.pop("peft_config", None)
    return merged


@torch.no_grad()
def weight_checksums(module: nn.Module) -> tuple[float, ...]:
    """Return one sum per weight: any step of training changes some of them.

    The version counter of a tensor would be cheaper and does not do: fused optimisers leave it as it is.
    """
    return tuple(float(parameter.sum(dtype=torch.float32)) for parameter in module.parameters())


def _is_tuner(module: Any) -> TypeGuard[Any]:
    tuners = sys.modules.get("peft.tuners.tuners_utils")
    return tuners is not None and isinstance(module, tuners.BaseTunerLayer)


def _is_replacement(module: Any) -> TypeGuard[Any]:
    """Whether ``module`` holds a layer beside its trained copy (``modules_to_save``) or its trained rows
    (``trainable_token_indices``)."""
    other = sys.modules.get("peft.utils.other")
    return other is not None and isinstance(module, other.AuxiliaryTrainingWrapper)


def _active_replacement(module: Any) -> nn.Module:
    if module.disable_adapters or not module.active_adapters:
        layer: nn.Module = module.original_module
        return layer
    copies = getattr(module, "modules_to_save", None)
    return merged_layer(module.token_adapter) if copies is None else copies[module.active_adapters[0]]


@torch.no_grad()
def _merge_copy(module: Any) -> nn.Module:
    # Hooks are left out of the copy: they hold on to tensors of the pass that is under way.
    no_hooks: dict[int, Any] = {id(getattr(part, name)): OrderedDict() for part in module.modules() for name in _HOOKS}
    twin = copy.deepcopy(module, no_hooks)
    if twin.disable_adapters:
        if twin.merged:
            twin.unmerge()
    elif not twin.merged:
        twin.merge()
    layer: nn.Module = twin.get_base_layer()
    return layer
