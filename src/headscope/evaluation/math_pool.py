"""Killable workers: ``MathPool`` compares pairs of answers within limits on CPU time and memory.

Workers are plain subprocesses that speak JSON lines (``answers.worker``): no fork of a process that holds CUDA or
threads, no pickle, no re-import of the caller's ``__main__``. How one ended says whose doing it was:

- The pair ran out of CPU time or memory: the worker says so, or the system ended it with SIGXCPU. Exhausted.
- The worker crashed on the pair (a segmentation fault, an exit by itself), and a fresh one did again. Exhausted.
- Anything else (killed, no answer for ten minutes) is the machine's doing and no verdict: the pair is tried again in a
  fresh worker, and if that happens again and again, MachineError.
"""

import atexit
import json
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from queue import SimpleQueue

from headscope.errors import MachineError
from headscope.module_process import module_process, usable_cores
from headscope.progress import SILENT, Progress

SECONDS = 3.0
"""CPU time per pair."""
MEMORY = 2 * 1024**3
WALL_SECONDS = 600.0
"""What a worker may take on a busy machine; one of a hundred processes on a core still has six seconds of it."""
TRIES = 4
"""Workers in which a pair is tried if they are killed."""
_START_SECONDS = 600.0  # importing SymPy takes one, on a machine under load many
_EXIT_SECONDS = 10.0
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of one pair.

    equal: they say the same. parsed, gold_parsed: the answer, the gold answer could be read whole.
    exhausted: the pair's time or memory ran out, so nothing else is known.
    """

    equal: bool = False
    parsed: bool = False
    gold_parsed: bool = True
    exhausted: bool = False


class _Worker:
    """A subprocess that compares pairs; it is started on first use, and again after it died."""

    def __init__(self, seconds: float, memory: int) -> None:
        self._seconds = seconds
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None

    def compare(self, gold: str, answer: str) -> Comparison:
        """Compare one pair. Raises MachineError if one worker after the other is killed."""
        # ASCII JSON carries every string, lone surrogates included.
        request = json.dumps({"gold": gold, "answer": answer}).encode() + b"\n"
        crashes = 0
        code = 0
        for _ in range(TRIES):
            reply = self._ask(request)
            if reply is not None:
                return Comparison(**reply)
            code = self.stop(_EXIT_SECONDS)
            crashes += code > 0 or -code in _CRASHES
            if code == -signal.SIGXCPU or crashes > 1:
                return Comparison(exhausted=True)
        raise MachineError(
            f"{TRIES} processes that check answers were ended one after the other (the last by signal {-code}), as a "
            "machine does that runs out of memory; nothing was judged, and the same command goes on"
        )

    def _ask(self, request: bytes) -> dict[str, bool] | None:
        """Send a request to the subprocess, started if need be; None if it ended or its wall time is over."""
        if self._process is not None:
            return self._exchange(self._process, request, WALL_SECONDS)
        self._process = self._start()
        if self._exchange(self._process, b"", _START_SECONDS) is not None:
            return self._exchange(self._process, request, WALL_SECONDS)
        if self._process.poll() is not None and self._process.returncode > 0:
            raise MachineError(f"the process that checks answers does not start: {self._process.args!r}")
        return None

    def _start(self) -> "subprocess.Popen[bytes]":
        command, environment = module_process("headscope.answers.worker", self._seconds, self._memory)
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )

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

    def stop(self, patience: float = 0.0) -> int:
        """End the subprocess and return its exit code; the next ``compare`` starts another.

        patience: seconds for one that is ending by itself, so that its own exit code is returned.
        """
        process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        process.kill()
        process.communicate()
        return process.returncode


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
    pool = MathPool(workers=max(1, min(8, usable_cores())))
    atexit.register(pool.close)
    return pool
