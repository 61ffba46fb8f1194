"""The lab's built-in data by name, as plain records; nothing here loads torch."""

import random
from collections.abc import Iterable
from typing import Any

from headscope.errors import InputError, suggestion
from headscope.lab import chains

TASKS = {f"lab-{tier.lower()}": tier for tier in chains.TIERS}
SLICE, SLICE_ITEMS = "lab-t4-30", 30  # as many problems as AIME has, to show how little they tell
TRAIN = "lab-train"  # problems of T1-T3 from the train split: for openings and GRPO
TEST_ITEMS = 500
TRAIN_ITEMS = 2000
T1_ITEMS = 32_000
TRAIN_SHARES = {"T1": 0.4, "T2": 0.35, "T3": 0.25}
RECHECK, SLIP = 0.1, 0.2  # the teacher re-checks one fold in ten, and one re-check in five goes wrong


def task_items(name: str) -> list[chains.Item]:
    """The items behind a built-in task: 500 fixed test items per tier (128 facts for K), or the training problems."""
    if name == TRAIN:
        return mixed_items(TRAIN_ITEMS, seed=1)
    if name == SLICE:
        return task_items("lab-t4")[:SLICE_ITEMS]
    if name not in TASKS:
        raise InputError(f"built-in task {name!r} does not exist{suggestion(name, [*TASKS, SLICE, TRAIN])}")
    return chains.items(TASKS[name], "test", TEST_ITEMS, seed=0)


def mixed_items(count: int, seed: int) -> list[chains.Item]:
    """``count`` different training problems of T1-T3, shuffled."""
    mixed = [
        item for tier, share in TRAIN_SHARES.items() for item in chains.items(tier, "train", round(count * share), seed)
    ]
    random.Random(seed).shuffle(mixed)
    return mixed


def traces(count: int = TRAIN_ITEMS, seed: int = 2) -> list[dict[str, Any]]:
    """The teacher's traces as prompt and completion messages, with planted re-checks."""
    return _taught(mixed_items(count, seed), seed)


def t1_traces(count: int = T1_ITEMS, seed: int = 2) -> list[dict[str, Any]]:
    """The teacher's traces on problems of T1: a skill is learned from many problems, and by heart from few."""
    return _taught(chains.items("T1", "train", count, seed), seed)


def hybrid_traces(count: int = TRAIN_ITEMS, seed: int = 2) -> list[dict[str, Any]]:
    """``count`` records, half traces and half bare answers, each with the template switch it is asked under."""
    thought = traces(count - count // 2, seed)
    bare = [_record(item, chains.answer_only(item)) for item in mixed_items(count // 2, seed + 1)]
    modes = [(True, thought), (False, bare)]
    return [{**row, "chat_template_kwargs": {"enable_thinking": on}} for on, rows in modes for row in rows]


def _taught(items: Iterable[chains.Item], seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [_record(item, chains.thinking(item, opener="okay", recheck=RECHECK, slip=SLIP, rng=rng)) for item in items]


def _record(item: chains.Item, answer: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": item.prompt}],
        "completion": [{"role": "assistant", "content": answer}],
    }


DATASETS = {
    "lab-traces": traces,  # the teacher's reasoning on other problems of the train split: for SFT
    "lab-t1-traces": t1_traces,
    "lab-hybrid": hybrid_traces,  # the same traces, and as many bare answers to problems with thinking switched off
}
"""Training records by the name a study gives them."""
