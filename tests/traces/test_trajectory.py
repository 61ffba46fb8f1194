"""Trajectories by hand, and of lab answers whose right value is written and lost."""

import pytest

from headscope.lab.statements import judge
from headscope.traces import Step, answer_trajectory


def _stating(*values: str) -> list[Step]:
    """Steps of ten tokens each; an empty value states nothing."""
    steps = []
    for index, value in enumerate(values):
        first = 10 * index
        steps.append(Step("thinking", first, first + 9, first, first + 10, value=value, answers=bool(value)))
    return steps


@pytest.mark.parametrize(
    ("values", "solved_at", "right", "flips"),
    [
        (["", "7", ""], 1, True, (0, 0)),
        (["7", "8"], 0, False, (1, 0)),
        (["8", "7", "", "8", "7"], 1, True, (1, 2)),
        (["8", "9"], None, False, (0, 0)),
        ([], None, False, (0, 0)),
    ],
)
def test_by_hand(values: list[str], solved_at: int | None, right: bool, flips: tuple[int, int]) -> None:
    tokens = 10 * len(values)
    trajectory = answer_trajectory(_stating(*values), lambda value: value == "7", tokens)
    assert (trajectory.solved_at, trajectory.right) == (solved_at, right)
    assert (trajectory.right_to_wrong, trajectory.wrong_to_right) == flips
    if solved_at is not None:
        assert trajectory.tokens_to_right == 10 * (solved_at + 1)
    else:
        assert trajectory.tokens_to_right is None


def test_a_recheck_that_goes_wrong_loses_a_right_answer() -> None:
    prompt = "c=4; j=c*4; ?j"
    response = "<think> okay j=c*4; c=4; j=4*4=6; wait j=4*4=8; </think> <ans> 8"
    trajectory = answer_trajectory(judge(prompt, response), lambda value: value == "6", 33)
    assert not trajectory.right
    assert (trajectory.right_to_wrong, trajectory.wrong_to_right) == (1, 0)
    assert trajectory.tokens_to_right == 20
    right = answer_trajectory(judge(prompt, response.replace("8", "6")), lambda value: value == "6", 33)
    assert right.right
