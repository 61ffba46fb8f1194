"""Try, halve, go on: what to do where a device, or the CPU's allocator, has no memory left."""

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Result = TypeVar("Result")


def out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the CPU's allocator, had no memory left."""
    refused = "can't allocate memory", "not enough memory"
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in refused)


class Limit:
    """How many rows of one kind may go through at a time: half as many, for good, whenever they did not fit."""

    def __init__(self) -> None:
        self.most = sys.maxsize
        self.halvings = 0

    def attempt(self, work: Callable[[], Result], rows: int, least: int = 1) -> Result | None:
        """What ``work`` gives on ``rows`` rows; None after running out of memory, when fewer are to be tried.

        Raises the error itself where there were ``least`` rows, which cannot be fewer.
        """
        try:
            return work()
        except RuntimeError as error:
            if rows <= least or not out_of_memory(error):
                raise
        # Past the handler: the error's traceback no longer holds what the failed work had made.
        self.most = max(least, rows // 2)
        self.halvings += 1
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def parts(
        self, count: int, size: int, work: Callable[[slice], Result], rows: int = 1
    ) -> Iterator[tuple[slice, Result]]:
        """``work`` on consecutive parts of ``count`` things that take ``rows`` rows each, at most ``size`` at a time.

        Raises the error itself where a single thing does not fit.
        """
        done = 0
        while done < count:
            part = slice(done, min(count, done + max(1, min(size, self.most // rows))))
            found = self.attempt(lambda part=part: (work(part),), (part.stop - done) * rows, rows)  # type: ignore[misc]
            if found is not None:
                yield part, found[0]
                done = part.stop
