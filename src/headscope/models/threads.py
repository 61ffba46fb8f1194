"""Share work on one model among the threads of a CPU."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headscope.models.rotary import own_text_lengths

Piece = TypeVar("Piece")
Result = TypeVar("Result")

SMALL_MODEL = 20_000_000
"""Parameters below which an operation on a CPU takes one thread (``benchmarks/threads.py`` shows what that costs)."""

_usable: ContextVar[int | None] = ContextVar("usable", default=None)


@contextmanager
def operation_threads(model: PreTrainedModel) -> Iterator[int]:
    """Yield the number of threads for work with ``model``; inside the block a small model's operations use one thread.

    Threads that share a small operation wait for each other at its end, which on a busy machine costs many times what
    it saves. Sums by a single thread are also the same on machines with any number of cores.
    """
    before = torch.get_num_threads()
    usable = _usable_threads()
    token = _usable.set(usable)
    if is_small(model):
        torch.set_num_threads(1)
    try:
        yield usable
    finally:
        torch.set_num_threads(before)
        _usable.reset(token)


def _usable_threads() -> int:
    """Return the number of threads; inside ``operation_threads`` that of outside."""
    return _usable.get() or torch.get_num_threads()


def is_small(model: PreTrainedModel) -> bool:
    """Return whether an operation of the model is too small to be shared among the threads of a CPU."""
    parameters: int = model.num_parameters()
    return model.device.type == "cpu" and parameters < SMALL_MODEL


@contextmanager
def thread_pool(model: PreTrainedModel, pieces: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads for ``pieces`` pieces of work with ``model``; on a GPU a single one.

    Every text is rotated by its own length (``rotary``). If a piece fails, those not yet begun are cancelled.
    """
    with operation_threads(model) as usable, own_text_lengths(model):
        count = 1 if model.device.type == "cuda" else max(1, min(usable, pieces))
        if not is_small(model):
            torch.set_num_threads(max(1, usable // count))  # shared out, not multiplied
        threads = ThreadPoolExecutor(count)
        try:
            yield threads
        finally:
            threads.shutdown(cancel_futures=True)


def map_in_order(model: PreTrainedModel, work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[Result]:
    """Yield ``work(piece)`` for the pieces in order, computed on a ``thread_pool``."""
    ahead_limit = 2 * _usable_threads()  # results that wait for their turn take memory
    futures: deque[Future[Result]] = deque()
    with thread_pool(model, len(pieces)) as threads:
        for piece in pieces:
            futures.append(threads.submit(work, piece))
            if len(futures) > ahead_limit:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()


def on_this_thread(function: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
    """Return a hook's ``function`` restricted to passes of the calling thread."""
    thread = get_ident()
    return lambda *tensors: function(*tensors) if get_ident() == thread else None
