"""Workers that are processes of this machine."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Pipe, wait

from headscope.module_process import MEMORY_SHARE, module_process, usable_cores
from headscope.runs.messages import Setup
from headscope.runs.pool import PoolWorker
from headscope.runs.presence import live_workers


class ProcessWorker:
    """One process, at the other end of a pipe. devices: as in CUDA_VISIBLE_DEVICES; None leaves that alone."""

    def __init__(self, setup: Setup, threads: int, devices: str | None) -> None:
        self.lost = ""
        self._run = setup.run
        self.connection, worker_end = Pipe()
        command, environment = module_process("headscope.runs.worker_process", worker_end.fileno(), threads=threads)
        environment = {**environment, **setup.environment, MEMORY_SHARE: str(setup.memory_share)}
        if devices is not None:
            environment["CUDA_VISIBLE_DEVICES"] = devices
        self._process = subprocess.Popen(
            command,
            env=environment,
            pass_fds=[worker_end.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,  # standard output is the command's, which may print JSON there
            start_new_session=True,  # Ctrl-C is for the process that began it, which passes it on
        )
        worker_end.close()
        with suppress(OSError):
            self.connection.send(setup)

    def send(self, message: bytes) -> None:
        """See ``PoolWorker``."""
        with suppress(OSError):  # it has ended, which ``receive`` finds
            self.connection.send_bytes(message)

    def receive(self) -> list[object]:
        """See ``PoolWorker``."""
        messages = []
        try:
            while not self.lost and self.connection.poll():
                messages.append(self.connection.recv())
        except (EOFError, OSError):
            self.lost = self._how_it_ended()
        return messages

    def interrupt(self) -> None:
        """See ``PoolWorker``."""
        self._process.send_signal(signal.SIGINT)

    def kill(self, patience: float) -> None:
        """See ``PoolWorker``."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self._process.kill()
        self._process.wait()
        self.connection.close()

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        code = self._process.poll()
        if code is None:
            return "fell silent"
        live_workers(self._run)  # takes away its file, so that other machines need not wait for signs of life
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


class Processes:
    """Begins workers on this machine, with ``threads`` threads each and the devices in turn."""

    def __init__(self, workers: int, threads: int, devices: Sequence[str] = ()) -> None:
        self.workers, self.threads, self.devices = workers, threads, tuple(devices)

    @classmethod
    def of_this_machine(cls, workers: int | None = None, threads: int | None = None) -> "Processes":
        """Return as many workers as there are GPUs, or as cores hold; ``workers`` and ``threads`` say otherwise.

        On a CPU a worker has one thread: workers that share a core's operations wait for each other. The cores are
        shared out if the number of workers is given.
        """
        devices, cores = gpus(), usable_cores()
        if workers is None:
            workers = len(devices) or max(1, cores // (threads or 1))
        if threads is None:
            threads = max(1, cores // workers) if devices else 1
        return cls(workers, threads, devices)

    @property
    def most_devices(self) -> int:
        """Return the most devices that one unit may take: one per worker, unless workers share GPUs."""
        return 1 if self.devices and self.workers > len(self.devices) else self.workers

    def start(self, place: int, setup: Setup) -> ProcessWorker:
        """See ``pool.Transport``."""
        places = (place, *setup.others)
        devices = ",".join(self.devices[place % len(self.devices)] for place in places) if self.devices else None
        return ProcessWorker(setup, self.threads, devices)

    def wait(self, workers: Sequence[PoolWorker], seconds: float) -> None:
        """See ``pool.Transport``."""
        wait([worker.connection for worker in workers if isinstance(worker, ProcessWorker)], seconds)

    def close(self) -> None:
        """See ``pool.Transport``."""


def gpus() -> list[str]:
    """Return this machine's CUDA devices, or those that CUDA_VISIBLE_DEVICES leaves, without loading torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [device for device in chosen.split(",") if device.strip() not in ("", "-1")]
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return []
    return listed.stdout.split() if listed.returncode == 0 else []
