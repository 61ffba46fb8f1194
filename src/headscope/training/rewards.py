"""Rewards as plain functions TRL calls: ``reward(prompts, completions, **columns) -> list[float]``."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

Turn = str | Sequence[Mapping[str, object]]
"""A prompt or completion: plain text or chat messages."""


@runtime_checkable
class Reward(Protocol):
    """A function that scores completions; its ``__name__`` is the reward's name in the log."""

    def __call__(self, prompts: list[Turn], completions: list[Turn], **columns: Any) -> Sequence[float | None]:
        """Return one number per completion, or None if the reward does not apply to it.

        columns: the prompts' further columns, each a list as long as completions.
        """


_NUMBER = r"-?\d[\d,]*(?:\.\d+)?"
# A number, at least one sign with another number, and one result; ``a=b=c`` counts as its first equation.
_EQUATION = re.compile(rf"({_NUMBER}(?:\s*[-+*/×·÷]\s*{_NUMBER})+)\s*=\s*({_NUMBER})")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", ",": None, " ": None})


def completion_text(completion: Turn) -> str:
    """Return a completion's text, be it a string or a list of chat messages."""
    return completion if isinstance(completion, str) else "".join(str(message["content"]) for message in completion)


def format_reward(prompts: list[Turn], completions: list[Turn], **columns: object) -> list[float | None]:
    """Return 1 for one ``<think>…</think>`` (it may be empty) followed by an answer, else 0.

    A template that prefills ``<think>`` leaves the opening tag in the prompt; it is then counted as written.
    """
    scores: list[float | None] = []
    for prompt, completion in zip(prompts, completions, strict=True):
        text = completion_text(completion)
        is_prefilled = completion_text(prompt).rstrip().endswith("<think>")
        scores.append(float(_is_thought_then_answer("<think>" + text if is_prefilled else text)))
    return scores


def _is_thought_then_answer(text: str) -> bool:
    head, _, answer = text.partition("</think>")
    if not head.lstrip().startswith("<think>") or head.count("<think>") > 1:
        return False
    return bool(answer.strip()) and "<think>" not in answer and "</think>" not in answer


def calculation_reward(prompts: list[Turn], completions: list[Turn], **columns: object) -> list[float | None]:
    """Return the calculation reliability: the share of equations between numbers (``12*4=48``, ``1.5 + 2 × 3 = 7.5``)
    that are right to a relative 1e-6 or to the decimals written; None if a completion holds none.
    """
    scores: list[float | None] = []
    for completion in completions:
        equations = _EQUATION.findall(completion_text(completion))
        right = [_holds(left, result) for left, result in equations]
        scores.append(sum(right) / len(right) if right else None)
    return scores


def _holds(left: str, result: str) -> bool:
    """Return whether the written result is the value of the left side."""
    value = _evaluate(left.translate(_SIGNS))
    written = result.replace(",", "")
    decimals = len(written.partition(".")[2])
    # 2/3=0.667 is rounded, not wrong; whole numbers are exact.
    slack = max(1e-6 * abs(value), 0.5 * 10**-decimals if decimals else 0.0)
    # A result half a unit of its last digit off is still rounded; its difference in binary may be a little more.
    return abs(value - float(written)) <= slack * (1 + 1e-9)


def _evaluate(expression: str) -> float:
    """Evaluate products before sums, left to right; NaN for a division by zero."""
    total = 0.0
    for term in re.findall(r"[-+]?[^-+*/]+(?:[*/]-?[^-+*/]+)*", expression):
        first, *factors = re.split(r"([*/])", term)
        value = float(first)
        for sign, factor in zip(factors[::2], factors[1::2], strict=True):
            number = float(factor)
            if sign == "*":
                value *= number
            else:
                value = value / number if number else float("nan")
        total += value
    return total
