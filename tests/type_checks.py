"""Shapes and types of the package are checked on every call of a test: beartype reads the annotations, jaxtyping holds
the axes of one call against each other.

jaxtyping's own decorator binds every call's arguments by ``inspect`` and checks them twice, which took half of the
suite's time. Here each function is decorated when it is first called, its arguments and result are checked once, and
axes are kept apart per call only if the annotations name arrays.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jaxtyping
from beartype import beartype

_CHECKS_WITH_ARGUMENTS = jaxtyping.jaxtyped  # the original, which an axis such as "{count}" needs


def install_checks(modules: Sequence[str]) -> None:
    """Check all functions and dataclasses of ``modules``, none of which is imported yet."""
    jaxtyping.jaxtyped = _decorate  # the name that jaxtyping's import hook writes above every function and class
    jaxtyping.install_import_hook(modules, "beartype.beartype")


def _decorate(target: Any = None, *, typechecker: Any = None) -> Any:
    """Stand in for ``jaxtyping.jaxtyped``."""
    if target is None:
        return functools.partial(_decorate, typechecker=typechecker)
    if inspect.isfunction(target):
        return _check_calls(target, typechecker)
    is_new = dataclasses.is_dataclass(target) and not hasattr(target.__init__, "is_checked")
    if is_new:
        target.__init__ = _check_calls(target.__init__, typechecker)  # type: ignore[misc]
    return target


def _check_calls(function: Callable[..., Any], typechecker: Any) -> Callable[..., Any]:
    checked: Callable[..., Any] | None = None

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if checked is None:
            checked = _checked(function, typechecker)
        return checked(*args, **kwargs)

    call.is_checked = True  # type: ignore[attr-defined]
    return call


def _checked(function: Callable[..., Any], typechecker: Any) -> Callable[..., Any]:
    """Return ``function`` with its checks, which a first call builds: most of a process' functions are never called."""
    arrays = []
    for name, annotation in function.__annotations__.items():
        function.__annotations__[name] = resolved = _resolve(annotation, function.__globals__)
        arrays += _arrays(resolved)
    if not arrays:
        return beartype(function)
    if inspect.isgeneratorfunction(function) or any("{" in getattr(array, "dim_str", "") for array in arrays):
        return _CHECKS_WITH_ARGUMENTS(function, typechecker=typechecker)
    checked = beartype(function)

    def call_with_axes(*args: Any, **kwargs: Any) -> Any:
        with _CHECKS_WITH_ARGUMENTS("context"):  # the axes of this call, and of no other
            return checked(*args, **kwargs)

    return call_with_axes


def _resolve(annotation: Any, names: dict[str, Any]) -> Any:
    """Return what an annotation written as text means; Any if only a type checker can know."""

    def holder() -> None: ...

    holder.__annotations__["value"] = annotation
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["value"]
    except (NameError, AttributeError, TypeError):
        return Any


def _arrays(annotation: Any) -> Iterator[Any]:
    """Yield the jaxtyping arrays in an annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        yield annotation
    # Of Literal and Annotated the further arguments are values; of Callable the first is a list.
    for part in typing.get_args(annotation):
        for inner in part if isinstance(part, list) else [part]:
            yield from _arrays(inner)
