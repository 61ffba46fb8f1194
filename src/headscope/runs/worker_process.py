"""A worker: a process of its own that computes the units it is sent (``python -m headscope.runs.worker_process FD``).

It is started anew, not forked, with the number of threads and the devices it may use in its environment. If the process
that began it ends, however that may be, the pipe closes and the worker ends too.
"""

import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from headscope.errors import is_disk_full
from headscope.progress import Bar
from headscope.runs.attempt import Report, attempt
from headscope.runs.directory import RunDirectory
from headscope.runs.messages import END, LAST_SECONDS, READY, Broken, Setup
from headscope.runs.presence import Presence
from headscope.runs.units import Unit

NOTE_SECONDS = 0.5
"""Between two notes of a worker's bars."""
INPUT_SECONDS = 90.0
"""How long an input that another machine has finished may be hidden by this machine's cache of the file server."""


def main() -> None:
    """Compute what comes through the pipe until it closes."""
    pipe = _Pipe(Connection(int(sys.argv[1])))
    try:
        setup: Setup = pipe.connection.recv()
    except EOFError:  # whoever began this process was killed meanwhile
        return
    sys.path[:] = setup.path
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    code = 0
    try:
        threading.Thread(target=_receive, args=(pipe.connection, messages), daemon=True).start()
        with Presence(setup.run, plan=setup.plan, leader=setup.leader) as presence:
            pipe.send(READY)
            while (message := messages.get()) != END:
                pipe.send(_answer(message, RunDirectory(setup.run), presence, pipe))
    except (KeyboardInterrupt, BrokenPipeError):
        code = 130
    os._exit(code)  # whatever threads a library has begun


class _Pipe:
    """The way to the process that began this one; threads take turns."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._sending = threading.Lock()

    def send(self, message: object) -> None:
        """Send one message."""
        with self._sending:
            self.connection.send(message)


def _receive(connection: Connection, messages: "queue.SimpleQueue[bytes]") -> None:
    with suppress(EOFError, OSError):
        while True:
            message = connection.recv_bytes()
            messages.put(message)
            if message == END:
                return
    # Whoever began this process is gone.
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(LAST_SECONDS)
    os._exit(1)


def _answer(message: bytes, run: RunDirectory, presence: Presence, pipe: _Pipe) -> Report | Broken:
    try:
        unit: Unit = pickle.loads(message)
        _await_inputs(unit, run)
        return attempt(unit, run, presence, _SentProgress(pipe))
    except BrokenPipeError:
        raise
    except Exception as error:
        return Broken(f"{type(error).__name__}: {error}", is_disk_full(error))


def _await_inputs(unit: Unit, run: RunDirectory) -> None:
    """Wait until this machine sees the inputs that another has finished: file servers' clients remember what was not
    there, and forget it when the folder around it is listed."""
    gives_up = time.monotonic() + INPUT_SECONDS
    for needed in unit.inputs.values():
        while not run.is_done(needed) and time.monotonic() < gives_up:
            time.sleep(0.2)
            with suppress(FileNotFoundError):
                next(run.folder(needed).parent.iterdir(), None)


class _SentProgress:
    """Bars that are told to the process that began this one, a few times a second."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator[Bar]:
        """See ``headscope.progress.Progress``."""
        yield _SentBar(self._pipe, label, total, start)


class _SentBar:
    def __init__(self, pipe: _Pipe, label: str, total: int, steps: int) -> None:
        self._pipe, self._label, self._total, self._steps = pipe, label, total, steps
        self._last = time.monotonic()  # what is over at once is not worth a note

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._steps += steps
        if time.monotonic() - self._last >= NOTE_SECONDS:
            self._last = time.monotonic()
            self._pipe.send(f"{self._label} {self._steps}/{self._total}  {note}".rstrip())


if __name__ == "__main__":
    main()
