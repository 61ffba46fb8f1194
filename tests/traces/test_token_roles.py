"""Roles of tokens in running text, by the step they stand in."""

from headscope.traces.steps import Step
from headscope.traces.token_roles import text_token_roles


def test_the_first_role_that_applies() -> None:
    steps = [
        Step("thinking", 0, 9, 1, 3, checked=1),
        Step("thinking", 10, 19, 3, 4, checked=1, marks=("verification",)),
        Step("thinking", 20, 29, 4, 5),
        Step("answer", 30, 39, 5, 7, value="7", answers=True, checked=1, marks=("verification",)),
        Step("answer", 40, 49),  # its tokens are unknown
    ]
    expected = ["other", "calculation", "calculation", "re-check", "other", "answer", "answer", "other"]
    assert text_token_roles(steps, 8) == expected
