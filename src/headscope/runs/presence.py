"""Presence of processes in a run directory: each has a file there that it writes again every few seconds.

On shared storage nobody else can see whether a process lives. A process that wants its unit watches its file, and
takes it for dead when the file stayed the same for a minute (``silence``) in which this process could read it and could
write its own file. If all machines stand still, or the file server does, or writes fail or hang while reads go on,
nobody is taken for dead. On one machine a killed process is seen at once.

``live_workers``, which only shows what is going on, does not wait: it leaves out workers whose file is older than a
minute by the file server's clock.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

from headscope.errors import InputError, is_disk_full
from headscope.progress import SILENT, Bar, Progress
from headscope.results.codec import from_json
from headscope.runs.machine import has_ended, host, machine_key, process_start
from headscope.runs.silence import SilenceWatch
from headscope.storage import parse_object

BEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""A process whose file is watched for so long and does not change is taken for dead: long enough for a busy server."""
GAP_BEATS = 3
"""Beats without a look at a file, or without writing one's own, after which the silence so far does not count."""
FORGOTTEN_SECONDS = 86400.0
"""A file that was not written for so long is removed, even if nobody has watched it."""
PROBE_SECONDS = 1.0
"""A probe of the file server's clock that lies there for so long is of a process that was killed while it wrote one."""
FOLDER = ".workers"


@dataclass(frozen=True, slots=True)
class Worker:
    """A process at work in a run directory.

    name: unique; that of its file.
    host, process: where it runs, for people. machine: as in ``machine.machine_key``. born: when it started, as in
        ``machine.process_start``.
    since: when it joined, in seconds since 1970 by its own clock.
    plan: digest of the study and the goal that it works on.
    leader: name of the process that began it and tells it what to do; "" if a person did.
    note: what its bar shows.
    """

    name: str
    host: str
    process: int
    machine: str
    born: str
    since: float
    plan: str = ""
    leader: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


class Presence:
    """This process's file in a run directory, there within the ``with`` block.

    run: the run directory. plan, leader: as in ``Worker``.
    """

    def __init__(self, run: Path, *, plan: str = "", leader: str = "") -> None:
        self._folder = run / FOLDER
        process, name = os.getpid(), f"{host()}-{os.getpid()}-{secrets.token_hex(4)}"
        born = process_start(process)
        self.worker = Worker(name, host(), process, machine_key(), born, time.time(), plan=plan, leader=leader)
        self.joined_at = 0.0
        self._wrote_at = time.monotonic()
        self._watch = SilenceWatch()
        self._has_left = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._beat_on, daemon=True)

    @property
    def file(self) -> Path:
        """Return the file that shows that this process lives."""
        return self._folder / f"{self.worker.name}.json"

    def __enter__(self) -> "Presence":
        self._write()
        self.joined_at = self.file.stat().st_mtime
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_left.set()
        with self._writing:
            self.file.unlink(missing_ok=True)
        self._clear_dead()
        with suppress(OSError):  # others are at work
            self._folder.rmdir()

    def tell(self, note: str) -> None:
        """Say what this process is doing; others read it some seconds later."""
        self.worker = replace(self.worker, note=note)

    def is_alive(self, name: str) -> bool:
        """Return whether a worker lives; one that has left does not.

        From the first call on the worker is watched: one on another machine that died is alive for ``SILENT_SECONDS``.
        """
        if name == self.worker.name:
            return True
        path = self._folder / f"{name}.json"
        try:
            worker = _read_worker(path)
        except FileNotFoundError:
            self._watch.forget(str(path))
            return False
        if worker is not None and _is_seen_dead(worker):
            return False
        return not self.is_silent(path)

    def is_silent(self, path: Path) -> bool:
        """Return whether a file stayed the same for ``SILENT_SECONDS`` in which this process could write its own.

        The first call begins the watch.

        A file that is gone is not silent: someone was there a moment ago, and another may have come since.
        """
        try:
            # Opened, and not only asked for: caches of a file server's client may hide a change for a minute.
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
        except FileNotFoundError:
            self._watch.forget(str(path))
            return False
        except OSError:  # the server is away
            self._watch.restart()
            return False
        longest_gap = GAP_BEATS * BEAT_SECONDS
        if time.monotonic() - self._wrote_at > longest_gap:  # a write hangs, and the beats of others may hang too
            self._watch.restart()
        sign = (status.st_ino, status.st_mtime_ns, status.st_size)
        return self._watch.look(str(path), sign, longest_gap) >= SILENT_SECONDS

    def leads(self, name: str) -> bool:
        """Return whether a worker is this process, or one that it began."""
        if name == self.worker.name:
            return True
        with suppress(FileNotFoundError):
            worker = _read_worker(self._folder / f"{name}.json")
            return worker is not None and worker.leader == self.worker.name
        return False

    def describe(self, name: str) -> str:
        """Return what messages call a worker: its process and host, or its name if its file is gone."""
        with suppress(FileNotFoundError):
            return str(_read_worker(self._folder / f"{name}.json") or name)
        return name

    def _beat_on(self) -> None:
        while not self._has_left.wait(BEAT_SECONDS):
            try:
                self._write()
            except OSError:  # a full disk or a lost server: the next beat may succeed, and that of others fails too
                self._watch.restart()
            for path in self._watch.keys:
                self.is_silent(Path(path))

    def _clear_dead(self) -> None:
        """Remove the files of workers that are dead, or that nobody has missed for a day."""
        now = _server_time(self._folder) if self._folder.exists() else 0.0
        for path in self._folder.glob("*.json"):
            with suppress(OSError):  # it has left, or this is not ours to write
                is_forgotten = now - path.stat().st_mtime > FORGOTTEN_SECONDS
                if is_forgotten or not self._is_alive_if_watched(path):
                    path.unlink(missing_ok=True)
        for path in self._folder.glob("*.now"):
            with suppress(OSError):  # its process has removed it
                if now - path.stat().st_mtime > PROBE_SECONDS:
                    path.unlink(missing_ok=True)
        for path in self._folder.glob("*.new"):  # of one killed while it wrote; a living one writes it again
            if not path.with_suffix(".json").exists():
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _is_alive_if_watched(self, path: Path) -> bool:
        worker = _read_worker(path)
        if worker is not None and _is_seen_dead(worker):
            return False
        return str(path) not in self._watch.keys or not self.is_silent(path)

    def _write(self) -> None:
        new = self.file.with_suffix(".new")
        text = json.dumps(asdict(self.worker))
        with self._writing:
            while not self._has_left.is_set():
                try:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    new.write_text(text, encoding="utf-8", errors="backslashreplace")
                    new.replace(self.file)
                except (FileNotFoundError, FileExistsError):  # the last of the others took the folder away with it
                    continue
                self._wrote_at = time.monotonic()
                return


def live_workers(run: Path) -> list[Worker]:
    """Return the processes that show signs of life in a run directory, the first to begin first."""
    now = _server_time(run / FOLDER) if (run / FOLDER).is_dir() else 0.0
    return [worker for worker, written in _workers(run) if now - written < SILENT_SECONDS]


def leaders(run: Path) -> list[Worker]:
    """Return those of the processes at work that a person began."""
    return [worker for worker in live_workers(run) if not worker.leader]


def await_signs(run: Path, plan: str, progress: Progress = SILENT) -> None:
    """Wait until it is known of every process that a person began for another plan than ``plan`` whether it lives.

    Each has then written its file again, or was silent for ``SILENT_SECONDS`` in which this process could write there,
    and its file is removed. Raises OSError if the disk is full, InputError if the directory cannot be written.
    """
    folder, watch, noted = run / FOLDER, SilenceWatch(), 0
    with progress.bar("waiting for a sign of life", int(SILENT_SECONDS)) as bar:
        while True:
            workers = _workers(run)
            strangers = [(worker, at) for worker, at in workers if not worker.leader and worker.plan != plan]
            now = _written_now(folder, strangers[0][0]) if strangers else 0.0
            watched = []
            for worker, written in strangers:
                if now - written < SILENT_SECONDS:
                    continue
                silence = watch.look(worker.name, written, GAP_BEATS * BEAT_SECONDS)
                if silence < SILENT_SECONDS:
                    watched.append(silence)
                else:
                    (folder / f"{worker.name}.json").unlink(missing_ok=True)
            if not watched:
                return
            bar.advance(max(0, int(min(watched)) - noted), str(run))
            noted = max(noted, int(min(watched)))
            time.sleep(min(1.0, BEAT_SECONDS))


def _written_now(folder: Path, stranger: Worker) -> float:
    """Return the file server's time. Raises OSError if the disk is full, InputError if it cannot be written otherwise:
    the stranger's silence says nothing then.
    """
    try:
        return _write_probe(folder)
    except FileNotFoundError:  # the stranger has left, and the folder with it
        return time.time()
    except OSError as error:
        if is_disk_full(error):
            raise
        raise InputError(
            f"run directory {folder.parent} cannot be written ({error.strerror}), so that nobody can tell whether "
            f"{stranger} still works there; name another with --out"
        ) from None


def _workers(run: Path) -> list[tuple[Worker, float]]:
    """Return the workers that are not seen to be dead, with the time of their last beat by the file server's clock."""
    workers = []
    for path in (run / FOLDER).glob("*.json"):
        with suppress(FileNotFoundError):
            worker = _read_worker(path)
            if worker is not None and not _is_seen_dead(worker):
                workers.append((worker, path.stat().st_mtime))
    return sorted(workers, key=lambda pair: pair[0].since)


def _read_worker(path: Path) -> Worker | None:
    """Read a worker's file; None if it cannot be read now. Raises FileNotFoundError if it is gone."""
    try:
        # Not asked whether it exists: from Python 3.14 on a server that is away looks like a file that is not there.
        return from_json(Worker, parse_object(path.read_bytes(), str(path)), str(path))
    except FileNotFoundError:
        raise
    except (InputError, OSError):
        return None


def _is_seen_dead(worker: Worker) -> bool:
    return worker.machine == machine_key() and has_ended(worker.process, worker.born)


def _server_time(folder: Path) -> float:
    """Return the time by the clock that stamps the folder's files; this machine's if no file can be written there."""
    try:
        return _write_probe(folder)
    except OSError:
        return time.time()


def _write_probe(folder: Path) -> float:
    """Write a file as a beat does, and return its time. Raises OSError if that fails."""
    probe = folder / f"{secrets.token_hex(4)}.now"
    try:
        probe.write_text("now", encoding="ascii")  # on a full disk an empty file can often still be made
        return probe.stat().st_mtime
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


class PresentProgress:
    """A ``Progress`` that also writes its bars into this process's file, for ``status``; ``inner`` shows them."""

    def __init__(self, presence: Presence, inner: Progress) -> None:
        self._presence = presence
        self._inner = inner

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator[Bar]:
        """See ``headscope.progress.Progress``."""
        before = self._presence.worker.note
        with self._inner.bar(label, total, start) as bar:
            try:
                yield _PresentBar(self._presence, bar, label, total, start)
            finally:
                self._presence.tell(before)


class _PresentBar:
    def __init__(self, presence: Presence, inner: Bar, label: str, total: int, start: int) -> None:
        self._presence, self._inner = presence, inner
        self._label, self._total, self._steps = label, total, start

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._inner.advance(steps, note)
        self._steps += steps
        self._presence.tell(f"{self._label} {self._steps}/{self._total}")
