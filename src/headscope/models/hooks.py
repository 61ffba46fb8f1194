"""The one way to attach to a model: hooks that are gone when the ``with`` block ends, whatever happens."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

UNSEEN = (
    "a compiled or fused forward hides it from hooks; load the model without torch.compile and use_kernels, with "
    "attn_implementation='sdpa' or 'eager'"
)


@dataclass(frozen=True)
class Hook:
    """One function on one module.

    kind: ``"input"`` calls ``function(first positional argument)``; ``"output"`` calls ``function(output)``, or of
        an output of several parts (gpt-oss' experts give router scores too) the first.
        What it returns replaces that input or output; None leaves it as it is.
    """

    module: nn.Module
    kind: Literal["input", "output"]
    function: Callable[[Any], Any]


@contextmanager
def attached(hooks: Iterable[Hook]) -> Iterator[None]:
    """Attach ``hooks`` for the duration of the block; detach them in any case."""
    handles: list[Any] = []
    try:
        for hook in hooks:
            handles.append(_register(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _register(hook: Hook) -> Any:
    if hook.kind == "output":

        def replace_output(_module: nn.Module, _args: Any, output: Any) -> Any:
            if not isinstance(output, tuple):
                return hook.function(output)
            first = hook.function(output[0])
            return None if first is None else (first, *output[1:])

        return hook.module.register_forward_hook(replace_output)

    def replace_first(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        first = hook.function(args[0])
        return None if first is None else (first, *args[1:])

    return hook.module.register_forward_pre_hook(replace_first)
