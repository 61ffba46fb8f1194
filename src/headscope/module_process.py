"""Limits of this package's processes, and the command that runs a module of it in one of its own."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import headscope

MEMORY_SHARE = "HEADSCOPE_MEMORY_SHARE"
"""Environment variable of a process that computes what ran out of memory: the share of the usual that it may take."""


def memory_share() -> float:
    """Return the share of the usual memory that this process may take, 1 unless ``MEMORY_SHARE`` says less."""
    return float(os.environ.get(MEMORY_SHARE, "1"))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def module_process(module: str, *arguments: object, threads: int = 1) -> tuple[list[str], Mapping[str, str]]:
    """Return command and environment that run a module, whatever the current folder holds.

    threads: that each of its operations may take; they are set before any library is imported.
    """
    # -P: the current folder must not come first on the path, files in it may have any name.
    command = [sys.executable, "-P", "-m", module, *map(str, arguments)]
    source = str(Path(headscope.__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return command, {**os.environ, "PYTHONPATH": path, **dict.fromkeys(limits, str(threads))}
