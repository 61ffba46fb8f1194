"""Work on one model shared out among the threads of a CPU."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import get_ident
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headscope.models.rotary import own_text_lengths

Piece = TypeVar("Piece")
Result = TypeVar("Result")


@contextmanager
def thread_pool(model: PreTrainedModel, pieces: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads for ``pieces`` pieces of work with ``model``; on a GPU a single one.

    Every text is rotated by its own length (``rotary``). If a piece fails, those not yet begun are dropped.
    """
    # torch's threads are shared out, not multiplied: threads that share one small operation wait for each other at its
    # end, which on a busy machine costs many times what it saves.
    allowed = torch.get_num_threads()
    count = 1 if model.device.type == "cuda" else max(1, min(allowed, pieces))
    threads = ThreadPoolExecutor(count)
    torch.set_num_threads(max(1, allowed // count))
    try:
        with own_text_lengths(model):
            yield threads
    finally:
        threads.shutdown(cancel_futures=True)
        torch.set_num_threads(allowed)


def map_in_order(model: PreTrainedModel, work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[Result]:
    """Yield ``work(piece)`` for each piece in turn, computed on a ``thread_pool``."""
    ahead_limit = 2 * torch.get_num_threads()  # results that wait for their turn take memory
    futures: deque[Future[Result]] = deque()
    with thread_pool(model, len(pieces)) as threads:
        for piece in pieces:
            futures.append(threads.submit(work, piece))
            if len(futures) > ahead_limit:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()


def on_this_thread(function: Callable[[Tensor], Tensor | None]) -> Callable[[Tensor], Tensor | None]:
    """Return ``function`` restricted to passes of the calling thread; those of other threads are left alone."""
    thread = get_ident()
    return lambda tensor: function(tensor) if get_ident() == thread else None
