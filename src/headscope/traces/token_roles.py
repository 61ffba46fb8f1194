"""Roles of the tokens of a running text, from the steps they belong to."""

from collections.abc import Sequence

from headscope.traces.steps import Step

TEXT_TOKEN_ROLES = ("calculation", "re-check", "answer", "other")


def text_token_roles(steps: Sequence[Step], tokens: int) -> list[str]:
    """Return the role of each of a response's tokens.

    The first of these that applies to a token's step: *answer* if it states the answer, *re-check* if it has a sign of
    verification, *calculation* if it has a calculation that could be checked, else *other*.

    Args:
        steps: steps of the response, with their token positions.
        tokens: number of tokens of the response.
    """
    roles = ["other"] * tokens
    for step in steps:
        if step.first_token >= 0:
            roles[step.first_token : step.last_token] = [_role(step)] * (step.last_token - step.first_token)
    return roles[:tokens]


def _role(step: Step) -> str:
    if step.answers:
        return "answer"
    if "verification" in step.marks:
        return "re-check"
    return "calculation" if step.checked else "other"
