"""The trajectory to an answer: when it was first right, what was written after that, and whether it was lost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from headscope.traces.steps import Step


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Trajectory of a response to its answer.

    Attributes:
        solved_at: index of the first step that states the right answer; None if none does.
        tokens: number of tokens of the response.
        tokens_to_right: number up to the end of that step; None if there is none or tokens are unknown.
        right: whether the last stated answer is right.
        right_to_wrong: number of right answers followed by a wrong one; wrong_to_right: the reverse.
    """

    solved_at: int | None
    tokens: int
    tokens_to_right: int | None
    right: bool
    right_to_wrong: int
    wrong_to_right: int


def answer_trajectory(steps: Sequence[Step], is_right: Callable[[str], bool], tokens: int) -> Trajectory:
    """Return the trajectory of a response.

    Args:
        steps: steps of the response in order, of which those with ``answers`` are used.
        is_right: returns whether a stated value is the answer.
        tokens: number of tokens of the response.
    """
    stated = [(index, is_right(step.value)) for index, step in enumerate(steps) if step.answers]
    flips = list(pairwise(right for _, right in stated))
    solved_at = next((index for index, right in stated if right), None)
    has_position = solved_at is not None and steps[solved_at].last_token >= 0
    return Trajectory(
        solved_at=solved_at,
        tokens=tokens,
        tokens_to_right=steps[solved_at].last_token if solved_at is not None and has_position else None,
        right=bool(stated) and stated[-1][1],
        right_to_wrong=flips.count((True, False)),
        wrong_to_right=flips.count((False, True)),
    )
