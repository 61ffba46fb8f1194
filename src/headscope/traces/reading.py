"""Read one response: its steps, its way to the answer, its loop, and, if it is wrong, the kind of its failure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from headscope.traces.calculations import Calculation, find_calculations
from headscope.traces.loops import LEAST_TOKENS, Loop, find_loop, recurring_steps
from headscope.traces.marks import find_marks
from headscope.traces.spans import TokenEnds, token_spans
from headscope.traces.steps import Step
from headscope.traces.text_steps import split_steps
from headscope.traces.trajectory import Trajectory, answer_trajectory

FAILURES = ("loop", "unfinished", "over-thinking", "slip", "no answer", "other")
"""Kinds of failure, the first that applies. In results a slip is named by its kind: ``calculation``, ``retrieval``."""

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
        trajectory: its way to the answer.
        loop: its periodic tail, None if it has none.
        recurring: how many steps stand in it three times or more, each counted once.
        recurring_share: share of its characters that these take up.
    """

    steps: tuple[Step, ...]
    trajectory: Trajectory
    loop: Loop | None
    recurring: int
    recurring_share: float

    @property
    def loops(self) -> bool:
        """Return whether it repeats itself.

        A stock sentence (``Let me check that again.``) that comes three times in a long thought is no loop; steps that
        come back and fill ``LOOPING_SHARE`` of it are.
        """
        return self.loop is not None or self.recurring_share >= LOOPING_SHARE

    @property
    def first_slip(self) -> Step | None:
        """The first slip that nothing puts right; None if there is none."""
        return next((step for step in self.steps if step.slip and not step.repaired), None)

    def failure(self, verdict: str) -> str:
        """Return why the response failed, the first kind of ``FAILURES`` that applies; empty if it is right.

        verdict: what the checker says of it, one of ``VERDICTS`` of samples.
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
        return "no answer" if verdict == "unparsed" else "other"


def read_text(response: str, states: Callable[[str], str]) -> tuple[Step, ...]:
    """Return the steps of a response in running text, their calculations checked and their strategies marked.

    A wrong calculation is a slip of the kind ``calculation``. It is repaired if a later step computes the same again
    and gets it right.

    Args:
        response: its text.
        states: returns the answer to the problem that a step states, empty for none.
    """
    steps = []
    right_later: set[str] = set()
    for step in reversed(split_steps(response)):
        text = response[step.start : step.end]
        calculations = () if step.role == "code" else _calculations(text)
        wrong = [_left_side(text, calculation) for calculation in calculations if calculation.right is False]
        value = states(text) if step.role != "code" else ""
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
        tokens: its ids, its stop token left out; empty if they were not kept.
        steps: in order; those without token positions get them from ``ends``.
        is_right: whether a stated value is the answer to the problem.
        count: its length in tokens, also if the ids were not kept.
        ends: where its tokens end in the text (``TokenTexts``).
        statements: whether it is a lab response, whose steps are statements.
    """
    if ends is not None and len(ends):
        firsts, lasts = token_spans(ends, [step.start for step in steps], [step.end for step in steps])
        steps = [
            replace(step, first_token=int(first), last_token=int(last))
            for step, first, last in zip(steps, firsts, lasts, strict=True)
        ]
    loop = find_loop(tokens, least_tokens=STATEMENTS_TOKENS if statements else LEAST_TOKENS) if len(tokens) else None
    texts = [response[step.start : step.end] for step in steps if statements or _may_recur(step)]
    trajectory = answer_trajectory(steps, is_right, count)
    recurring = recurring_steps(texts)
    repeated = sum(len(text) * len(places) for text, places in recurring.items())
    return Trace(tuple(steps), trajectory, loop, len(recurring), repeated / max(1, len(response)))


@lru_cache(maxsize=4096)
def _calculations(text: str) -> tuple[Calculation, ...]:
    """Return the calculations of a step, kept: an answer of a million characters is a loop, and says the same again."""
    return tuple(find_calculations(text))


def _may_recur(step: Step) -> bool:
    return step.role == "code" or step.end - step.start >= SHORTEST_RECURRENCE


def _left_side(text: str, calculation: Calculation) -> str:
    written = text[calculation.start : calculation.end]
    return _SPACE.sub("", re.split(r"[=≈≃]|\\approx|\\simeq", written, maxsplit=1)[0])
