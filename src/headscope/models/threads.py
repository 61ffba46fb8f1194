"""Work shared out among threads, on a CPU."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import get_ident
from typing import Any, TypeVar

import torch
from torch import Tensor

from headscope.models.rotary import own_lengths

Piece = TypeVar("Piece")
Found = TypeVar("Found")


@contextmanager
def side_by_side(model: Any, pieces: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for so many pieces of work with ``model``; on a GPU a single one.

    No more than torch may use, which are shared out: threads that share one small operation wait for each other at its
    end, which on a busy machine costs many times what it saves. Pieces not yet begun are dropped where one fails.
    Every text is turned by its own length (``rotary``).
    """
    allowed = torch.get_num_threads()
    count = 1 if model.device.type == "cuda" else max(1, min(allowed, pieces))
    threads = ThreadPoolExecutor(count)
    torch.set_num_threads(max(1, allowed // count))
    try:
        with own_lengths(model):
            yield threads
    finally:
        threads.shutdown(cancel_futures=True)
        torch.set_num_threads(allowed)


def in_order(model: Any, work: Callable[[Piece], Found], pieces: Sequence[Piece]) -> Iterator[Found]:
    """What ``work`` makes of each piece in turn, on threads side by side; few pieces are worked out ahead."""
    most = 2 * torch.get_num_threads()
    ahead: deque[Future[Found]] = deque()
    with side_by_side(model, len(pieces)) as threads:
        for piece in pieces:
            ahead.append(threads.submit(work, piece))
            if len(ahead) > most:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def of_this_thread(function: Callable[[Tensor], Tensor | None]) -> Callable[[Tensor], Tensor | None]:
    """``function`` for passes of the thread that is here now; those of others are left alone."""
    thread = get_ident()
    return lambda value: function(value) if get_ident() == thread else None
