"""Clean/corrupt pairs of lab problems, both kinds from one function.

``opening``: one problem whose trace begins in two styles, ``<think> okay j=`` against ``<think> to j=``.
``leaf``: one trace from two leaf digits, equal in length; every later number differs. Without thinking, two answers.
"""

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Int

from headscope.lab import builtin_data, chains
from headscope.pairs import Pairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPENING = 4  # tokens: <think>, the style's word, the queried variable, =


def lab_pairs(
    tokenizer: "PreTrainedTokenizerBase",
    count: int,
    *,
    kind: Literal["opening", "leaf"] = "opening",
    seed: int = 0,
    thinking: bool = True,
) -> Pairs:
    """Return ``count`` pairs on training problems of T1-T3.

    Evaluated are the last token of an opening, or every position before a token of the trace that differs.
    thinking: False makes leaf pairs of bare answers; a digit is taken that changes the answer, and a problem left out
        if none does (something times 0), so that there can be fewer than ``count``.
    """
    items = builtin_data.mixed_items(count, seed)
    if kind == "opening":
        okay = [chains.thinking_turn(item, opener="okay") for item in items]
        to = [chains.thinking_turn(item, opener="to") for item in items]
        return Pairs.from_text(tokenizer, okay, to, prompts=[_question(item) for item in items], k=OPENING)
    rng = random.Random(seed)
    clean, corrupt, positions = [], [], []
    for item in items:
        changed = _with_another_leaf(item, rng, other_answer=not thinking)
        if changed is None:
            continue
        clean.append(_conversation(tokenizer, item, thinking))
        corrupt.append(_conversation(tokenizer, changed, thinking))
        differing = np.flatnonzero(clean[-1] != corrupt[-1])
        # The first difference is the leaf itself, in the prompt. A token is predicted at the position before it.
        positions.append((differing[1:] - 1).tolist())
    return Pairs.from_tokens(clean, corrupt, positions)


def _question(item: chains.Item) -> list[dict[str, str]]:
    return [{"role": "user", "content": item.prompt}]


def _conversation(tokenizer: "PreTrainedTokenizerBase", item: chains.Item, thinking: bool) -> Int[np.ndarray, " token"]:
    """Return the tokens of problem and answer, without the marker that ends it."""
    answer = {"role": "assistant", "content": chains.thinking_turn(item) if thinking else chains.direct_turn(item)}
    return np.array(tokenizer.apply_chat_template([*_question(item), answer])["input_ids"][:-1])


def _with_another_leaf(item: chains.Item, rng: random.Random, *, other_answer: bool) -> chains.Item | None:
    """Return the chain from another leaf digit, drawn at random; None if its answer must differ and cannot."""
    digit = item.path[-1].value
    steps = [rng.randint(1, 9)]
    if other_answer:
        steps += range(1, 10)
    for step in steps:
        changed = _from_leaf(item, (digit + step) % 10)
        if not other_answer or changed.answer != item.answer:
            return changed
    return None


def _from_leaf(item: chains.Item, digit: int) -> chains.Item:
    """Return the same chain from another leaf digit."""
    leaf = item.path[-1]
    path = [replace(leaf, source=str(digit), value=digit)]
    value = digit
    for step in reversed(item.path[:-1]):
        value = chains.apply(step.operator, value, step.digit)
        path.append(replace(step, value=value))
    changed = item.prompt.replace(leaf.definition(), path[0].definition())
    return replace(item, prompt=changed, path=tuple(reversed(path)), answer=value)
