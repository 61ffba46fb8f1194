"""Units computed by workers that keep their models: which worker does which unit, and what happens if one is lost.

1. A unit goes to a free worker that has its models loaded, if there is one; else the first in the plan goes anywhere.
2. The unit of a worker that was killed is tried again by a fresh one, the second time with nothing else on the machine;
   after that it has failed, by the machine's fault.
3. So has a unit that ran out of memory, once it did so again with nothing else on the machine and smaller batches; and
   one with an error of its GPU, whose worker ends: a process cannot use it again, and a fresh one can.
4. A unit whose worker has not begun, as one that a cluster has no place for, goes to another that is free. If workers
   end before they begin, one after another, so does the command.
5. A unit that takes several devices goes first: workers that become free wait until there are as many as it takes. They
   end, and one begun anew has the devices of all. If a cluster has no place for that one, because its free devices are
   not on one node, idle workers end and nothing else is begun until it has.

How workers are begun and spoken to is a ``Transport``'s business.
"""

import errno
import pickle
import sys
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from headscope.errors import MachineError
from headscope.progress import Progress
from headscope.runs.attempt import Report, unit_record
from headscope.runs.directory import RunDirectory
from headscope.runs.failures import Failure
from headscope.runs.messages import END, LAST_SECONDS, READY, Broken, Setup, shared_environment
from headscope.runs.presence import Presence
from headscope.runs.units import Unit

TRIES = 3
"""Workers in which a unit is tried if they are killed."""
ALONE_SHARE = 0.5
"""Of the usual memory, for a unit that ran out of it, or whose workers were killed as if it had."""
MODELS_KEPT = 2
"""A worker keeps the models it loaded last (``studies.models.subjects.load``)."""

PLACE_SECONDS = 30.0
"""After which a worker with several devices that has not begun is taken for one that a cluster has no place for."""

Models = Callable[[Unit], frozenset[Hashable]]
Devices = Callable[[Unit], int]


@runtime_checkable
class PoolWorker(Protocol):
    """A worker as the pool sees it. lost: how it ended, "" while it lives."""

    lost: str

    def send(self, message: bytes) -> None:
        """Send it a message; one to a lost worker is dropped."""

    def receive(self) -> list[object]:
        """Return what it has said since the last call, without waiting."""

    def interrupt(self) -> None:
        """Have it leave its unit as it can be resumed, and end."""

    def kill(self, patience: float) -> None:
        """End it, after ``patience`` seconds at most in which it may end by itself."""


@runtime_checkable
class Transport(Protocol):
    """Begins workers. workers: how many there are to be."""

    workers: int

    def start(self, place: int, setup: Setup) -> PoolWorker:
        """Begin the worker at ``place``, 0 to ``workers`` - 1, which has its own devices."""

    def wait(self, workers: Sequence[PoolWorker], seconds: float) -> None:
        """Return when one of them has said something or is lost, or after so many seconds."""

    def close(self) -> None:
        """Let go of what workers are begun with, after the pool has ended them."""


@dataclass(frozen=True)
class _Job:
    """A unit to do. lost: how many workers were killed at it. alone: with nothing else on the machine."""

    unit: Unit
    lost: int = 0
    alone: bool = False


@dataclass
class _Slot:
    """A worker's place.

    models: those it has loaded, the last one last.
    lent: the places whose devices its worker has as well. is_lent: whether its own are another worker's.
    started: when its worker was begun.
    """

    place: int
    worker: PoolWorker | None = None
    is_ready: bool = False
    job: _Job | None = None
    models: deque[Hashable] = field(default_factory=lambda: deque(maxlen=MODELS_KEPT))
    lent: "list[_Slot]" = field(default_factory=list)
    is_lent: bool = False
    started: float = 0.0

    @property
    def is_free(self) -> bool:
        """Return whether it may take a unit."""
        return self.job is None and not self.is_lent

    def send_unit(self) -> None:
        """Have the worker begin its unit."""
        assert self.worker is not None
        assert self.job is not None
        self.worker.send(pickle.dumps(self.job.unit.for_worker()))

    def empty(self) -> None:
        """Forget a worker that has ended."""
        self.worker, self.job, self.is_ready = None, None, False
        self.models.clear()
        for other in self.lent:
            other.is_lent = False
        self.lent.clear()

    def end(self) -> None:
        """End its worker, which has no unit."""
        if self.worker is not None:
            self.worker.send(END)
            self.worker.kill(LAST_SECONDS)
        self.empty()


class Pool:
    """An ``Engine`` of several workers.

    run: the directory. transport: begins them, each when it is first needed; whoever made it closes it afterwards.
    plan: as in ``presence.Worker``. models: which models a unit loads.
    devices: how many workers' devices a unit takes, at most as many as there are workers.
    """

    def __init__(
        self,
        run: RunDirectory,
        transport: Transport,
        *,
        plan: str = "",
        models: Models = lambda unit: frozenset(),
        devices: Devices = lambda unit: 1,
    ) -> None:
        self._run, self._transport, self._models, self._devices = run, transport, models, devices
        self._slots = [_Slot(place) for place in range(transport.workers)]
        self._again: deque[_Job] = deque()
        self._interrupted: dict[str, _Job] = {}
        self._chosen = self._slots[0]
        self._failed_starts = 0
        self.presence = Presence(run.path, plan=plan)
        self.look_ahead = 16 * len(self._slots)

    def __enter__(self) -> "Pool":
        self.presence.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stop()
        finally:
            self.presence.__exit__(kind, error, trace)

    def choose(self, ready: Sequence[Unit]) -> int | None:
        """See ``Engine``."""
        self._begin_again()
        free = self._free_slots()
        is_alone = any(slot.job is not None and slot.job.alone for slot in self._slots)
        # Room is made even if nothing is ready: what is may wait for the unit that has no place.
        if self._makes_room(free) or not free or not ready or self._again or is_alone:
            return None
        for index, unit in enumerate(ready):
            needed = self._devices(unit)
            if needed > 1:
                self._chosen = free[0]
                return index if len(free) >= needed else None
        needs = [self._models(unit) for unit in ready]
        if not needs[0]:  # a training, which comes first in a plan: others wait for it
            self._chosen = self._least_loaded(free)
            return 0
        for slot in free:
            for index, models in enumerate(needs):
                if models and models <= set(slot.models):
                    self._chosen = slot
                    return index
        # Loading takes a worker that has loaded least; the model goes where nobody else has it, if it can.
        self._chosen = self._least_loaded(free)
        elsewhere = {model for slot in self._slots for model in slot.models}
        return next((index for index, models in enumerate(needs) if not models & elsewhere), 0)

    def _least_loaded(self, free: Sequence[_Slot]) -> _Slot:
        return min(free, key=lambda slot: (len(slot.models), slot.place))

    def begin(self, unit: Unit) -> None:
        """See ``Engine``."""
        job = self._interrupted.pop(unit.address, None)
        if job is None:
            self._start(self._chosen, _Job(unit))
        else:
            self._again.append(job)

    def wait(self, seconds: float, progress: Progress, tell: Callable[[str], None]) -> list[tuple[Unit, Report]]:
        """See ``Engine``."""
        self._begin_again()
        if not any(slot.is_ready for slot in self._slots):
            tell("waiting for a worker")
        self._transport.wait([slot.worker for slot in self._slots if slot.worker is not None], seconds)
        reports: list[tuple[Unit, Report]] = []
        for slot in self._slots:
            for message in [] if slot.worker is None else slot.worker.receive():
                self._hear(slot, message, reports, tell)
            if slot.worker is not None and slot.worker.lost:
                self._lose(slot, reports)
        return reports

    def _free_slots(self) -> list[_Slot]:
        return [slot for slot in self._slots if slot.is_free]

    def _makes_room(self, free: list[_Slot]) -> bool:
        """Return whether a worker with several devices waits for a place; idle ones have then ended."""
        latest = time.monotonic() - PLACE_SECONDS
        waits = any(slot.lent and not slot.is_ready and slot.started < latest for slot in self._slots)
        if waits:
            for slot in free:
                slot.end()
        return waits

    def _gather(self, slot: _Slot, job: _Job) -> None:
        """Take the devices of as many free places as the unit takes besides the worker's own."""
        others = [other for other in self._free_slots() if other is not slot][: self._devices(job.unit) - 1]
        if others:
            for other in (slot, *others):
                other.end()
            for other in others:
                other.is_lent = True
            slot.lent = others

    def _start(self, slot: _Slot, job: _Job) -> None:
        self._gather(slot, job)
        if slot.worker is None:
            setup = Setup(
                run=self._run.path.absolute(),
                folder=Path.cwd(),
                plan=self.presence.worker.plan,
                leader=self.presence.worker.name,
                machine=self.presence.worker.machine,
                path=tuple(sys.path),
                environment=shared_environment(),
                memory_share=ALONE_SHARE if job.alone else 1.0,
                others=tuple(other.place for other in slot.lent),
            )
            slot.started = time.monotonic()
            slot.worker = self._transport.start(slot.place, setup)
        slot.job = job
        for model in self._models(job.unit):
            if model in slot.models:
                slot.models.remove(model)
            slot.models.append(model)
        if slot.is_ready:
            slot.send_unit()

    def _begin_again(self) -> None:
        """Begin what was lost, each on the first free worker; what is to be alone when all others have ended."""
        self._pass_on()
        while self._again:
            free, job = self._free_slots(), self._again[0]
            if len(free) < (len(self._slots) if job.alone else self._devices(job.unit)):
                return
            if job.alone:
                self._stop()
            self._start(free[0], self._again.popleft())
            if job.alone:
                return

    def _pass_on(self) -> None:
        """Give units whose worker has not begun to workers that are free."""
        free = [slot for slot in self._slots if slot.is_ready and slot.job is None]
        # One with the devices of others waits for all of them.
        waiting = [slot for slot in self._slots if not slot.is_ready and slot.job is not None and not slot.lent]
        for slot, other in zip(waiting, free, strict=False):
            assert slot.job is not None
            job = slot.job
            slot.job = None
            slot.models.clear()
            self._start(other, job)

    def _hear(
        self, slot: _Slot, message: object, reports: list[tuple[Unit, Report]], tell: Callable[[str], None]
    ) -> None:
        if message == READY:
            slot.is_ready = True
            self._failed_starts = 0
            if slot.job is not None:
                slot.send_unit()
            return
        if isinstance(message, str):
            if slot.job is not None:
                running = sum(other.job is not None for other in self._slots)
                others = f" (and {running - 1} more)" if running > 1 else ""
                tell(f"{slot.job.unit.name}: {message}{others}")
            return
        if isinstance(message, Broken):
            if message.is_disk_full:
                raise OSError(errno.ENOSPC, message.reason)
            doing = "a worker" if slot.job is None else f"the worker that did {slot.job.unit.name}"
            raise MachineError(f"{doing} could not go on: {message.reason}")
        assert isinstance(message, Report)
        assert slot.job is not None
        assert slot.worker is not None
        job, slot.job = slot.job, None
        # The worker has less memory than others, or devices of theirs, or can use its GPU no more.
        if job.alone or slot.lent or message.gpu_lost:
            slot.end()
        if message.ending == "held" and job.lost:
            # The file of a worker that was lost may say for a while that it lives.
            self._interrupted[job.unit.address] = job
        if message.out_of_memory and not job.alone:
            self._again.append(replace(job, alone=True))
        else:
            reports.append((job.unit, message))

    def _lose(self, slot: _Slot, reports: list[tuple[Unit, Report]]) -> None:
        """Have the unit of a worker that ended tried again, or say that it has failed."""
        assert slot.worker is not None
        ending, job, was_ready = slot.worker.lost, slot.job, slot.is_ready
        slot.worker.kill(0.0)
        slot.empty()
        if not was_ready:
            self._failed_starts += 1
            if self._failed_starts >= TRIES * len(self._slots):
                starts = self._failed_starts
                raise MachineError(f"{starts} workers in a row ended before they took a unit (the last {ending})")
        if job is None:
            return
        if not was_ready:  # which says nothing of the unit
            self._again.append(job)
            return
        lost = job.lost + 1
        if lost < TRIES:
            self._again.append(_Job(job.unit, lost, alone=job.alone or lost == TRIES - 1))
            return
        cause = ", as on a machine that runs out of memory" if "SIGKILL" in ending else ""
        failure = Failure(
            f"{TRIES} worker processes ended one after the other while they did it (the last {ending}){cause}; the "
            "same command tries it again",
            bad_input=False,
            passing=True,
        )
        self._run.record_failure(job.unit, unit_record(job.unit, 0.0) | asdict(failure))
        reports.append((job.unit, Report("failed", reason=failure.reason)))

    def _stop(self) -> None:
        """End all workers: idle ones at once, busy ones as if by Ctrl-C."""
        workers = [slot for slot in self._slots if slot.worker is not None]
        for slot in workers:
            assert slot.worker is not None
            if slot.is_ready and slot.job is None:
                slot.worker.send(END)
            elif slot.is_ready:
                slot.worker.interrupt()
        ends_by = time.monotonic() + LAST_SECONDS
        for slot in workers:
            assert slot.worker is not None
            # One that is not ready holds nothing yet.
            slot.worker.kill(max(0.0, ends_by - time.monotonic()) if slot.is_ready else 0.0)
            slot.empty()
