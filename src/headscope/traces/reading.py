"""Read one response: its steps, its trajectory to the answer, its loop, and the kind of failure if it is wrong."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from headscope.traces.calculations import Calculation, find_calculations
from headscope.traces.loops import LEAST_TOKENS, Loop, find_loop, recurring_steps
from headscope.traces.marks import find_marks
from headscope.traces.spans import TokenEnds, place_steps
from headscope.traces.steps import Step
from headscope.traces.text_steps import split_steps
from headscope.traces.trajectory import Trajectory, answer_trajectory

FAILURES = ("loop", "unfinished", "over-thinking", "slip", "guess", "no answer", "other")
"""Kinds of failure, the first that applies. In results a slip is named by its kind: ``calculation``, ``retrieval``. A
guess is an answer without a step before it or a calculation in it."""

STATEMENTS_TOKENS = 15
"""Tokens of the shortest periodic tail in a lab response: three statements."""
SHORTEST_RECURRENCE = 20
"""Characters; shorter steps (``So``, ``x = 5.``) come back without being a loop. Code and lab statements count always.
"""
LOOPING_SHARE = 0.25
"""Of a response's characters: what steps that come three times or more fill in a response that loops."""
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Trace:
    """One response, read.

    Attributes:
        steps: in order.
        trajectory: its trajectory to the answer.
        loop: its periodic tail, None if it has none.
        recurring: number of different steps that occur three times or more.
        recurring_share: their share of its characters.
    """

    steps: tuple[Step, ...]
    trajectory: Trajectory
    loop: Loop | None
    recurring: int
    recurring_share: float

    @property
    def loops(self) -> bool:
        """Return whether the response repeats itself.

        A stock phrase (``Let me check that again.``) three times in a long thought is not a loop; recurring steps that
        make up ``LOOPING_SHARE`` of the response are.
        """
        return self.loop is not None or self.recurring_share >= LOOPING_SHARE

    @property
    def first_slip(self) -> Step | None:
        """Return the first step with a slip that is not repaired; None if there is none."""
        return next((step for step in self.steps if step.slip and not step.repaired), None)

    def failure(self, verdict: str) -> str:
        """Return the first kind of ``FAILURES`` that applies to the response; empty if it is right.

        verdict: the checker's verdict, one of ``VERDICTS`` of samples.
        """
        if verdict == "correct":
            return ""
        if self.loops:
            return "loop"
        if verdict == "unfinished":
            return "unfinished"
        if self.trajectory.solved_at is not None:
            return "over-thinking"
        slip = self.first_slip
        if slip is not None:
            return slip.slip
        if self._is_guess:
            return "guess"
        return "no answer" if verdict == "unparsed" else "other"

    @property
    def _is_guess(self) -> bool:
        return len(self.steps) == 1 and self.steps[0].answers and not self.steps[0].checked + self.steps[0].unchecked


def read_text(response: str, states: Callable[[str], str]) -> tuple[Step, ...]:
    """Return the steps of a response in running text, their calculations checked and their strategies marked.

    A wrong calculation is a slip of the kind ``calculation``. It is repaired if a later step computes the same
    correctly.

    Args:
        response: its text.
        states: returns the answer that a step states, empty if it states none.
    """
    steps = []
    right_later: set[str] = set()
    for step in reversed(split_steps(response)):
        text = response[step.start : step.end]
        calculations = () if step.kind == "code" else _calculations(text)
        wrong = [_left_side(text, calculation) for calculation in calculations if calculation.right is False]
        value = states(text) if step.kind != "code" else ""
        steps.append(
            replace(
                step,
                slip="calculation" if wrong else "",
                repaired=bool(wrong) and right_later.issuperset(wrong),
                value=value,
                answers=bool(value),
                checked=sum(calculation.right is not None for calculation in calculations),
                unchecked=sum(calculation.right is None for calculation in calculations),
                marks=find_marks(text),
            )
        )
        right_later |= {_left_side(text, calculation) for calculation in calculations if calculation.right}
    return tuple(reversed(steps))


def read_trace(
    response: str,
    tokens: Sequence[int],
    steps: Sequence[Step],
    is_right: Callable[[str], bool],
    *,
    count: int,
    ends: TokenEnds | None = None,
    statements: bool = False,
) -> Trace:
    """Return the trace of a response whose steps are known.

    Args:
        response: its text.
        tokens: its ids without the stop token; empty if they were not kept.
        steps: its steps in order; those without token positions get them from ``ends``.
        is_right: returns whether a stated value is the answer to the problem.
        count: its length in tokens, known even if the ids were not kept.
        ends: ends of its tokens in the text (``TokenTexts``).
        statements: whether it is a lab response, whose steps are statements.
    """
    if ends is not None and len(ends):
        steps = place_steps(steps, ends)
    least_tokens = STATEMENTS_TOKENS if statements else LEAST_TOKENS
    loop = find_loop(tokens, least_tokens=least_tokens) if len(tokens) else None
    texts = [response[step.start : step.end] for step in steps if statements or _may_recur(step)]
    trajectory = answer_trajectory(steps, is_right, count)
    recurring = recurring_steps(texts)
    repeated = sum(len(text) * len(places) for text, places in recurring.items())
    return Trace(tuple(steps), trajectory, loop, len(recurring), repeated / max(1, len(response)))


@lru_cache(maxsize=4096)
def _calculations(text: str) -> tuple[Calculation, ...]:
    """Return the calculations of a step, cached: an answer of a million characters is a loop with the same steps."""
    return tuple(find_calculations(text))


def _may_recur(step: Step) -> bool:
    return step.kind == "code" or step.end - step.start >= SHORTEST_RECURRENCE


def _left_side(text: str, calculation: Calculation) -> str:
    written = text[calculation.start : calculation.end]
    return _SPACE.sub("", re.split(r"[=≈≃]|\\approx|\\simeq", written, maxsplit=1)[0])
