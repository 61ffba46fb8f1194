"""Ask how much memory is free and may be used, and halve the number of rows after running out."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch

from headscope.errors import InputError, is_out_of_memory
from headscope.module_process import memory_share

Result = TypeVar("Result")


def free_memory(device: torch.device) -> int:
    """Return the free bytes of the device; 8 GiB if the system does not report them."""
    if device.type == "cuda":
        # What PyTorch keeps of earlier work, to use again, counts as free.
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reusable)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (available,) = [line for line in lines if line.startswith("MemAvailable")]
        return int(available.split()[1]) * 1024
    except (OSError, ValueError):
        return 8 * 2**30


def bytes_allowed(memory: int | None, device: torch.device) -> int:
    """Return the budget in bytes: ``memory``, or for None half of what the device has free (less after a unit ran out
    of memory: ``module_process.memory_share``).

    Raises InputError unless ``memory`` is None or a whole number above 0.
    """
    if memory is None:
        return int(free_memory(device) * memory_share()) // 2
    if not isinstance(memory, int) or isinstance(memory, bool) or memory < 1:
        raise InputError(f"found memory={memory!r}; give a number of bytes above 0, or None")
    return memory


def pass_budget(device: torch.device, cpu_bytes: int, gpu_share: float) -> int:
    """Return the bytes for a pass whose number of rows affects the last bits of its results.

    On a CPU the budget is fixed, so that every machine runs the same rows together. Only a unit that ran out of memory
    is tried again with fewer rows, and its last bits may differ.
    """
    budget = gpu_share * free_memory(device) if device.type == "cuda" else cpu_bytes
    return int(budget * memory_share())


class Limit:
    """A limit on how many rows (or positions, or pairs) are computed at a time, halved for the rest of a call when they
    did not fit.

    count: the limit, in what the work counts. halvings: how often it was halved.
    """

    def __init__(self) -> None:
        self.count = sys.maxsize
        self.halvings = 0

    def attempt(self, work: Callable[[], Result], rows: int, least: int = 1) -> Result | None:
        """Return the result of ``work`` on ``rows`` rows, or None if memory ran out and fewer can be tried.

        With ``least`` rows, the fewest possible, the error itself is raised.
        """
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if rows <= least or not is_out_of_memory(error):
                raise
        # Past the handler: the error's traceback no longer holds what the failed work had made.
        self.count = max(least, min(self.count, rows // 2))  # threads may share the limit
        self.halvings += 1
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def run_parts(
        self, count: int, size: int, work: Callable[[slice], Result], rows: int = 1
    ) -> Iterator[tuple[slice, Result]]:
        """Yield ``work`` of consecutive parts of ``count`` elements, each part with its result.

        Args:
            count: number of elements.
            size: largest number of elements in a part.
            work: computes one part.
            rows: number of rows per element.

        Raises:
            RuntimeError: the error of ``work`` itself, if memory runs out for a single element.
        """
        start = 0
        while start < count:
            part = slice(start, min(count, start + max(1, min(size, self.count // rows))))
            # In a tuple, because a result may itself be None.
            result = self.attempt(lambda part=part: (work(part),), (part.stop - start) * rows, rows)  # type: ignore[misc]
            if result is not None:
                yield part, result[0]
                start = part.stop
