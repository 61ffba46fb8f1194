"""Rewards for register chains, read off the step labels; called as TRL calls rewards."""

from collections.abc import Iterator, Mapping, Sequence

from headscope.lab.labels import TokenLabel, label, path_length

Turn = str | Sequence[Mapping[str, object]]
"""A prompt or completion as TRL passes it: plain text or chat messages."""


def lab_calculation(prompts: list[Turn], completions: list[Turn], **columns: object) -> list[float | None]:
    """Return the calculation reliability: the share of written results that follow from their operands (mod 10); None
    if nothing was calculated.
    """
    scores: list[float | None] = []
    for _, labels in _label_completions(prompts, completions):
        right = [token.right for token in labels if token.slot == "result"]
        scores.append(sum(right) / len(right) if right else None)
    return scores


def lab_plan(prompts: list[Turn], completions: list[Turn], **columns: object) -> list[float | None]:
    """Return the plan quality: the share of the path, from the query to the leaf, that was unwound definition by
    definition before the first mistake. 0 without thinking.
    """
    return [
        _count_unwound(labels) / path_length(problem) for problem, labels in _label_completions(prompts, completions)
    ]


def _label_completions(prompts: list[Turn], completions: list[Turn]) -> Iterator[tuple[str, tuple[TokenLabel, ...]]]:
    """Yield every problem's text with the labels of its completion's tokens."""
    for prompt, completion in zip(prompts, completions, strict=True):
        problem = _text(prompt)
        yield problem, label(problem, _text(completion))


def _text(turn: Turn) -> str:
    """Return the last message's text, or the text itself."""
    return turn if isinstance(turn, str) else str(turn[-1]["content"])


def _count_unwound(labels: tuple[TokenLabel, ...]) -> int:
    """Count the statements of the unwinding half up to the first mistake.

    They end at their semicolon, a sign without a result before it.
    """
    count = 0
    for token in labels:
        if not token.right or token.previous is not None or token.slot == "result":
            break
        count += token.slot == "sign" and token.symbol == ";"
    return count
