"""Pairs grouped by problem: problems are resampled, halved and counted, with all their pairs.

Pairs of one problem share the problem's effect on a model. Counted as independent, they would give intervals that are
too narrow.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from headscope.errors import InputError, count_noun

Labels = tuple[str, ...] | None
"""The problem of each pair; None if every pair is a problem of its own."""

ProblemNames = Iterable[object]
"""Texts or whole numbers, as a caller gives them; what is in them is checked, not assumed."""


@dataclass(frozen=True, slots=True)
class SampleSize:
    """Size of a sample: independent ``problems`` with ``pairs`` pairs in total."""

    problems: int
    pairs: int

    @classmethod
    def of(cls, problems: int | None, pairs: int) -> "SampleSize":
        """Return the size of pairs of so many problems; None counts every pair as its own problem."""
        return cls(pairs if problems is None else problems, pairs)

    @property
    def unit(self) -> str:
        """Return the independent unit in a word: problem, or pair if each is its own problem."""
        return "pair" if self.problems == self.pairs else "problem"

    @property
    def short(self) -> str:
        """Return the size as a table shows it: ``64``, or ``15 problems × 4.3``, the mean number of pairs."""
        if self.problems == self.pairs:
            return str(self.pairs)
        return f"{count_noun(self.problems, 'problem')} × {self.pairs / self.problems:.1f}".removesuffix(".0")

    def __str__(self) -> str:
        return f"{self.short} pairs"


@dataclass(frozen=True, eq=False)
class ProblemGroups:
    """The pairs of a set, grouped by problem.

    numbers: number of each pair's problem, from 0 in the order in which problems first appear.
    """

    numbers: Int[np.ndarray, "pair"]

    @classmethod
    def of(cls, *sets: tuple[Labels, int]) -> "ProblemGroups":
        """Return the groups of one set of pairs, or of several one after the other: (labels, number of pairs) each.

        A label means the same problem in every set.
        """
        number_of: dict[object, int] = {}
        numbers = []
        for index, (labels, pairs) in enumerate(sets):
            keys: Iterable[object] = ((index, pair) for pair in range(pairs)) if labels is None else labels
            numbers += [number_of.setdefault(key, len(number_of)) for key in keys]
        return cls(np.array(numbers, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of problems."""
        return len(self.sizes)

    @cached_property
    def sizes(self) -> "Int[np.ndarray, 'problem']":
        """Return the number of pairs of each problem."""
        return np.bincount(self.numbers)

    @property
    def size(self) -> SampleSize:
        """Return the numbers of problems and pairs."""
        return SampleSize(len(self), len(self.numbers))

    def require(self, purpose: str) -> None:
        """Raise InputError if there are fewer than two problems; ``purpose`` is named in the message."""
        if len(self) < 2:
            size = f"{len(self.numbers)} pairs of 1 problem" if len(self.numbers) > 1 else f"{len(self.numbers)} pair"
            raise InputError(f"found {size}; {purpose} needs at least 2 problems")

    def means(self, values: "Float[np.ndarray, 'pair *cell']") -> "Float[np.ndarray, 'problem *cell']":
        """Return the mean over each problem's pairs."""
        if len(self) == len(self.numbers):  # in the order of first appearance, so each pair is in its place
            return values
        means = np.empty((len(self), *values.shape[1:]), dtype=values.dtype)
        for problem in range(len(self)):
            # In float64, so that equal pairs have their own value for a mean, to the last bit.
            means[problem] = values[self.numbers == problem].mean(axis=0, dtype=np.float64)
        return means

    def average(self, means: "Float[np.ndarray, 'problem *cell']") -> "Float[np.ndarray, '*cell']":
        """Return the mean over all pairs from the ``means`` over each problem's pairs."""
        if len(set(self.sizes.tolist())) == 1:
            return np.asarray(means.mean(axis=0))
        return np.asarray(np.average(means, axis=0, weights=self.sizes)).astype(means.dtype)

    def totals(self, values: "Float[np.ndarray, 'pair *cell']") -> "Float[np.ndarray, 'problem *cell']":
        """Return the sum over each problem's pairs, times problems / pairs: their mean is the mean over all pairs."""
        factors = self.sizes * (len(self) / len(self.numbers))
        return np.asarray(self.means(values) * factors.reshape(-1, *[1] * (values.ndim - 1)))

    def pair_weights(self, weights: "Float[np.ndarray, '*rows problem']") -> "Float[np.ndarray, '*rows pair']":
        """Return weights of pairs from weights of problems, shared equally among their pairs."""
        return np.take(weights / self.sizes, self.numbers, axis=-1)


def problem_labels(problems: ProblemNames | None) -> Labels:
    """Return the problems' names as strings. Raises InputError if one is neither text nor whole number."""
    if problems is None:
        return None
    if isinstance(problems, str):
        raise InputError(f"problems are one text, {problems[:40]!r}; give a list with each pair's problem")
    names = list(problems)
    for index, problem in enumerate(names):
        if not isinstance(problem, str | int | np.integer) or isinstance(problem, bool):
            raise InputError(f"problem of pair {index} is {problem!r:.40}; give each pair's problem a name or number")
    return tuple(str(name) for name in names)


def check_labels(labels: Labels, pairs: int, title: str = "pairs") -> None:
    """Raise InputError unless there is one label for each pair; ``title`` is the message's word for the pairs."""
    if labels is not None and len(labels) != pairs:
        raise InputError(f"problems hold {len(labels)} labels for {pairs} {title}; give one for each")
