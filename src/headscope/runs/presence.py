"""Who is at work in a run directory: a file for each process, written again every few seconds while it lives.

On shared storage nobody else can see whether a process lives, so that a file that is not written for a minute is that
of a dead one. How long ago that was is told by the file server's clock alone, which stamps the files; those of two
machines differ. On one machine a killed process is seen at once.
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

from headscope.errors import InputError
from headscope.progress import Bar, Progress
from headscope.results.codec import from_json
from headscope.runs.machine import host, machine_key, process_start
from headscope.storage import read_object

BEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""A process that does not write its file for so long is taken for dead: long enough for a busy server."""
FOLDER = ".workers"


@dataclass(frozen=True, slots=True)
class Worker:
    """A process at work in a run directory.

    name: of its file, which no other has.
    host, process: where it runs. machine, born: which kernel numbers it, and when it started, by that.
    since: when it came, in seconds since 1970 by its own clock.
    plan: digest of what it brings the directory to.
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
        self._has_left = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._beat_on, daemon=True)

    @property
    def file(self) -> Path:
        """Where it is kept that this process lives."""
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
        live_workers(self._folder.parent)  # takes away the files of the dead
        with suppress(OSError):  # others are at work
            self._folder.rmdir()

    def tell(self, note: str) -> None:
        """Say what this process is doing; others read it some seconds later."""
        self.worker = replace(self.worker, note=note)

    def is_alive(self, name: str) -> bool:
        """Return whether a worker lives; one that has left does not."""
        if name == self.worker.name:
            return True
        worker = _read_worker(self._folder / f"{name}.json")
        return worker is not None and _is_alive(worker, self._folder)

    def is_recent(self, path: Path) -> bool:
        """Return whether a file is younger than the time after which a silent process is taken for dead, or is gone."""
        with suppress(FileNotFoundError):
            return _server_time(self._folder) - path.stat().st_mtime < SILENT_SECONDS
        return True  # someone was there a moment ago, and another may have come since

    def find(self, name: str) -> str:
        """Return what people call a worker."""
        worker = _read_worker(self._folder / f"{name}.json")
        return name if worker is None else str(worker)

    def _beat_on(self) -> None:
        while not self._has_left.wait(BEAT_SECONDS):
            with suppress(OSError):  # a full disk or a lost server: the next beat may succeed
                self._write()

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
                return


def live_workers(run: Path) -> list[Worker]:
    """Return the processes at work in a run directory, those that began first first. Files of dead ones are removed."""
    folder = run / FOLDER
    workers = []
    for path in sorted(folder.glob("*.json")):
        worker = _read_worker(path)
        if worker is None:
            continue
        if _is_alive(worker, folder):
            workers.append(worker)
        else:
            with suppress(OSError):  # it has left, or this is not ours to write
                path.unlink(missing_ok=True)
    for path in folder.glob("*.new"):  # of one killed while it wrote; a living one writes it again
        if not path.with_suffix(".json").exists():
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return sorted(workers, key=lambda worker: worker.since)


def leaders(run: Path) -> list[Worker]:
    """Return those of the processes at work that a person began."""
    return [worker for worker in live_workers(run) if not worker.leader]


def _read_worker(path: Path) -> Worker | None:
    try:
        return from_json(Worker, read_object(path), str(path))
    except (InputError, FileNotFoundError):
        return None


def _is_alive(worker: Worker, folder: Path) -> bool:
    if worker.machine == machine_key() and process_start(worker.process) != worker.born:
        return False
    try:
        last = (folder / f"{worker.name}.json").stat().st_mtime
    except FileNotFoundError:
        return False
    return _server_time(folder) - last < SILENT_SECONDS


def _server_time(folder: Path) -> float:
    """Return the time by the clock that stamps the folder's files; this machine's if no file can be written there."""
    probe = folder / f"{secrets.token_hex(4)}.now"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


class PresentProgress:
    """A ``Progress`` whose bars are also told to others, next to what ``shown`` makes of them."""

    def __init__(self, presence: Presence, shown: Progress) -> None:
        self._presence = presence
        self._shown = shown

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator[Bar]:
        """See ``headscope.progress.Progress``."""
        before = self._presence.worker.note
        with self._shown.bar(label, total, start) as bar:
            try:
                yield _PresentBar(self._presence, bar, label, total, start)
            finally:
                self._presence.tell(before)


class _PresentBar:
    def __init__(self, presence: Presence, shown: Bar, label: str, total: int, start: int) -> None:
        self._presence, self._shown = presence, shown
        self._label, self._total, self._steps = label, total, start

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._shown.advance(steps, note)
        self._steps += steps
        self._presence.tell(f"{self._label} {self._steps}/{self._total}")
