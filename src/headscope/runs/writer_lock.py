"""The lock of whoever writes a run directory's study and plan: the file ``.writer``, with the process's number."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from headscope.errors import InputError
from headscope.runs.directory import RunDirectory
from headscope.runs.remote import local_folder

PATIENCE = 30.0
"""Seconds that a writer of the study and its plan waits for one and the same other, who needs much less. When many jobs
start at once, each waits as long as they take turns."""


@contextmanager
def exclusive(run: RunDirectory) -> Iterator[None]:
    """Hold the directory while the study and its plan are written, which takes a moment.

    Raises InputError if another process holds it for long, with its number, or if it cannot be written.
    """
    local_folder(run.url or run.path)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        writer = (run.path / ".writer").open("a+", encoding="ascii", errors="replace")
    except (OSError, ValueError) as error:  # ValueError: a path with a lone surrogate or a null character
        reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
        raise InputError(f"run directory {run.path} cannot be written ({reason}); name another with --out") from None
    with writer as file:
        if not _lock(file):
            holder = _holder_of(file)
            raise InputError(
                f"run directory {run.path} is in use by process {holder if holder.isdigit() else 'unknown'}; "
                "wait for it or name another with --out"
            )
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def _holder_of(file: IO[str]) -> str:
    """Return the number of the process that wrote the file last, "" if none has."""
    file.seek(0)
    return file.read(20).strip()


def _lock(file: IO[str]) -> bool:
    """Lock a file; return False if one process keeps it locked, as older versions did for a whole run."""
    holder, gives_up = "", 0.0
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            current = _holder_of(file)
            if current != holder or not gives_up:
                holder, gives_up = current, time.monotonic() + PATIENCE
            if time.monotonic() > gives_up:
                return False
        except OSError:  # a file system without locks: two writers at once write the same, each file whole
            return True
        time.sleep(0.05)
