"""Measuring two ways of doing the same thing against each other, on a machine that may be busy.

Each round runs both, in alternating order, and gives one ratio; medians of rounds are reported. What slows the machine
for seconds slows both sides of a round, so ratios are steadier than seconds.
"""

import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

# Runs something and returns the seconds that count.
Timed = Callable[[], float]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Peaks below this drown in what the allocator and the libraries keep for themselves.
LEAST_PEAK = 8 * 2**20


@dataclass(frozen=True)
class Comparison:
    """Median seconds of both sides; ratio ours / theirs per round: median, lowest, highest.

    memory: ratio of the peaks above what the process, or the GPU, held before (weights are not counted), or None where
        they cannot be measured or are below ``LEAST_PEAK``. peak: ours, in bytes.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    memory: float | None
    peak: int


def now() -> float:
    """Seconds on a clock, once a GPU that is in use has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def clocked(work: Callable[[], object]) -> Timed:
    """``work``, timed as a whole."""

    def run() -> float:
        started = now()
        work()
        return now() - started

    return run


def compare(ours: Timed, theirs: Timed, rounds: int) -> Comparison:
    """Both sides ``rounds`` times; a first run of each warms up and measures memory."""
    peaks = [peak(run) for run in (ours, theirs)]
    seconds: dict[Timed, list[float]] = {ours: [], theirs: []}
    for index in range(rounds):
        for run in (ours, theirs) if index % 2 else (theirs, ours):
            seconds[run].append(run())
    ratios = [one / other for one, other in zip(seconds[ours], seconds[theirs], strict=True)]
    memory = peaks[0] / peaks[1] if min(peaks) >= LEAST_PEAK else None
    times = median(seconds[ours]), median(seconds[theirs])
    return Comparison(*times, median(ratios), min(ratios), max(ratios), memory, peaks[0])


def peak(run: Timed) -> int:
    """Largest memory during ``run`` above that before it, in bytes: a GPU's where one is in use, else what is resident;
    0 where the system does not tell."""
    run()  # libraries allocate their own scratch once; it belongs to neither side
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - held
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5", encoding="ascii")  # sets the high-water mark back to what is resident now
    except (AttributeError, OSError):
        run()
        return 0
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
