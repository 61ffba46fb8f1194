"""Wrappers of a model in training: DistributedDataParallel, torch.compile, PEFT, accelerate's autocast.

The inner model is read; the wrappers are never removed, so training is not affected.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from headscope.models.adapters import base_of_peft, is_peft_model


def inside_wrappers(model: nn.Module) -> nn.Module:
    """Return the model inside the wrappers of a training.

    Raises InputError for adapters that change no weights.
    """
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif isinstance(compiled := getattr(model, "_orig_mod", None), nn.Module):  # torch.compile's wrapper
            model = compiled
        elif is_peft_model(model):
            model = base_of_peft(model)
        else:
            return model


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put all modules in evaluation mode, without dropout, inside the block; each has its own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def own_forward(model: nn.Module) -> Iterator[None]:
    """Make every module compute in the dtype of its weights, uncompiled, inside the block.

    Mixed precision (accelerate) replaces a model's forward by one under autocast and keeps the former in
    ``_original_forward``; ``module.compile()`` adds a compiled call to the forward.
    """
    previous: list[tuple[nn.Module, str, object]] = []
    try:
        for module in model.modules():
            attributes = vars(module)
            if "_original_forward" in attributes and "forward" in attributes:
                previous.append((module, "forward", attributes["forward"]))
                attributes["forward"] = attributes["_original_forward"]
            if attributes.get("_compiled_call_impl") is not None:
                previous.append((module, "_compiled_call_impl", attributes["_compiled_call_impl"]))
                attributes["_compiled_call_impl"] = None
        yield
    finally:
        for module, name, value in previous:
            vars(module)[name] = value
