"""Processes of this machine that train together, begun by one that waits for them, as ``accelerate launch`` would begin
them.

Each is ``python -m headscope.training.process_group FD``. It is sent a function, calls it, and tells what its bars show
and how it failed. If the process that began it ends, however that may be, the pipe closes and it ends too.
"""

import errno
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any

from headscope.contents import DamagedError
from headscope.errors import (
    InputError,
    MachineError,
    OutOfMemoryError,
    is_disk_full,
    is_machine_trouble,
    is_out_of_memory,
    is_peer_lost,
)
from headscope.module_process import module_process, usable_cores
from headscope.progress import SILENT, Bar, Progress
from headscope.training.processes import MICRO_BATCH

BEAT_SECONDS = 1.0
"""Between two looks at whether the bar's owner still wants the work."""
LAST_SECONDS = 5.0
"""What the others may take to end by themselves, and say why, after one has failed."""


def run_together(
    function: Callable[..., object], arguments: tuple[Any, ...], count: int, progress: Progress, micro_batch: int | None
) -> None:
    """Call ``function(*arguments, progress)`` in ``count`` processes and wait until all have returned.

    function: of a module, sent by its name. progress: shows the bars of the first process.
    micro_batch: sequences per forward pass and process, instead of the config's; None leaves that alone.

    Raises what the processes raised: a full disk before bad input, that before missing memory, that before a kill, that
    before the rest, and last that one of them did not answer: the others of a group fail by the end of one. Raises
    MachineError if one was killed, or a disk, a file server, the network or a GPU failed it.
    """
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        port = _free_port()
        group = [_Process(rank, count, port, micro_batch, log) for rank in range(count)]
        try:
            for process in group:
                process.send((tuple(sys.path), pickle.dumps((function, arguments))))
            _attend(group, progress)
        finally:
            for process in group:
                process.end()
    errors = sorted([process.error for process in group if process.error is not None], key=_rank_of_error)
    if errors:
        raise errors[0]


def _attend(group: "list[_Process]", progress: Progress) -> None:
    """Show the bars until all have ended, or one has failed and the others had time to say why they did."""
    ends_by: float | None = None
    with ExitStack() as bars:
        bar: Bar | None = None
        while running := [process for process in group if not process.has_ended]:
            for process in running:
                for word, *details in process.receive():
                    if word == "bar":
                        bar = bars.enter_context(progress.bar(*details))
                    elif bar is not None:
                        bar.advance(*details)
            if ends_by is None and any(process.error is not None for process in group):
                ends_by = time.monotonic() + LAST_SECONDS
            if ends_by is not None and time.monotonic() > ends_by:
                return
            wait([process.connection for process in running], BEAT_SECONDS)
            if bar is not None:
                bar.advance(0)  # raises if the unit is no longer this process'


class _Process:
    """One of the processes that train. error: why it failed. has_ended: whether no more messages will come from it."""

    def __init__(self, rank: int, count: int, port: int, micro_batch: int | None, log: IO[bytes]) -> None:
        self.error: Exception | None = None
        self.has_ended = False
        self.connection, child_end = Pipe()
        threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, usable_cores() // count))
        command, environment = module_process("headscope.training.process_group", child_end.fileno(), threads=threads)
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        smaller = {} if micro_batch is None else {MICRO_BATCH: micro_batch}
        settings = {name: str(value) for name, value in (ranks | place | smaller).items()}
        self._process = subprocess.Popen(
            command,
            env={**environment, **settings},
            pass_fds=[child_end.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the process that began it, which ends them
        )
        child_end.close()

    def send(self, job: object) -> None:
        with suppress(OSError):  # it has ended, which ``receive`` finds
            self.connection.send_bytes(pickle.dumps(job))

    def receive(self) -> list[tuple[Any, ...]]:
        """Return the messages about its bars that have come so far, without waiting."""
        messages = []
        try:
            while not self.has_ended and self.connection.poll():
                message = self.connection.recv()
                if isinstance(message, Exception):
                    self.error = message
                else:
                    messages.append(message)
        except (EOFError, OSError):
            self.has_ended = True
            code = self._process.wait()
            if code and self.error is None:
                how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
                self.error = MachineError(f"one of the processes that train together ended {how}")
        return messages

    def end(self) -> None:
        """Kill it, if it has not ended."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _rank_of_error(error: Exception) -> int:
    if is_peer_lost(error):  # the end of another, which says itself why it ended
        return 5
    kinds = (
        is_disk_full(error),
        isinstance(error, InputError),
        is_out_of_memory(error),
        isinstance(error, MachineError),
    )
    return next((place for place, is_kind in enumerate(kinds) if is_kind), len(kinds))


def _portable(error: Exception) -> Exception:
    """Return an error that says the same and can be sent to another process."""
    text = str(error)
    named = text if isinstance(error, InputError | MachineError) else f"{type(error).__name__}: {text}"
    if is_disk_full(error):
        return OSError(errno.ENOSPC, text)
    # By its kind: the number of a system's error, and what caused an InputError, are not sent.
    if is_machine_trouble(error) and not is_peer_lost(error) and not is_out_of_memory(error):
        return MachineError(named)
    for kind in (DamagedError, InputError, OutOfMemoryError, MachineError):
        if isinstance(error, kind):
            return kind(text)
    return MemoryError(text) if is_out_of_memory(error) else RuntimeError(named)


class _SentProgress:
    """Progress whose bars are sent to the process that began this one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator[Bar]:
        """See ``headscope.progress.Progress``."""
        self._connection.send(("bar", label, total, start))
        yield _SentBar(self._connection)


class _SentBar:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._connection.send(("advance", steps, note))


def _end_with(connection: Connection) -> None:
    with suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)


def main() -> None:
    """Receive a function and its arguments through the pipe, and call it."""
    connection = Connection(int(sys.argv[1]))
    path, job = pickle.loads(connection.recv_bytes())
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    is_first = os.environ["RANK"] == "0"
    sys.path[:] = path
    code = 0
    try:
        function, arguments = pickle.loads(job)  # only now: it may name modules of that path
        function(*arguments, _SentProgress(connection) if is_first else SILENT)
    except Exception as error:
        traceback.print_exc()
        connection.send(_portable(error))
        code = 1
    sys.stdout.flush()
    os._exit(code)  # whatever threads a library has begun


if __name__ == "__main__":
    main()
