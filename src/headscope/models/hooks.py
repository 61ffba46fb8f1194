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
    by_row: whether it tells the rows of a pass apart: rows must then stay in their places while a text is written, and
        passes come one at a time.
    """

    module: nn.Module
    kind: Literal["input", "output"]
    function: Callable[[Any], Any]
    by_row: bool = True


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


def tells_rows_apart(model: nn.Module) -> bool:
    """Whether a hook on a module of ``model`` may do so: each but those that say they do not (``Hook.by_row``)."""
    hooks = (each for module in model.modules() for each in (module._forward_hooks, module._forward_pre_hooks))
    functions = (function for each in hooks for function in each.values())
    return any(getattr(function, "by_row", True) and not only_looks(function) for function in functions)


def only_looks(function: Any) -> bool:
    """Whether a hook is one of those by which ``transformers`` notes outputs: they stay, once asked for, and change
    nothing.
    """
    return str(getattr(function, "__module__", "")).startswith("transformers.")


def _register(hook: Hook) -> Any:
    if hook.kind == "output":

        def replace_output(_module: nn.Module, _args: Any, output: Any) -> Any:
            if not isinstance(output, tuple):
                return hook.function(output)
            first = hook.function(output[0])
            return None if first is None else (first, *output[1:])

        replace_output.by_row = hook.by_row  # type: ignore[attr-defined]
        return hook.module.register_forward_hook(replace_output)

    def replace_first(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        first = hook.function(args[0])
        return None if first is None else (first, *args[1:])

    replace_first.by_row = hook.by_row  # type: ignore[attr-defined]
    return hook.module.register_forward_pre_hook(replace_first)
