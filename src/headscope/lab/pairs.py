"""Clean/corrupt pairs of lab problems, both kinds from one function.

``opening``: one problem whose trace begins in two styles, ``<think> okay j=`` against ``<think> to j=``.
``leaf``: one trace from two leaf digits, equal in length; every later number differs.
"""

import random
from dataclasses import replace
from typing import Any, Literal

from headscope.lab import base, chains
from headscope.pairs import Pairs

OPENING = 4  # tokens: <think>, the style's word, the queried variable, =


def lab_pairs(tokenizer: Any, count: int, *, kind: Literal["opening", "leaf"] = "opening", seed: int = 0) -> Pairs:
    """``count`` pairs on training problems of T1-T3.

    Evaluated are the last token of an opening, or every position before a token of the trace that differs.
    """
    items = base.mixed_items(count, seed)
    prompts = [prompt_tokens(tokenizer, item) for item in items]
    if kind == "opening":
        clean, corrupt = ([_answer(tokenizer, item, opener) for item in items] for opener in ("okay", "to"))
        return Pairs.from_openings(prompts, clean, corrupt, OPENING)
    rng = random.Random(seed)
    others = [_from_leaf(item, (item.path[-1].value + rng.randint(1, 9)) % 10) for item in items]
    clean = [start + _answer(tokenizer, item) for start, item in zip(prompts, items, strict=True)]
    corrupt = [prompt_tokens(tokenizer, other) + _answer(tokenizer, other) for other in others]
    before = [
        [at - 1 for at in range(len(start), len(one)) if one[at] != other[at]]
        for start, one, other in zip(prompts, clean, corrupt, strict=True)
    ]
    return Pairs.from_tokens(clean, corrupt, before)


def prompt_tokens(tokenizer: Any, item: chains.Item) -> list[int]:
    """Token ids of the problem as a chat, up to where the answer begins."""
    turn = [{"role": "user", "content": item.prompt}]
    ids: list[int] = tokenizer.apply_chat_template(turn, add_generation_prompt=True)["input_ids"]
    return ids


def _answer(tokenizer: Any, item: chains.Item, opener: str = "") -> list[int]:
    ids: list[int] = tokenizer(chains.thinking(item, opener=opener))["input_ids"]
    return ids


def _from_leaf(item: chains.Item, digit: int) -> chains.Item:
    """The same chain from another leaf digit."""
    leaf = item.path[-1]
    path, value = [replace(leaf, source=str(digit), value=digit)], digit
    for step in reversed(item.path[:-1]):
        value = chains.apply(step.operator, value, step.digit)
        path.append(replace(step, value=value))
    changed = item.prompt.replace(leaf.definition(), path[0].definition())
    return replace(item, prompt=changed, path=tuple(reversed(path)), answer=value)
