"""Threads of a CPU: an operation of a small model takes one, and numbers do not depend on how many there are."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from headscope.circuits import attribute
from headscope.models import threads
from headscope.models.threads import map_in_order, operation_threads, thread_pool
from headscope.pairs import Pairs


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_inside(model: Any, pieces: int) -> list[int]:
    return list(map_in_order(model, lambda _: torch.get_num_threads(), range(pieces)))


def test_operations_of_a_small_model_take_one_thread(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    with operation_threads(model) as usable:
        assert (usable, torch.get_num_threads()) == (2, 1)
        with thread_pool(model, 3) as pool:  # the work itself still uses both
            assert pool._max_workers == 2
    assert torch.get_num_threads() == 2
    assert threads_inside(model, 1) == [1]


def test_operations_of_a_large_model_share_the_threads(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SMALL_MODEL", 0)
    model = tiny_model("qwen3")
    with operation_threads(model) as usable:
        assert (usable, torch.get_num_threads()) == (2, 2)
    assert threads_inside(model, 1) == [2]
    assert threads_inside(model, 3) == [1, 1, 1]


def test_threads_are_given_back_after_a_failure(tiny_model: Any) -> None:
    with pytest.raises(ZeroDivisionError), thread_pool(tiny_model("qwen3"), 3) as pool:
        list(pool.map(lambda number: 1 / number, [1, 0]))
    assert torch.get_num_threads() == 2


def test_scores_do_not_depend_on_the_number_of_threads(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    ids = np.random.default_rng(0).integers(3, 40, (4, 40))
    corrupt = ids.copy()
    corrupt[:, 20] = 1 + ids[:, 20] % 39
    pairs = Pairs.from_tokens(ids, corrupt)
    two = attribute(model, pairs)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(two.edges, attribute(model, pairs).edges)
