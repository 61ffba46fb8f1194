"""What a training puts around a model: DistributedDataParallel, torch.compile, PEFT, accelerate's autocast.

All of it is looked through, not taken off: the model in training stays as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from headscope.models.adapters import base_of_peft, is_peft_model


def inside_wrappers(model: Any) -> Any:
    """Return the model inside the wrappers of a training. Raises InputError for adapters that change no weights."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif hasattr(model, "_orig_mod"):  # torch.compile's
            model = model._orig_mod
        elif is_peft_model(model):
            model = base_of_peft(model)
        else:
            return model


@contextmanager
def own_forward(model: nn.Module) -> Iterator[None]:
    """Let every module compute in the dtype of its weights, uncompiled, as long as the block lasts.

    Mixed precision (accelerate) replaces a model's forward by one under autocast and keeps the former beside it;
    ``module.compile()`` keeps a compiled call beside the forward.
    """
    replaced: list[tuple[nn.Module, str, Any]] = []
    try:
        for module in model.modules():
            own = vars(module)
            if "_original_forward" in own and "forward" in own:
                replaced.append((module, "forward", own["forward"]))
                own["forward"] = own["_original_forward"]
            if own.get("_compiled_call_impl") is not None:
                replaced.append((module, "_compiled_call_impl", own["_compiled_call_impl"]))
                own["_compiled_call_impl"] = None
        yield
    finally:
        for module, name, value in replaced:
            vars(module)[name] = value
