"""Clean/corrupt pairs of lab problems, both kinds from one function.

``opening``: one problem whose trace begins in two styles, ``<think> okay j=`` against ``<think> to j=``.
``leaf``: one trace from two leaf digits, equal in length; every later number differs.
"""

import random
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from headscope.lab import base, chains
from headscope.pairs import Pairs

OPENING = 4  # tokens: <think>, the style's word, the queried variable, =


def lab_pairs(tokenizer: Any, count: int, *, kind: Literal["opening", "leaf"] = "opening", seed: int = 0) -> Pairs:
    """``count`` pairs on training problems of T1-T3.

    Evaluated are the last token of an opening, or every position before a token of the trace that differs.
    """
    items = base.mixed_items(count, seed)
    if kind == "opening":
        okay, to = ([chains.thinking(item, opener=opener) for item in items] for opener in ("okay", "to"))
        return Pairs.from_text(tokenizer, okay, to, prompts=[_asked(item) for item in items], k=OPENING)
    rng = random.Random(seed)
    others = [_from_leaf(item, (item.path[-1].value + rng.randint(1, 9)) % 10) for item in items]
    clean, corrupt = ([_conversation(tokenizer, item) for item in some] for some in (items, others))
    differing = [np.flatnonzero(one != other) for one, other in zip(clean, corrupt, strict=True)]
    # The first difference is the leaf itself, in the prompt.
    return Pairs.from_tokens(clean, corrupt, [(at[1:] - 1).tolist() for at in differing])


def _asked(item: chains.Item) -> list[dict[str, str]]:
    return [{"role": "user", "content": item.prompt}]


def _conversation(tokenizer: Any, item: chains.Item) -> Int[np.ndarray, " token"]:
    """Problem and answer, without the marker that ends it."""
    answer = {"role": "assistant", "content": chains.thinking(item)}
    return np.array(tokenizer.apply_chat_template([*_asked(item), answer])["input_ids"][:-1])


def _from_leaf(item: chains.Item, digit: int) -> chains.Item:
    """The same chain from another leaf digit."""
    leaf = item.path[-1]
    path, value = [replace(leaf, source=str(digit), value=digit)], digit
    for step in reversed(item.path[:-1]):
        value = chains.apply(step.operator, value, step.digit)
        path.append(replace(step, value=value))
    changed = item.prompt.replace(leaf.definition(), path[0].definition())
    return replace(item, prompt=changed, path=tuple(reversed(path)), answer=value)
