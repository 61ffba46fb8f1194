"""Hooks on a model that are removed when the ``with`` block ends, in any case."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

HIDDEN_FROM_HOOKS = (
    "a compiled or fused forward hides it from hooks; load the model without torch.compile and use_kernels, with "
    "attn_implementation='sdpa' or 'eager'"
)


@dataclass(frozen=True)
class Hook:
    """One function on one module.

    kind: ``"input"`` calls ``function`` with the first positional argument, ``"output"`` with the output, or with the
        first part of an output of several (gpt-oss' experts also return router scores), ``"both"`` with these two.
        ``"parts"`` calls it with every part of the output (attention also returns its rows), to read and not to change.
    function: its return value replaces the input or output; None leaves it as it is.
    by_row: whether it treats the rows of a pass differently: rows must then keep their places while a text is
        generated, and passes are run one at a time.
    """

    module: nn.Module
    kind: Literal["input", "output", "both", "parts"]
    function: Callable[..., Tensor | None]
    by_row: bool = True


@contextmanager
def attach_hooks(hooks: Iterable[Hook]) -> Iterator[None]:
    """Attach ``hooks`` inside the block; they are removed in any case."""
    handles: list[RemovableHandle] = []
    try:
        for hook in hooks:
            handles.append(_register(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def tells_rows_apart(model: nn.Module) -> bool:
    """Return whether a hook on ``model`` may treat rows differently: any but those whose ``Hook.by_row`` is False."""
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for function in hooks.values():
                if getattr(function, "by_row", True) and not is_passive_hook(function):
                    return True
    return False


def is_passive_hook(function: object) -> bool:
    """Return whether a hook is one of those with which ``transformers`` records outputs; they stay on the model and
    change nothing."""
    return str(getattr(function, "__module__", "")).startswith("transformers.")


def _register(hook: Hook) -> RemovableHandle:
    if hook.kind == "parts":

        def read_parts(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            hook.function(*(output if isinstance(output, tuple) else (output,)))

        read_parts.by_row = hook.by_row  # type: ignore[attr-defined]
        return hook.module.register_forward_hook(read_parts)

    if hook.kind != "input":

        def replace_output(_module: nn.Module, args: tuple[Any, ...], output: Any) -> object:
            read = args[:1] if hook.kind == "both" else ()
            if not isinstance(output, tuple):
                return hook.function(*read, output)
            first = hook.function(*read, output[0])
            return None if first is None else (first, *output[1:])

        replace_output.by_row = hook.by_row  # type: ignore[attr-defined]
        return hook.module.register_forward_hook(replace_output)

    def replace_input(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        first = hook.function(args[0])
        return None if first is None else (first, *args[1:])

    replace_input.by_row = hook.by_row  # type: ignore[attr-defined]
    return hook.module.register_forward_pre_hook(replace_input)
