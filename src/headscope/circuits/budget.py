"""A memory budget: how many pairs, rows and positions are computed at a time.

If memory runs out although the budget was kept, fewer are computed at a time from then on (``models.memory``).
"""

from collections.abc import Callable

from transformers import PreTrainedModel

from headscope.circuits.batches import CPU_TOKENS, EXPECTED_ROWS_PER_PAIR, Sizes, group_pairs
from headscope.circuits.footprint import Footprint, attribution_bound, attribution_footprint
from headscope.errors import InputError, is_out_of_memory
from headscope.models import HeadAccess
from headscope.models.memory import Limit, Result, bytes_allowed
from headscope.pairs import Pairs
from headscope.progress import Bar


def attribution_budget(
    model: PreTrainedModel, access: HeadAccess, pairs: Pairs, nodes: int, memory: int | None, batch: int | None
) -> "Budget":
    """Return the budget of attribution with ``nodes`` nodes per pair; memory and batch as in ``Budget``.

    The footprint is measured only if its upper bound would limit the pass: the measuring pass reads every weight,
    which is slow on a CPU. Raises InputError if not even one node of one pair fits.
    """
    memory = bytes_allowed(memory, access.device)
    budget = Budget(attribution_bound(model, access), memory, batch)
    if not budget.is_ample(pairs, nodes):
        budget = Budget(attribution_footprint(model, access), memory, batch)
        budget.check(pairs)
    return budget


class Budget:
    """Divides the work of one call into passes that fit in memory; after running out of memory, into smaller ones.

    footprint: bytes per pair, row and position. memory: bytes that may be used; None allows half of what is free.
    batch: largest number of pairs in a batch; None derives it from the memory.
    whole: endings are the entire texts, not what follows the shared prefix.
    row_limit: how many rows a pass may take, after running out of memory.
    position_limit: how many positions a contraction may take, after running out of memory.

    Raises:
        InputError: if ``batch`` is below 1.
    """

    def __init__(
        self, footprint: Footprint, memory: int | None, batch: int | None = None, *, whole: bool = False
    ) -> None:
        if batch is not None and (not isinstance(batch, int) or batch < 1):
            raise InputError(f"found batch={batch!r}; give at least 1 pair per batch, or None")
        self.footprint = footprint
        self.batch = batch
        self.memory = bytes_allowed(memory, footprint.access.device)
        self.whole = whole
        self.row_limit = Limit()
        self.position_limit = Limit()
        self._pair_limit = Limit()

    @property
    def shortages(self) -> dict[str, int]:
        """Return the limits after running out of memory, as a result records them; empty if that did not happen."""
        limits = {"rows": self.row_limit, "positions": self.position_limit, "pairs": self._pair_limit}
        return {f"{name}_after_out_of_memory": limit.count for name, limit in limits.items() if limit.halvings}

    def over_pairs(self, pairs: Pairs, work: Callable[[list[int], Bar], Result], bar: Bar) -> list[Result]:
        """Return the results of ``work`` on all pairs, batch by batch; similar pairs share a batch.

        A batch is halved if memory runs out even for one row of each of its pairs.

        Args:
            pairs: all pairs.
            work: computes one batch from its pairs' indices, and reports to the bar it is given.
            bar: receives the work's steps.

        Raises:
            InputError: if one row of one pair does not fit.
        """
        results = []
        for group in self._groups(pairs):

            def run_part(part: slice, group: list[int] = group) -> Result:
                return self._run_batch(work, pairs, group[part], bar)

            results += [result for _, result in self._pair_limit.run_parts(len(group), len(group), run_part)]
        return results

    def _run_batch(self, work: Callable[[list[int], Bar], Result], pairs: Pairs, group: list[int], bar: Bar) -> Result:
        """Return one batch's result; the bar reports a lack of memory and takes back the steps of a failed batch."""
        halvings, counter = self.row_limit.halvings, _CountingBar(bar)
        try:
            result = work(group, counter)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            bar.advance(-counter.steps, "out of memory: fewer pairs at a time")
            if len(group) > 1:
                raise
            raise InputError(
                f"pair {group[0]} of {len(pairs[group[0]].clean)} tokens does not fit in memory with one run at a "
                "time; use shorter texts, a smaller dtype or a device with more memory"
            ) from error
        if self.row_limit.halvings > halvings:
            bar.advance(0, "out of memory: fewer runs at a time")
        return result

    def _groups(self, pairs: Pairs) -> list[list[int]]:
        """Return the batches, as indices of pairs."""
        columns = max(len(pair.positions) for pair in pairs)

        def capacity(ending: int, total: int) -> int:
            fitting = self._pairs_that_fit(Sizes(total if self.whole else ending, total, columns))
            return fitting if self.batch is None else min(self.batch, fitting)

        return group_pairs(pairs, self.footprint.access, capacity)

    def is_ample(self, pairs: Pairs, nodes: int) -> bool:
        """Return whether, on a CPU, all useful rows of all pairs fit in half of the memory.

        False on other devices, where the footprint is always measured.
        """
        if self.footprint.access.device.type != "cpu":
            return False
        sizes = self._sizes(pairs)
        largest = Sizes(
            ending=max(size.ending for size in sizes),
            total=max(size.total for size in sizes),
            columns=max(size.columns for size in sizes),
        )
        rows = max(1, min(CPU_TOKENS // largest.ending, len(pairs) * nodes))
        side_by_side = min(len(pairs), max(1, rows // EXPECTED_ROWS_PER_PAIR))
        needed = side_by_side * self.footprint.pair(largest) + rows * self.footprint.row(largest)
        needed += largest.ending * self.footprint.position(side_by_side, rows, 1)
        return bool(needed <= self.memory // 2)

    def rows(self, sizes: Sizes, pairs: int) -> int:
        """Return how many rows fit in a pass while ``pairs`` pairs are in memory."""
        available = self.memory - pairs * self.footprint.pair(sizes)
        # Half: the contraction of what the pass leaves needs room too.
        return min(self._rows_that_fit(sizes, available // 2), self.row_limit.count)

    def nodes(self, sizes: Sizes, pairs: int) -> int:
        """Return how many nodes' means of each of ``pairs`` pairs fit in memory before they are contracted."""
        available = self.memory - pairs * self.footprint.pair(sizes)
        return max(1, available // 4 // (pairs * sizes.ending * self.footprint.node))

    def held_rows(self, sizes: Sizes, pairs: int) -> int:
        """Return how many single rows of ``pairs`` pairs fit in memory with their readings."""
        available = self.memory - pairs * self.footprint.pair(sizes)
        return max(0, available // 4 // (sizes.ending * (self.footprint.held + self.footprint.node)))

    def positions(self, sizes: Sizes, pairs: int, groups: int, nodes: int) -> int:
        """Return how many positions of the means of ``groups`` × ``nodes`` rows are contracted at a time."""
        rows = min(groups * nodes, self.rows(sizes, pairs))
        held = pairs * self.footprint.pair(sizes) + rows * self.footprint.row(sizes)
        held += groups * nodes * sizes.ending * self.footprint.node
        # Half of what is left, and rows still count: the allocator does not give back all that a pass has freed.
        return max(1, (self.memory - held) // 2 // self.footprint.position(pairs, groups, nodes))

    def check(self, pairs: Pairs) -> None:
        """Raise InputError if not even one row of one of the pairs fits."""
        footprint = self.footprint
        for sizes in set(self._sizes(pairs)):
            needed = footprint.pair(sizes) + footprint.row(sizes) + 2 * footprint.position(1, 1, 1)
            if needed > self.memory:
                raise InputError(
                    f"one run of a pair of {sizes.total} tokens, {sizes.ending} of them from the first difference on, "
                    f"needs {needed:,} bytes in addition to the model; memory allows {self.memory:,}"
                )

    def _sizes(self, pairs: Pairs) -> list[Sizes]:
        return [Sizes.of(pair, self.whole) for pair in pairs]

    def _pairs_that_fit(self, sizes: Sizes) -> int:
        """Return a batch's size: pairs that fill a pass with a few rows each, in a third of the budget; at least 1."""
        fitting = self.memory // 3 // self.footprint.pair(sizes)
        return max(1, min(fitting, self._rows_that_fit(sizes, self.memory // 2) // EXPECTED_ROWS_PER_PAIR))

    def _rows_that_fit(self, sizes: Sizes, memory: int) -> int:
        rows = max(1, memory // self.footprint.row(sizes))
        if self.footprint.access.device.type != "cpu":
            return rows
        return min(rows, max(1, CPU_TOKENS // sizes.ending))


class _CountingBar:
    """A bar that counts the steps that it passes on to another."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self.steps = 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.steps += steps
        self._bar.advance(steps, note)
