"""Rewards for register chains, read off the step labels; called as TRL calls rewards."""

from typing import Any

from headscope.lab.labels import TokenLabel, label, path_length


def lab_calculation(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
    """Calculation reliability: the share of written results that follow from their operands (mod 10); None where
    nothing was calculated.
    """
    return [_share([each for each in labels if each.role == "result"]) for labels in _labelled(prompts, completions)]


def lab_plan(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
    """Plan quality: the share of the path, from the query to the leaf, that was unwound definition by definition
    before the first mistake. 0 without thinking.
    """
    return [
        _unwound(labels, path_length(_text(prompt)))
        for labels, prompt in zip(_labelled(prompts, completions), prompts, strict=True)
    ]


def _labelled(prompts: list[Any], completions: list[Any]) -> list[tuple[TokenLabel, ...]]:
    return [label(_text(prompt), _text(completion)) for prompt, completion in zip(prompts, completions, strict=True)]


def _text(turn: Any) -> str:
    """The last message's text, or the text itself."""
    return turn if isinstance(turn, str) else str(turn[-1]["content"])


def _share(labels: list[TokenLabel]) -> float | None:
    return sum(each.right for each in labels) / len(labels) if labels else None


def _unwound(labels: tuple[TokenLabel, ...], length: int) -> float:
    """Statements of the unwinding half end at their semicolon, a sign without a result before it."""
    done = 0
    for each in labels:
        if not each.right or each.previous is not None or each.role == "result":
            break
        done += each.role == "sign" and each.symbol == ";"
    return done / length
