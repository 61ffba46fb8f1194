"""A stated budget of memory: how many pairs, rows and positions go through at a time, and what happens where that
was still too many."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from headscope.circuits.batches import CPU_TOKENS, NODES, Sizes, alike
from headscope.circuits.footprint import Footprint, bound, measured
from headscope.circuits.halving import Limit, Result, out_of_memory
from headscope.errors import InputError
from headscope.models import HeadAccess
from headscope.pairs import Pairs
from headscope.progress import Bar


def free_memory(device: torch.device) -> int:
    """The default budget: half of what the device has free, in bytes; 4 GiB where the system does not tell.

    What PyTorch keeps of earlier work on a GPU, to use again, is free.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + kept) // 2
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (free,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError):
        return 4 * 2**30
    return free // 2


def checked(memory: Any, device: torch.device) -> int:
    """The budget in bytes; InputError unless it is None or a whole number above 0."""
    if memory is None:
        return free_memory(device)
    if not isinstance(memory, int) or isinstance(memory, bool) or memory < 1:
        raise InputError(f"found memory={memory!r}; give a number of bytes above 0, or None")
    return memory


def attribution_budget(model: PreTrainedModel, access: HeadAccess, pairs: Pairs, nodes: int, memory: Any) -> "Budget":
    """The budget of ``nodes`` nodes per pair.

    The footprint is measured only where its bound leaves less room than can be used: the measuring pass reads every
    weight, which is dear on a CPU. Raises InputError where not one node of one pair fits.
    """
    memory = checked(memory, access.device)
    roomy = Budget(bound(model, access), memory)
    if roomy.ample(pairs, nodes):
        return roomy
    tight = Budget(measured(model, access), memory)
    tight.check(pairs)
    return tight


class Budget:
    """What one call may hold at a time; shrinks when memory runs out all the same.

    whole: endings are the whole texts, not what follows the shared prefix.
    limit: how many rows a pass may take, after running out of memory; across: how many positions a contraction may.
    """

    def __init__(self, footprint: Footprint, memory: Any, whole: bool = False) -> None:
        self.footprint = footprint
        self.memory = checked(memory, footprint.access.device)
        self.whole = whole
        self.limit = Limit()
        self.across = Limit()
        self._side = Limit()

    @property
    def about(self) -> dict[str, Any]:
        """What a result says of running out of memory: nothing where it did not."""
        limits = {"rows": self.limit, "positions": self.across, "pairs": self._side}
        return {f"{what}_after_out_of_memory": limit.most for what, limit in limits.items() if limit.halvings}

    def over_pairs(
        self, pairs: Pairs, batch: int | None, work: Callable[[list[int], Bar], Result], bar: Bar
    ) -> list[Result]:
        """What ``work`` gives on all pairs, alike ones side by side and at most ``batch``; half as many wherever memory
        runs out even for one row of each.

        ``work`` takes indices and a bar to report to. Raises InputError where one row of one pair does not fit.
        """
        found = []
        for group in self.groups(pairs, batch):

            def tried(part: slice, group: list[int] = group) -> Result:
                return self._reported(work, pairs, group[part], bar)

            found += [result for _, result in self._side.parts(len(group), len(group), tried)]
        return found

    def _reported(self, work: Callable[[list[int], Bar], Result], pairs: Pairs, group: list[int], bar: Bar) -> Result:
        """One batch's result; the bar says what memory did to it, and takes back the steps of a batch that failed."""
        halvings, steps = self.limit.halvings, _Steps(bar)
        try:
            result = work(group, steps)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            bar.advance(-steps.done, "out of memory: fewer pairs at a time")
            if len(group) > 1:
                raise
            raise InputError(
                f"pair {group[0]} of {len(pairs[group[0]].clean)} tokens does not fit in memory with one run at a "
                "time; use shorter texts, a smaller dtype or a device with more memory"
            ) from error
        if self.limit.halvings > halvings:
            bar.advance(0, "out of memory: fewer runs at a time")
        return result

    def groups(self, pairs: Pairs, batch: int | None) -> list[list[int]]:
        """Which pairs go side by side. Raises InputError where ``batch`` is below 1."""
        if batch is not None and (not isinstance(batch, int) or batch < 1):
            raise InputError(f"found batch={batch!r}; give at least 1 pair per batch, or None")
        columns = max(len(pair.positions) for pair in pairs)

        def most(ending: int, total: int) -> int:
            fit = self._pairs(Sizes(total if self.whole else ending, total, columns))
            return fit if batch is None else min(batch, fit)

        return alike(pairs, self.footprint.access, most)

    def ample(self, pairs: Pairs, nodes: int) -> bool:
        """Whether a pass may hold all ``nodes`` rows of all pairs, or as many as a CPU can use."""
        if self.footprint.access.device.type != "cpu":
            return False
        largest = Sizes(*(max(each) for each in zip(*self._sizes(pairs), strict=True)))
        rows = max(1, min(CPU_TOKENS // largest.ending, len(pairs) * nodes))
        side = min(len(pairs), max(1, rows // NODES))
        taken = side * self.footprint.pair(largest) + rows * self.footprint.row(largest)
        room: bool = taken + largest.ending * self.footprint.position(side, rows, 1) <= self.memory // 2
        return room

    def rows(self, sizes: Sizes, pairs: int) -> int:
        """Rows of a pass beside ``pairs`` pairs."""
        left = self.memory - pairs * self.footprint.pair(sizes)
        return min(self._rows(sizes, left // 2), self.limit.most)

    def nodes(self, sizes: Sizes, pairs: int) -> int:
        """Nodes of each of ``pairs`` pairs whose means are kept until they are contracted together."""
        left = self.memory - pairs * self.footprint.pair(sizes)
        return max(1, left // 4 // (pairs * sizes.ending * self.footprint.node))

    def positions(self, sizes: Sizes, pairs: int, groups: int, nodes: int) -> int:
        """Positions of one round of the contraction of ``groups`` × ``nodes`` rows' means, in half of what is left
        after a pass: the allocator does not give back all that the pass has freed."""
        rows = min(groups * nodes, self.rows(sizes, pairs))
        taken = pairs * self.footprint.pair(sizes) + rows * self.footprint.row(sizes)
        taken += groups * nodes * sizes.ending * self.footprint.node
        return max(1, (self.memory - taken) // 2 // self.footprint.position(pairs, groups, nodes))

    def check(self, pairs: Pairs) -> None:
        """Raises InputError where not one row of one of the pairs fits."""
        for sizes in set(self._sizes(pairs)):
            one = self.footprint
            needed = one.pair(sizes) + one.row(sizes) + 2 * one.position(1, 1, 1)
            if needed > self.memory:
                raise InputError(
                    f"one run of a pair of {sizes.total} tokens, {sizes.ending} of them from the first difference on, "
                    f"needs {needed:,} bytes beside the model; memory allows {self.memory:,}"
                )

    def _sizes(self, pairs: Pairs) -> list[Sizes]:
        return [Sizes.of(pair, self.whole) for pair in pairs]

    def _pairs(self, sizes: Sizes) -> int:
        """Pairs of a batch: as many as fill a pass with a few rows each, in a third of the budget; at least one."""
        each = self.footprint.pair(sizes)
        return max(1, min(self.memory // 3 // each, self._rows(sizes, self.memory // 2) // NODES))

    def _rows(self, sizes: Sizes, memory: int) -> int:
        rows = max(1, memory // self.footprint.row(sizes))
        return min(rows, max(1, CPU_TOKENS // sizes.ending)) if self.footprint.access.device.type == "cpu" else rows


class _Steps:
    """A bar that counts what it passes on."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self.done = 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        self._bar.advance(steps, note)
