"""The checks of shapes and types that every test runs under say no."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headscope.errors import count_noun
from headscope.heads import top_heads
from headscope.measures.intervals import wilson
from tests.type_checks import install_checks

MODULE = """
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from numpy import ndarray
from jaxtyping import Float
if TYPE_CHECKING:
    from nowhere import Unknown

def add(a: Float[ndarray, "head layer"], b: Float[ndarray, "head layer"]) -> Float[ndarray, "head layer"]:
    return a + b

def turn(a: Float[ndarray, "head layer"]) -> Float[ndarray, "head layer"]:
    return a.T

def optional(a: "list[Float[ndarray, 'head']] | None", b: Float[ndarray, "head"]) -> None: ...

def repeat(a: Float[ndarray, "head"], count: int) -> Float[ndarray, "{count} head"]:
    return a[None].repeat(2, axis=0)

def nested(a: Float[ndarray, "head"]) -> Float[ndarray, "other"]:
    return first(a[:2])

def first(a: Float[ndarray, "head"]) -> Float[ndarray, "head"]:
    return a

def rows(a: Float[ndarray, "head"]) -> Iterator[float]:
    yield from a

def length(text: str) -> int:
    return len(text) if text else "0"

def unknown(value: "Unknown", count: int) -> int:
    return count

class Plain:
    @property
    def name(self) -> str:
        return 1
    @classmethod
    def make(cls, other: "Plain | None" = None) -> "Plain":
        return cls()
    def outer(self) -> int:
        def inner(value: int) -> int:
            return value
        return inner("1")

@dataclass(frozen=True)
class Pair:
    left: Float[ndarray, "head"]
    right: Float[ndarray, "head"]
    act: Callable[[int], int]
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder: Path = tmp_path_factory.mktemp("checked")
    (folder / "checked_module.py").write_text(MODULE)
    hooks = list(sys.meta_path)
    install_checks(["checked_module"])
    sys.path.insert(0, str(folder))
    try:
        yield __import__("checked_module")
    finally:
        sys.path.remove(str(folder))
        sys.meta_path[:] = hooks


def test_axes_are_held_against_each_other_within_a_call(checked: ModuleType) -> None:
    flat, square, tall = np.zeros(3), np.zeros((2, 2)), np.zeros((3, 2))
    assert checked.add(tall, tall).shape == (3, 2)
    assert checked.add(square, square).shape == (2, 2)  # the axes of the last call are forgotten
    assert checked.turn(square).shape == (2, 2)
    assert checked.nested(flat).shape == (2,)  # a call within a call has axes of its own
    assert checked.repeat(flat, 2).shape == (2, 3)
    assert list(checked.rows(flat)) == [0, 0, 0]
    checked.optional([flat, flat], flat)
    checked.optional(None, flat)
    checked.Pair(flat, flat, len)
    for wrong in (
        lambda: checked.add(tall, square),
        lambda: checked.add(tall, tall.T),
        lambda: checked.add(flat, flat),
        lambda: checked.add(tall, tall.astype(int)),
        lambda: checked.turn(tall),
        lambda: checked.optional([np.zeros(2)], flat),
        lambda: checked.repeat(flat, 3),
        lambda: checked.rows(tall),
        lambda: checked.Pair(flat, np.zeros(2), len),
    ):
        with pytest.raises(Exception, match=r"(?s)(violates|Type-check|not instance|does not)"):
            wrong()


def test_types_of_arguments_and_results_are_checked(checked: ModuleType) -> None:
    assert checked.length("ab") == 2
    assert checked.unknown(object(), 1) == 1
    assert isinstance(checked.Plain.make(checked.Plain()), checked.Plain)
    for wrong in (
        lambda: checked.length(5),
        lambda: checked.length(""),
        lambda: checked.unknown(1, "1"),
        lambda: checked.Plain().name,
        lambda: checked.Plain.make("other"),
        lambda: checked.Plain().outer(),
        lambda: checked.Pair(np.zeros(1), np.zeros(1), "act"),
    ):
        with pytest.raises(Exception, match=r"(?s)(violates|Type-check|not instance)"):
            wrong()


def test_the_package_is_checked() -> None:
    with pytest.raises(Exception, match="violates"):
        top_heads(np.zeros(4), 1)
    with pytest.raises(Exception, match="violates"):
        wilson("many", 2)  # type: ignore[arg-type]
    assert count_noun(2, "head") == "2 heads"
