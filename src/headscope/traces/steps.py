"""Steps: the pieces of a response that are judged separately."""

from dataclasses import dataclass
from typing import Literal

Part = Literal["thinking", "answer"]
Change = Literal["", "right→right", "right→wrong", "wrong→right", "wrong→wrong"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a response.

    Attributes:
        part: the thought or the answer after it.
        start: its first character in the response, counted in Unicode code points from 0.
        end: the character after its last one.
        first_token: its first token in the response, from 0; -1 if token ids are unknown.
        last_token: the token after its last one; -1 if unknown.
        kind: what it is, such as ``fold`` or ``sentence``.
        recheck: whether it does an earlier step again.
        change: of a re-check, whether the earlier result and the new one follow from what they were given.
        slip: the kind of error in it; empty if there is none or it cannot be judged.
        value: the result that it states; empty if it states none.
        answers: whether it states this as the answer to the problem, final or not.
        repaired: whether a later step corrects its slip.
        checked: number of its calculations that were checked; unchecked: number that could not be.
        marks: the strategies of which it has signs (``marks``).
    """

    part: Part
    start: int
    end: int
    first_token: int = -1
    last_token: int = -1
    kind: str = ""
    recheck: bool = False
    change: Change = ""
    slip: str = ""
    value: str = ""
    answers: bool = False
    repaired: bool = False
    checked: int = 0
    unchecked: int = 0
    marks: tuple[str, ...] = ()
