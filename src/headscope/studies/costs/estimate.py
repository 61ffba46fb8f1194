"""The estimate: what each unit of a plan that is not done takes, and budgets that hold it or do not."""

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any

from headscope.errors import InputError
from headscope.results.codec import Json, from_json, to_json
from headscope.results.numbers import format_duration
from headscope.runs import RunDirectory, Unit
from headscope.studies.answers.evaluate import shard_inputs
from headscope.studies.costs.workloads import (
    MEASURED_AS,
    TOKENS,
    Facts,
    Number,
    Workload,
    measured_devices,
    unit_workload,
)
from headscope.studies.plan import trainings_by_name
from headscope.studies.study_file.study import Study
from headscope.studies.training.train import devices_of


@dataclass(frozen=True)
class Rates:
    """Cost of one of everything on this machine: per kind of work, a number per driver.

    import_seconds, model_seconds: seconds until libraries are imported, and per model loaded.
    seconds: per unit (``once``) and per driver. memory: bytes per unit of width, with ``once``. disk: bytes likewise,
        per unit of size.
    """

    facts: Facts
    import_seconds: float
    model_seconds: float
    seconds: dict[str, dict[str, float]]
    memory: dict[str, dict[str, float]]
    disk: dict[str, dict[str, float]]

    def as_dict(self) -> Json:
        """Return plain JSON values."""
        return to_json(self)

    @classmethod
    def from_dict(cls, data: Json, origin: str) -> "Rates":
        """Return what ``as_dict`` made. Raises InputError, naming ``origin``, if it is something else."""
        return from_json(cls, data, origin)


@dataclass(frozen=True)
class UnitCost:
    """Estimate for one unit.

    seconds: at most; least_seconds: if its controls stop early. memory, disk: bytes.
    devices: that it takes together. measured_devices: on which the seconds were measured; of fewer than it takes, no
        gain by the others is assumed.
    """

    unit: Unit
    seconds: float
    least_seconds: float
    tokens: dict[str, float]
    memory: float
    disk: float
    devices: int = 1
    measured_devices: int = 1


@dataclass(frozen=True)
class StudyCost:
    """Estimates of the units of a plan that are not done.

    done: number of finished units, by kind. unmeasured: kinds whose cost is unknown, because none of their small units
        could be run; they count as 0.
    """

    units: tuple[UnitCost, ...]
    done: dict[str, int] = field(default_factory=dict)
    unmeasured: frozenset[str] = frozenset()

    @property
    def longest_unit(self) -> UnitCost | None:
        """Return the unit that takes longest; None if all are done."""
        return max(self.units, key=lambda cost: cost.seconds, default=None)

    @property
    def seconds(self) -> dict[str, float]:
        """Return the most seconds that each unit takes, by its address."""
        return {cost.unit.address: cost.seconds for cost in self.units}

    def clock(self, workers: int | None) -> float:
        """Return the seconds until all units are done by ``workers`` workers; None: by one for each unit.

        Units begin in the plan's order, each once its inputs are there and a worker is free (list scheduling, Graham
        1966); without a limit on workers this is the longest chain of units. As in ``runs.pool``, a unit that takes
        several devices goes first: it occupies as many workers, and those that become free wait for it. If there are
        fewer, as in one process that begins the others itself, it occupies them all. Each counts as
        ``UnitCost.seconds``: what other workers load again is left out.
        """
        places = {cost.unit.address: place for place, cost in enumerate(self.units)}
        free = most = math.inf if workers is None else workers
        takes = [min(cost.devices, most) for cost in self.units]
        inputs = [{unit.address for unit in cost.unit.inputs.values()} & places.keys() for cost in self.units]
        readers: dict[str, list[int]] = defaultdict(list)
        for place, addresses in enumerate(inputs):
            for address in addresses:
                readers[address].append(place)
        waits_for = [len(addresses) for addresses in inputs]
        # Those that take several devices come first, then the plan's order decides.
        ready = [(takes[place] == 1, place) for place, count in enumerate(waits_for) if not count]
        heapify(ready)
        running: list[tuple[float, int]] = []
        now = 0.0
        while ready or running:
            while ready and takes[ready[0][1]] <= free:
                _, place = heappop(ready)
                free -= takes[place]
                heappush(running, (now + self.units[place].seconds, place))
            now, done = heappop(running)
            free += takes[done]
            for place in readers[self.units[done].unit.address]:
                waits_for[place] -= 1
                if not waits_for[place]:
                    heappush(ready, (takes[place] == 1, place))
        return now

    def check_budget(self, budget: float) -> None:
        """Raise InputError if a single unit takes longer than ``budget`` seconds."""
        longest = self.longest_unit
        if longest is not None and longest.seconds > budget:
            raise InputError(
                f"a budget of {format_duration(budget)} does not hold {longest.unit.name}, which takes about "
                f"{format_duration(longest.seconds)} by itself; give more time, or make this unit smaller"
            )


@dataclass
class Budget:
    """Seconds of wall time that a run may take; they count from the first question on."""

    seconds: float
    rates: Rates
    ends_at: float | None = None

    def holds(self, unit: Unit) -> bool:
        """Return whether a unit would be done before the time is over."""
        if self.ends_at is None:
            self.ends_at = time.monotonic() + self.seconds
        return time.monotonic() + estimate_unit(unit, self.rates).seconds <= self.ends_at


def variants_with_unknown_steps(study: Study, run: RunDirectory) -> list[str]:
    """Return the variants whose trainings are to be done and whose number of steps only their data tells."""
    units = trainings_by_name(study)
    by_epochs = [variant.name for variant in study.variants if variant.train and variant.train.max_steps is None]
    return [name for name in by_epochs if not run.is_done(units[name])]


def with_measured_steps(study: Study, run: RunDirectory, facts: Facts) -> Study:
    """Return the study with the number of steps of its trainings by epochs, as the pilot has counted them.

    Without it the plan counts one checkpoint of such a training until it is done.
    """
    unknown = variants_with_unknown_steps(study, run)
    variants = []
    for variant in study.variants:
        steps = facts.steps.get(facts.measured_training(variant.name))
        if variant.name in unknown and variant.train is not None and steps:
            train = variant.train.model_copy(update={"max_steps": steps})
            variants.append(variant.model_copy(update={"train": train}))
        else:
            variants.append(variant)
    return study.model_copy(update={"variants": tuple(variants)})


def estimate(units: Sequence[Unit], run: RunDirectory, rates: Rates) -> StudyCost:
    """Return the cost of the units of a plan that are not done."""
    costs: list[UnitCost] = []
    done = dict.fromkeys((unit.kind for unit in units), 0)
    seen: set[tuple[str, int]] = set()
    for unit in units:
        if run.is_done(unit):
            done[unit.kind] += 1
            continue
        # The first unit that reads a model loads it; the first of all also waits for the libraries.
        new = models_of(unit) - seen
        first = (rates.import_seconds if not costs else 0.0) + rates.model_seconds * len(new)
        costs.append(estimate_unit(unit, rates, first))
        seen |= new
    return StudyCost(tuple(costs), done, frozenset(kind for kind in done if _measured_kind(kind) not in rates.seconds))


def models_of(unit: Unit) -> set[tuple[str, int]]:
    """Return the models a unit loads, by name and step.

    A training loads its base anew, which is part of it; a unit that joins the answers of shards loads none.
    """
    if unit.kind == "train" or shard_inputs(unit.inputs):
        return set()
    config: Any = unit.config
    sources = [getattr(config, name, None) for name in ("model", "base", "final", "post", "donor")]
    return {(source.name, source.step) for source in sources if source is not None}


def estimate_unit(unit: Unit, rates: Rates, first: float = 0.0) -> UnitCost:
    """Return the cost of one unit; work of a kind that was not measured takes 0 seconds.

    first: seconds before it begins.
    """
    most, least = unit_workload(unit, rates.facts), unit_workload(unit, rates.facts, early=True)
    kind = _measured_kind(unit.kind)
    seconds = rates.seconds.get(kind, {})
    memory = _linear(rates.memory.get(kind, {}), {"width": most.width})
    return UnitCost(
        unit=unit,
        seconds=first + workload_seconds(most, seconds),
        least_seconds=first + workload_seconds(least, seconds),
        tokens={name: float(most.drivers.get(name, 0)) for name in TOKENS},
        # No pass takes more than half of what is free, however wide it might be (``models.memory``).
        memory=rates.facts.resident_bytes + min(memory, rates.facts.free_bytes / 2),
        disk=_linear(rates.disk.get(kind, {}), {"size": most.size}),
        devices=devices_of(unit),
        measured_devices=measured_devices(unit, rates.facts),
    )


def _measured_kind(kind: str) -> str:
    return MEASURED_AS.get(kind, kind)


def workload_seconds(workload: Workload, rates: Mapping[str, float]) -> float:
    """Return how long a workload takes: what is paid once, and each driver's share of the threads."""
    return rates.get("once", 0.0) + (_linear(rates, workload.drivers) - rates.get("once", 0.0)) / workload.parallel


def _linear(rates: Mapping[str, float], amounts: Mapping[str, Number]) -> float:
    return rates.get("once", 0.0) + sum(rates.get(name, 0.0) * amount for name, amount in amounts.items())
