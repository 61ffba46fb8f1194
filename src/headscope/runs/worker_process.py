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
from pathlib import Path

from headscope.errors import is_disk_full
from headscope.progress import Bar
from headscope.runs.attempt import Report, attempt
from headscope.runs.directory import RunDirectory
from headscope.runs.machine import host, machine_key
from headscope.runs.messages import END, LAST_SECONDS, READY, Broken, Setup
from headscope.runs.presence import FOLDER, Presence
from headscope.runs.unit_files import DONE
from headscope.runs.units import Unit

NOTE_SECONDS = 0.5
"""Between two notes of a worker's bars."""
CACHE_SECONDS = 60.0
"""How long NFS clients may take what they remember of a folder for true (acdirmax)."""


def main() -> None:
    """Compute what comes through the pipe until it closes."""
    # Daemons of clusters block it in themselves and all that they begin.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
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
        if problem := find_missing_storage(setup):
            pipe.send(Broken(problem, is_disk_full=False))
            messages.get()
            os._exit(1)
        os.chdir(setup.folder)
        is_remote = setup.machine != machine_key()
        with Presence(setup.run, plan=setup.plan, leader=setup.leader) as presence:
            pipe.send(READY)
            while (message := messages.get()) != END:
                pipe.send(_answer(message, RunDirectory(setup.run), presence, pipe, is_remote=is_remote))
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


def find_missing_storage(setup: Setup) -> str:
    """Return a sentence if this machine does not see what the leader sees; "" if it does."""
    leader = setup.run / FOLDER / f"{setup.leader}.json"
    if not _is_seen(leader):
        return (
            f"run directory {setup.run} is not the same on {host()} as where the command was given; it must lie on "
            "storage that all machines share"
        )
    if not setup.folder.is_dir():
        return f"folder {setup.folder}, where the command was given, is not there on {host()}; units name files in it"
    return ""


def _answer(message: bytes, run: RunDirectory, presence: Presence, pipe: _Pipe, *, is_remote: bool) -> Report | Broken:
    try:
        unit: Unit = pickle.loads(message)
        if is_remote:
            for needed in unit.inputs.values():
                _is_seen(run.folder(needed) / DONE)
        return attempt(unit, run, presence, _SentProgress(pipe))
    except BrokenPipeError:
        raise
    except Exception as error:
        return Broken(f"{type(error).__name__}: {error}", is_disk_full(error))


def _is_seen(path: Path) -> bool:
    """Return whether a file that another machine has written is there, at the latest when this machine's file client
    has forgotten that it was not."""
    gives_up = time.monotonic() + CACHE_SECONDS
    while not path.exists():
        if time.monotonic() > gives_up:
            return False
        time.sleep(0.2)
    return True


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
