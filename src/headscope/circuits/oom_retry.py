"""Retry with half as many rows whenever a device, or the CPU's allocator, runs out of memory."""

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

Result = TypeVar("Result")


def out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that a device, or the CPU's allocator, had no memory left."""
    # The CPU's allocator raises a plain RuntimeError; these words are all that tells it from another one.
    refusals = "can't allocate memory", "not enough memory"
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in refusals)


class Limit:
    """How many rows of one kind may go through at a time: halved, for good, whenever they did not fit."""

    def __init__(self) -> None:
        self.rows = sys.maxsize
        self.halvings = 0

    def attempt(self, work: Callable[[], Result], rows: int, least: int = 1) -> Result | None:
        """Return what ``work`` gives on ``rows`` rows, or None if memory ran out and fewer are to be tried.

        Raises the error itself if there were only ``least`` rows, which cannot be fewer.
        """
        try:
            return work()
        except RuntimeError as error:
            if rows <= least or not out_of_memory(error):
                raise
        # Past the handler: the error's traceback no longer holds what the failed work had made.
        self.rows = max(least, rows // 2)
        self.halvings += 1
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def run_parts(
        self, count: int, size: int, work: Callable[[slice], Result], rows: int = 1
    ) -> Iterator[tuple[slice, Result]]:
        """Yield ``work`` of consecutive parts of ``count`` elements, each part with its result.

        Args:
            count: how many elements there are.
            size: how many elements a part may have, however much memory there is.
            work: computes one part.
            rows: how many rows each element takes.

        Raises:
            RuntimeError: the error of ``work`` itself, if memory runs out for a single element.
        """
        start = 0
        while start < count:
            part = slice(start, min(count, start + max(1, min(size, self.rows // rows))))
            # In a tuple, because a result may itself be None.
            result = self.attempt(lambda part=part: (work(part),), (part.stop - start) * rows, rows)  # type: ignore[misc]
            if result is not None:
                yield part, result[0]
                start = part.stop
