"""Work shared out among threads, on a CPU."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def side_by_side(model: Any, pieces: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for so many pieces of work with ``model``; on a GPU a single one.

    No more than torch may use, which are shared out: threads that share one small operation wait for each other at its
    end, which on a busy machine costs many times what it saves. Pieces not yet begun are dropped where one fails.
    """
    allowed = torch.get_num_threads()
    count = 1 if model.device.type == "cuda" else max(1, min(allowed, pieces))
    threads = ThreadPoolExecutor(count)
    torch.set_num_threads(max(1, allowed // count))
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)
        torch.set_num_threads(allowed)
