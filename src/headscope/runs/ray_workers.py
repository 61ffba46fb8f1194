"""Workers on the nodes of a Ray cluster: each is an actor that begins a process next to it and passes its words on.

The process is the one that ``processes`` begins on this machine. What Ray carries is units and short reports; results
go to the run directory, which lies on storage that all nodes share. A worker ends with its actor, and actors end with
the command.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from multiprocessing.connection import wait
from typing import Any

from headscope.errors import InputError
from headscope.runs.messages import Broken, Setup
from headscope.runs.pool import PoolWorker
from headscope.runs.processes import Processes, ProcessWorker

OBJECT_STORE_BYTES = 80 * 2**20
"""Of a local cluster; it takes no less, and messages need little."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns that this will be so
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # lost nodes are told of on standard output, which may be JSON
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # the pool hears of lost workers by another way
}


class NodeWorker:
    """The actor: a worker process on this node.

    Methods run in threads of their own, so that a worker that has nothing to say can be spoken to.
    """

    def __init__(self, setup: Setup, threads: int) -> None:
        self._worker = ProcessWorker(setup, threads, None)  # the actor sees its own devices alone

    def listen(self) -> tuple[list[object], str]:
        """Return what the process says next, and how it ended if it has."""
        wait([self._worker.connection])
        return self._worker.receive(), self._worker.lost

    def send(self, message: bytes) -> None:
        """See ``PoolWorker``."""
        self._worker.send(message)

    def interrupt(self) -> None:
        """See ``PoolWorker``."""
        self._worker.interrupt()

    def kill(self, patience: float) -> None:
        """See ``PoolWorker``."""
        self._worker.kill(patience)


class RayWorker:
    """A ``PoolWorker`` on some node. actor: Ray's handle of its ``NodeWorker``. next_words: what it says next, a Ray
    reference."""

    def __init__(self, actor: Any) -> None:
        self.lost = ""
        self._actor = actor
        self.next_words = self._actor.listen.remote()
        self._has_begun = False

    def send(self, message: bytes) -> None:
        """See ``PoolWorker``."""
        self._actor.send.remote(message)

    def receive(self) -> list[object]:
        """See ``PoolWorker``."""
        import ray
        from ray.exceptions import ActorDiedError, RayError

        messages: list[object] = []
        while not self.lost and ray.wait([self.next_words], timeout=0)[0]:
            try:
                words, self.lost = ray.get(self.next_words)
            except ActorDiedError as error:
                self.lost = "with its node or Ray's process there"
                if "creation task" in str(error):
                    messages.append(Broken(f"Ray cannot begin it on a node: {_last_line(error)}", is_disk_full=False))
            except RayError as error:
                self.lost = f"out of Ray's sight: {_last_line(error)}"
            else:
                self._has_begun = True
                messages += words
                self.next_words = self._actor.listen.remote()
        return messages

    def interrupt(self) -> None:
        """See ``PoolWorker``."""
        self._actor.interrupt.remote()

    def kill(self, patience: float) -> None:
        """See ``PoolWorker``."""
        import ray
        from ray.exceptions import RayError

        with suppress(RayError):
            if self._has_begun and not self.lost:
                ray.get(self._actor.kill.remote(patience), timeout=patience + 1.0)
        ray.kill(self._actor)


class RayCluster:
    """Begins workers on a cluster's nodes, one per device; it is connected until ``close``.

    address: of the cluster's head, or ``auto`` for the one this machine belongs to. None takes that of RAY_ADDRESS, or
        begins a cluster of this machine alone.
    workers: how many; None takes one per GPU of the cluster, or as many as its cores hold.
    threads: of each worker; None takes one on a CPU, and a GPU's share of its cores.
    memory: bytes that the largest unit takes on a CPU, which Ray keeps free for each worker; None if it is not known.

    most_devices: that one unit may take, because one node has them.

    Raises InputError if Ray is not installed or the cluster is not to be had.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        threads: int | None = None,
        memory: int | None = None,
    ) -> None:
        check_installed()
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        if address == "local":
            here = Processes.of_this_machine(workers, threads)
            self.workers, self.threads, gpus = here.workers, here.threads, len(here.devices)
            self.most_devices = here.most_devices
            _connect(
                address,
                num_cpus=self.workers * self.threads,
                num_gpus=gpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
            )
        else:
            _connect(address)
            nodes = _nodes()
            gpus = sum(node.gpus for node in nodes)
            cores_per_gpu = min((node.cores // node.gpus for node in nodes if node.gpus), default=1)
            self.threads = threads or max(1, cores_per_gpu)
            self.workers = workers or gpus or max(1, sum(node.cores // self.threads for node in nodes))
            of_one_node = [node.gpus if gpus else node.cores // self.threads for node in nodes]
            self.most_devices = 1 if gpus and self.workers > gpus else min(self.workers, max(of_one_node, default=1))
        self._options: dict[str, float] = {"num_cpus": self.threads, "max_concurrency": 4}
        if gpus:
            self._options["num_gpus"] = 1 / ceil(self.workers / gpus)
        if memory is not None and address != "local" and not gpus:
            self._options["memory"] = min(memory, max((node.memory for node in nodes), default=memory))

    def start(self, place: int, setup: Setup) -> RayWorker:
        """See ``pool.Transport``."""
        import ray

        options = dict(self._options)
        for name in ("num_cpus", "num_gpus"):  # a worker with the devices of others has their cores too
            if name in options:
                options[name] *= 1 + len(setup.others)
        return RayWorker(ray.remote(NodeWorker).options(**options).remote(setup, self.threads))

    def wait(self, workers: Sequence[PoolWorker], seconds: float) -> None:
        """See ``pool.Transport``."""
        import ray

        ray.wait([worker.next_words for worker in workers if isinstance(worker, RayWorker)], timeout=seconds)

    def close(self) -> None:
        """See ``pool.Transport``."""
        import ray

        with _no_messages():
            ray.shutdown()


def check_installed() -> None:
    """Raise InputError if Ray is not installed."""
    if find_spec("ray") is None:
        raise InputError(
            "executor ray needs Ray, which is not installed; install the extra: pip install 'headscope[ray]'"
        )


def _connect(address: str, **options: object) -> None:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    import ray

    with _no_messages():
        try:
            ray.init(address, log_to_driver=False, configure_logging=False, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"no Ray cluster answers at address {address}: {_last_line(error)}") from None


@dataclass(frozen=True)
class _Node:
    """What a node has. memory: in bytes."""

    cores: int
    gpus: int
    memory: int


def _nodes() -> list[_Node]:
    """Return the cluster's nodes."""
    import ray

    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [_Node(*(int(node.get(name, 0)) for name in ("CPU", "GPU", "memory"))) for node in resources]


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2].strip()


@contextmanager
def _no_messages() -> Iterator[None]:
    """Keep off the terminal what Ray prints, not logs, about a cluster that begins and ends."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
