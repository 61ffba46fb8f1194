"""Roles of the tokens of a lab response: one role per token, named as the errors it can hold (``statements``).

- *retrieval*: it copies a definition from the prompt: operand, operator and digit of a definition, operator and digit
  of a fold;
- *iteration*: it carries the last value on, as a fold's operand;
- *calculation*: it is a fold's result; *recall*: a fact's value;
- *plan*: it says which variable is next, or that the thought is done;
- *re-check*: any token of a fold that is done again, ``wait`` included;
- *answer*: the answer; *form*: every other sign and marker.

Tokens after one that leaves the course (``labels``) have no role.
"""

from headscope.lab.labels import BETWEEN, PROMPT_AT, WAIT, TokenLabel, label, symbols
from headscope.traces.spans import CarriedSpan

LAB_TOKEN_ROLES = ("retrieval", "iteration", "calculation", "recall", "plan", "re-check", "answer", "form")


def lab_token_roles(prompt: str, response: str) -> list[str]:
    """Return the role of each token of a response, up to the first that leaves the course.

    response: its text, the token that ends it included or not.
    """
    roles = []
    in_recheck = False
    for token in label(prompt, response):
        in_recheck = in_recheck or token.symbol == WAIT
        roles.append("re-check" if in_recheck else _role(token))
        if token.symbol == ";":
            in_recheck = False
    return roles


def carried_values(prompt: str, response: str) -> list[CarriedSpan]:
    """Return every value that a fold starts from and where it was written, as tokens of the response."""
    begin = PROMPT_AT + len(symbols(prompt)) + BETWEEN
    carried = []
    for token in label(prompt, response):
        if token.slot == "operand" and token.previous is not None:
            (source,) = token.operands
            place = token.position - begin
            carried.append(CarriedSpan(place, place + 1, source - begin, source - begin + 1))
    return carried


def _role(token: TokenLabel) -> str:
    is_fold = token.previous is not None
    if token.slot == "result":
        return "calculation" if is_fold else "recall"
    if token.slot == "operand":
        return "iteration" if is_fold else "retrieval"
    if token.slot in ("operator", "digit", "fact"):
        return "retrieval"
    if token.slot == "target" or token.symbol == "</think>":
        return "plan"
    return "answer" if token.slot == "answer" else "form"
