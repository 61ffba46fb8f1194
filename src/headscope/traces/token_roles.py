"""What each token of a running text is for, by the step it stands in."""

from collections.abc import Sequence

from headscope.traces.steps import Step

ROLES = ("calculation", "re-check", "answer", "other")


def token_roles(steps: Sequence[Step], tokens: int) -> list[str]:
    """Return the role of each of a response's tokens.

    A step that states the answer is *answer*, one with a sign of verification *re-check*, one with a calculation that
    could be checked *calculation*, the first that applies; every other token is *other*.

    Args:
        steps: of the response, with their token positions.
        tokens: how many the response has.
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
