"""Killable math-verify workers: ``MathPool`` compares pairs of LaTeX answers within limits on time and memory.

Workers are plain subprocesses that speak JSON lines (``math_worker``): no fork of a process that holds CUDA or threads,
no pickle, no re-import of the caller's ``__main__``. One that overstays its time is killed and replaced.
"""

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from headscope.progress import SILENT, Progress

SECONDS = 3.0
MEMORY = 2 * 1024**3
_START_SECONDS = 120.0  # importing SymPy takes one, on a machine under load many
_GRACE_SECONDS = 1.0  # what the worker's own alarm may be late by before the parent kills it


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of one pair.

    equal: math-verify holds them equal. parsed, gold_parsed: it could read the answer, the gold answer.
    exhausted: the pair's time or memory ran out, so nothing else is known.
    """

    equal: bool = False
    parsed: bool = False
    gold_parsed: bool = True
    exhausted: bool = False


class _Worker:
    """One subprocess, started on first use and again after it died."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds = seconds
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None

    def compare(self, gold: str, answer: str) -> Comparison:
        """Compare one pair; a worker that does not answer in time is killed."""
        process = self._process or self._start()
        # ASCII JSON carries every string, lone surrogates included.
        request = json.dumps({"gold": gold, "answer": answer}).encode() + b"\n"
        reply = self._exchange(process, request, self._seconds + _GRACE_SECONDS)
        if reply is None:
            self.stop()
            return Comparison(exhausted=True)
        return Comparison(**reply)

    def _start(self) -> "subprocess.Popen[bytes]":
        # -P: the script's folder must not come first on the path, its neighbours have names like `benchmarks`.
        command = [
            sys.executable,
            "-P",
            str(Path(__file__).with_name("math_worker.py")),
            str(self._seconds),
            str(self._memory),
        ]
        # One thread: the workers are as many as the cores.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        self._process = process
        if self._exchange(process, b"", _START_SECONDS) is None:
            self.stop()
            raise RuntimeError(f"the math-verify worker did not start: {' '.join(command)}")
        return process

    def _exchange(self, process: "subprocess.Popen[bytes]", request: bytes, seconds: float) -> dict[str, bool] | None:
        """Send a line and wait for one; None if the time is over or the process has died."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except BrokenPipeError:
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            # Replies are far below the pipe's atomic size: once readable, the line is there or the process is gone.
            line = process.stdout.readline() if selector.select(seconds) else b""
        reply: dict[str, bool] | None = json.loads(line) if line.endswith(b"\n") else None
        return reply

    def stop(self) -> None:
        """Kill the subprocess; the next ``compare`` starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class MathPool:
    """``workers`` subprocesses. Safe to use from several threads; ``close`` ends them."""

    def __init__(self, workers: int, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._workers = [_Worker(seconds, memory) for _ in range(workers)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def compare(self, pairs: Sequence[tuple[str, str]], progress: Progress = SILENT) -> list[Comparison]:
        """Return one ``Comparison`` per (gold, answer)."""
        lock = threading.Lock()

        with progress.bar("checking", len(pairs)) as bar, ThreadPoolExecutor(len(self._workers)) as threads:

            def compare_pair(pair: tuple[str, str]) -> Comparison:
                worker = self._idle.get()
                try:
                    comparison = worker.compare(*pair)
                finally:
                    self._idle.put(worker)
                with lock:
                    bar.advance()
                return comparison

            return list(threads.map(compare_pair, pairs))

    def close(self) -> None:
        """Kill the workers; a later ``compare`` starts them anew."""
        for worker in self._workers:
            worker.stop()


def shared_pool() -> MathPool:
    """Return this process's pool, started when first needed (about a second) and kept: rewards check at every step."""
    return _pool_of(os.getpid())


@cache
def _pool_of(process: int) -> MathPool:
    """Return the pool of a process: the key keeps a forked child from talking to its parent's workers."""
    pool = MathPool(workers=max(1, min(8, os.cpu_count() or 1)))
    atexit.register(pool.close)
    return pool
