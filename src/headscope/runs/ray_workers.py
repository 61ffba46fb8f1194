"""Workers on the nodes of a Ray cluster: each is an actor that starts a process on its node and forwards messages.

The process is the one that ``processes`` starts on this machine. Ray carries units and short reports; results go to
the run directory, which lies on storage that all nodes share. A worker ends with its actor, and actors end with the
command.
"""

import logging
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from multiprocessing.connection import wait
from typing import Any

from headscope.errors import InputError, MachineError
from headscope.runs import provenance
from headscope.runs.machine import host
from headscope.runs.messages import Broken, Setup
from headscope.runs.pool import PoolWorker
from headscope.runs.processes import Processes, ProcessWorker

OBJECT_STORE_BYTES = 80 * 2**20
"""Of a local cluster: the least that Ray accepts; messages are small."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else it warns that this will be so
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # messages on lost nodes go to standard output, which may be JSON
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # ``RayWorker.receive`` reports lost workers
}


class NodeWorker:
    """The actor: a worker process on this node.

    Methods run in threads of their own, so that a worker that has nothing to say can be spoken to.

    versions: of the packages where the command was given. setup: pickled, since another version may not read it.
    Raises MachineError if this node has other versions.
    """

    def __init__(self, versions: Mapping[str, str], setup: bytes, threads: int) -> None:
        check_versions(versions)
        self._worker = ProcessWorker(pickle.loads(setup), threads, None)  # the actor sees its own devices alone

    def listen(self) -> tuple[list[object], str]:
        """Wait for the process's next messages and return them, with how it ended if it has."""
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
    """A ``PoolWorker`` on some node.

    actor: Ray's handle of its ``NodeWorker``. next_messages: Ray's reference to what it sends next.
    """

    def __init__(self, actor: Any) -> None:
        self.lost = ""
        self._actor = actor
        self.next_messages = self._actor.listen.remote()
        self._has_begun = False

    def send(self, message: bytes) -> None:
        """See ``PoolWorker``."""
        self._actor.send.remote(message)

    def receive(self) -> list[object]:
        """See ``PoolWorker``."""
        import ray
        from ray.exceptions import ActorDiedError, RayError

        messages: list[object] = []
        while not self.lost and ray.wait([self.next_messages], timeout=0)[0]:
            try:
                received, self.lost = ray.get(self.next_messages)
            except ActorDiedError as error:
                self.lost = "with its node or Ray's process there"
                if "creation task" in str(error):
                    messages.append(Broken(f"Ray cannot begin it on a node: {_last_line(error)}", is_disk_full=False))
            except RayError as error:
                self.lost = f"out of Ray's sight: {_last_line(error)}"
            else:
                self._has_begun = True
                messages += received
                self.next_messages = self._actor.listen.remote()
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
    threads: of each worker; None takes one on a CPU, and on a GPU an even share of its node's cores.
    memory: bytes that the largest unit takes on a CPU, which Ray keeps free for each worker; None if it is not known.

    most_devices: that one unit may take, because one node has them.

    Raises InputError if Ray is not installed, the cluster does not answer, or none of its nodes can hold a worker.
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
            resources = {"num_cpus": float(self.threads)} | _gpu_share(self.workers, gpus)
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
            try:
                self.workers, resources = share_out(nodes, workers, threads, memory)
            except InputError:
                self.close()
                raise
            self.threads = int(resources["num_cpus"])
            self.most_devices = _devices_of_one_node(nodes, self.workers, resources)
        self._options = resources | {"max_concurrency": 4}

    def start(self, place: int, setup: Setup) -> RayWorker:
        """See ``pool.Transport``."""
        import ray

        options = dict(self._options)
        for name in ("num_cpus", "num_gpus"):  # a worker with the devices of others has their cores too
            if name in options:
                options[name] *= 1 + len(setup.others)
        actor = ray.remote(NodeWorker).options(**options)
        return RayWorker(actor.remote(provenance.versions(), pickle.dumps(setup), self.threads))

    def wait(self, workers: Sequence[PoolWorker], seconds: float) -> None:
        """See ``pool.Transport``."""
        import ray

        ray.wait([worker.next_messages for worker in workers if isinstance(worker, RayWorker)], timeout=seconds)

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


def check_versions(versions: Mapping[str, str]) -> None:
    """Raise MachineError if this machine has other versions of the packages that decide results.

    What follows a ``+`` names a build, as one for GPUs, and may differ.
    """
    here = provenance.versions()
    others = [
        f"{name} {here.get(name, 'absent')} instead of {version}"
        for name, version in versions.items()
        if here.get(name, "absent").partition("+")[0] != version.partition("+")[0]
    ]
    if others:
        raise MachineError(f"{host()} has {', '.join(others)}; install what the command was given with")


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
class Node:
    """Resources of a node. memory: in bytes."""

    cores: int
    gpus: int
    memory: int

    def places(self, resources: Mapping[str, float]) -> int:
        """Return how many workers that take ``resources`` the node holds."""
        total = {"num_cpus": self.cores, "num_gpus": self.gpus, "memory": self.memory}
        return min(int(total[name] // amount) for name, amount in resources.items())


def share_out(
    nodes: Sequence[Node], workers: int | None, threads: int | None, memory: int | None
) -> tuple[int, dict[str, float]]:
    """Return how many workers a cluster gets, and what each takes of its node, by Ray's names.

    They are no more than the nodes hold: Ray would keep the others waiting for ever. Arguments as in ``RayCluster``.
    Raises InputError if no node holds one. A cluster that has no cores yet is waited for.
    """
    gpus = sum(node.gpus for node in nodes)
    per_gpu = ceil(workers / gpus) if workers and gpus else 1
    if threads is None:
        shares = [node.cores // (node.gpus * per_gpu) for node in nodes if node.gpus]
        threads = max(1, min(shares, default=1))
    resources = {"num_cpus": float(threads)} | _gpu_share(workers or gpus, gpus)
    if memory is not None and not gpus:
        resources["memory"] = float(min(memory, max((node.memory for node in nodes), default=memory)))
    places = sum(node.places(resources) for node in nodes)
    if not places and any(node.cores for node in nodes):
        raise InputError(
            f"no node of the Ray cluster can hold a worker of {threads} threads{' and a GPU' if gpus else ''}; the "
            f"largest has {max(node.cores for node in nodes)} cores: ask for fewer threads"
        )
    return min(workers or places, places) or workers or 1, resources


def _devices_of_one_node(nodes: Sequence[Node], workers: int, resources: Mapping[str, float]) -> int:
    """Return how many workers' devices one node has; 1 if workers share a GPU."""
    if resources.get("num_gpus", 1.0) < 1:
        return 1
    shares = {name: share for name, share in resources.items() if name != "memory"}
    return max(1, min(workers, max((node.places(shares) for node in nodes), default=1)))


def _gpu_share(workers: int, gpus: int) -> dict[str, float]:
    """Return what each worker takes of a GPU, rounded down as Ray counts: to a ten-thousandth."""
    return {"num_gpus": 10**4 // ceil(workers / gpus) / 10**4} if gpus else {}


def _nodes() -> list[Node]:
    """Return the cluster's nodes."""
    import ray

    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(int(node.get("CPU", 0)), int(node.get("GPU", 0)), int(node.get("memory", 0))) for node in resources]


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
