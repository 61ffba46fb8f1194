"""Transitions: how the answers of two models to the same problems differ, problem by problem."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from headscope.results import plots
from headscope.results.estimate import Estimate
from headscope.results.measures import McNemar
from headscope.results.numbers import state_p
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Transition:
    """One problem in both models.

    problem, group: its id, and its tier or level.
    before, after: share of right answers of either model, of ``samples`` answers each.
    p_value, q_value: Fisher's exact test of the two shares, and adjusted over problems (Benjamini and Hochberg); None
        with one answer each, for which there is no test.
    failure: why the first wrong answer of the second model is wrong, "" if it has none; failure_before: of the first's.
    divergence: first token in which their first answers differ, from 0; None if they are the same or ids are unknown.
    """

    problem: str
    group: str
    before: float
    after: float
    p_value: float | None = None
    q_value: float | None = None
    failure: str = ""
    failure_before: str = ""
    divergence: int | None = None


@dataclass(frozen=True, eq=False)
class Transitions(JsonResult):
    """Transitions from one model's answers to another's.

    flips: first answers that became right and wrong (McNemar). both_right, both_wrong: first answers that did not flip.
    change: of pass@1, paired by problem.
    problems: every problem, in the order of the samples. samples: answers each.
    newly_wrong: failure kinds of answers to problems that the first model answers right more often, counted over the
        answers that are wrong; wrong_in_both: of the problems no answer of either is right to.
    greedy: both were drawn at temperature 0, so that a divergence is the token at which the two answers split
        (the pivotal token).
    notes: sentences on what could not be compared.
    """

    kind: ClassVar[str] = "transitions"
    file: ClassVar[str] = "transitions.json"
    rows: ClassVar[Mapping[str, str]] = {"": "problems"}

    samples: int
    flips: McNemar
    both_right: int
    both_wrong: int
    change: Estimate
    problems: tuple[Transition, ...]
    newly_wrong: dict[str, int]
    wrong_in_both: dict[str, int]
    greedy: bool
    notes: tuple[str, ...] = field(default=())

    @property
    def newly_right(self) -> tuple[Transition, ...]:
        """Return the problems that the second model answers right more often, the largest change first."""
        gained = [problem for problem in self.problems if problem.after > problem.before]
        return tuple(sorted(gained, key=lambda problem: problem.before - problem.after))

    @property
    def lost(self) -> tuple[Transition, ...]:
        """Return the problems that the second model answers right less often, the largest change first."""
        lost = [problem for problem in self.problems if problem.after < problem.before]
        return tuple(sorted(lost, key=lambda problem: problem.after - problem.before))

    def plot(self) -> "Figure":
        """Return how first answers changed."""
        numbers = {"right in both": self.both_right, "newly right": self.flips.gained}
        numbers |= {"newly wrong": self.flips.lost, "wrong in both": self.both_wrong}
        return plots.bars(f"First answers, {state_p(self.flips.p_value)}", numbers, "problems")
