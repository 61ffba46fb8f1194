"""The table of ``headscope plan --cost``: one row per kind of unit."""

import math
from collections.abc import Sequence

from headscope.results.numbers import format_bytes, format_duration
from headscope.results.table import Cell, Row, Table, Value
from headscope.studies.costs.estimate import StudyCost, UnitCost
from headscope.studies.costs.workloads import TOKENS


def cost_table(cost: StudyCost) -> Table:
    """Return one row per kind of unit and one of all."""
    kinds = list(cost.done)
    rows = []
    for kind in kinds:
        row = _row(kind, [unit for unit in cost.units if unit.unit.kind == kind], cost.done[kind])
        rows.append(row | ({"time": None, "disk": None} if kind in cost.unmeasured else {}))
    rows.append(_row("all", cost.units, sum(cost.done.values())))
    caption = (
        "What is not done. Time is what small units of each kind took on this machine, scaled; a range if random sets "
        "may stop early. Memory: the most that one unit holds, models and libraries included."
    )
    return Table("cost", tuple(rows), caption)


def clock_seconds(cost: StudyCost) -> dict[str, float]:
    """Return the seconds that one, two and four workers take, and the longest chain of units.

    If a training needs more devices than two or four workers have, the smallest sufficient number of workers is shown
    instead.
    """
    most = max((unit.devices for unit in cost.units), default=1)
    several = [workers for workers in (2, 4) if workers >= most] or [most]
    return {str(workers): cost.clock(workers) for workers in (1, *several)} | {"longest chain": cost.clock(None)}


def clock_sentence(cost: StudyCost) -> str:
    """Return ``clock_seconds`` in words, with what is assumed; empty if no unit is left to do."""
    if not cost.units:
        return ""
    durations = {workers: format_duration(seconds) for workers, seconds in clock_seconds(cost).items()}
    one = durations.pop("1")
    chain = durations.pop("longest chain")
    shared = _shared_trainings(cost)
    # One worker is refused a training on several devices; a plain run begins its processes itself.
    alone = "in one process" if shared else "by one worker"
    parts = [f"{alone} {one}"]
    noun = " workers" if shared else ""  # said once, and not again after "one worker"
    for workers, duration in durations.items():
        number = {"2": "two", "4": "four"}.get(workers, workers)
        parts.append(f"by {number}{noun} {duration}")
        noun = ""
    return (
        f"{', '.join(parts)}, and never less than {chain}, the longest chain of units (--executor processes "
        f"--workers N){shared}"
    )


def _shared_trainings(cost: StudyCost) -> str:
    """Return what is taken for true of trainings on several devices, each number once; empty if there are none."""
    words = ""
    for devices, measured in sorted({(unit.devices, unit.measured_devices) for unit in cost.units}):
        if devices > 1:
            words += f"; a training on {devices} devices occupies {devices} workers, for as long as "
            if measured == devices:
                words += f"{devices} devices of this machine took, and its memory is not measured"
            else:
                words += "one device of this machine took: nothing is assumed of what the others save"
    return words


def _row(kind: str, costs: Sequence[UnitCost], done: int) -> Row:
    most = math.fsum(cost.seconds for cost in costs)
    least = math.fsum(cost.least_seconds for cost in costs)
    time = format_duration(most)
    # A range only where early stops make a difference that can be read.
    if costs and format_duration(least) != time:
        time = f"{format_duration(least)} to {time}"
    tokens: dict[str, Value] = {name: _count_cell(math.fsum(cost.tokens[name] for cost in costs)) for name in TOKENS}
    return {
        "kind": kind,
        "units": len(costs),
        "done": done,
        **tokens,
        "time": Cell(time, {"least": least, "most": most}),
        "peak memory": _bytes_cell(max((cost.memory for cost in costs), default=0.0)),
        "disk": _bytes_cell(math.fsum(cost.disk for cost in costs)),
    }


def _count_cell(count: float) -> Cell | None:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return Cell(f"{count / size:.3g} {unit}", count)
    return Cell(f"{count:.0f}", count) if count else None


def _bytes_cell(count: float) -> Cell:
    return Cell(format_bytes(count), count)
