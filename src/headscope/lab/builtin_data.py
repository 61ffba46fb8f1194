"""The lab's built-in tasks and training records by name; nothing here loads torch."""

import random
from collections.abc import Iterable

from headscope.errors import InputError, suggestion
from headscope.lab import chains

Record = dict[str, object]
"""A prompt and its completion, as chat messages."""
TASKS = {f"lab-{tier.lower()}": tier for tier in chains.TIERS}
SLICE, SLICE_ITEMS = "lab-t4-30", 30  # as many problems as AIME has, to show how little they tell
TRAIN = "lab-train"  # problems of T1-T3 from the train split: for openings and GRPO
T1_TRAIN, T1_TRAIN_ITEMS = "lab-t1-train", 10_000  # of T1 alone: for a teacher whose answers another model learns
TEST_ITEMS = 500
TRAIN_ITEMS = 2000
T1_ITEMS = 32_000
"""Problems in ``lab-t1-traces``: a skill is learned from many problems, and by heart from few."""
FRESH_ITEMS = 102_400
TRAIN_SHARES = {"T1": 0.4, "T2": 0.35, "T3": 0.25}
RECHECK, SLIP = 0.1, 0.2  # the teacher re-checks one fold in ten, and one re-check in five goes wrong


def task_items(name: str) -> list[chains.Item]:
    """Return the items of a built-in task: 500 fixed test items per tier (128 facts for K), or training problems."""
    if name == TRAIN:
        return mixed_items(TRAIN_ITEMS, seed=1)
    if name == T1_TRAIN:
        return chains.draw_items("T1", "train", T1_TRAIN_ITEMS, seed=3)
    if name == SLICE:
        return task_items("lab-t4")[:SLICE_ITEMS]
    if name not in TASKS:
        raise InputError(f"built-in task {name!r} does not exist{suggestion(name, [*TASKS, SLICE, TRAIN, T1_TRAIN])}")
    return chains.draw_items(TASKS[name], "test", TEST_ITEMS, seed=0)


def mixed_items(count: int, seed: int) -> list[chains.Item]:
    """Return ``count`` different training problems of T1-T3, shuffled."""
    mixed: list[chains.Item] = []
    for tier, share in TRAIN_SHARES.items():
        mixed += chains.draw_items(tier, "train", round(count * share), seed)
    random.Random(seed).shuffle(mixed)
    return mixed


def traces(count: int = TRAIN_ITEMS, seed: int = 2, *, recheck: float = RECHECK, slip: float = SLIP) -> list[Record]:
    """Return the teacher's traces as prompt and completion messages.

    recheck: share of folds that are calculated again. slip: share of these that go wrong.
    """
    return _teacher_records(mixed_items(count, seed), seed, recheck=recheck, slip=slip)


def few_traces() -> list[Record]:
    """Return 64 traces, for trials of a few steps: 2,000 take seconds to render."""
    return traces(64)


def recheck_traces(count: int = TRAIN_ITEMS, seed: int = 2) -> list[Record]:
    """Return the teacher's traces on the same problems, with as many re-checks, none of which goes wrong."""
    return traces(count, seed, slip=0.0)


def clean_traces(count: int = TRAIN_ITEMS, seed: int = 2) -> list[Record]:
    """Return the teacher's traces on the same problems without re-checks."""
    return traces(count, seed, recheck=0.0)


def t1_traces(count: int = T1_ITEMS, seed: int = 2) -> list[Record]:
    """Return the teacher's traces on problems of T1."""
    return _teacher_records(chains.draw_items("T1", "train", count, seed), seed)


def t1_fresh_traces(count: int = FRESH_ITEMS, seed: int = 2) -> list[Record]:
    """Return as many traces on problems of T1 as 1,600 steps of 64 read, so that none is read twice; without re-checks,
    from which a model would learn to lose what it has.
    """
    return _teacher_records(chains.draw_items("T1", "train", count, seed), seed, recheck=0.0)


def hybrid_traces(count: int = TRAIN_ITEMS, seed: int = 2) -> list[Record]:
    """Return ``count`` records, half traces and half bare answers, each with the template switch it is asked under."""
    thinking = traces(count - count // 2, seed)
    direct = [_record(item, chains.direct_turn(item)) for item in mixed_items(count // 2, seed + 1)]
    records = [record | {"chat_template_kwargs": {"enable_thinking": True}} for record in thinking]
    return records + [record | {"chat_template_kwargs": {"enable_thinking": False}} for record in direct]


def _teacher_records(
    items: Iterable[chains.Item], seed: int, *, recheck: float = RECHECK, slip: float = SLIP
) -> list[Record]:
    rng = random.Random(seed)
    records = []
    for item in items:
        turn = chains.thinking_turn(item, opener="okay", recheck=recheck, slip=slip, rng=rng)
        records.append(_record(item, turn))
    return records


def _record(item: chains.Item, answer: str) -> Record:
    return {
        "prompt": [{"role": "user", "content": item.prompt}],
        "completion": [{"role": "assistant", "content": answer}],
    }


DATASETS = {
    "lab-traces": traces,  # the teacher's reasoning on other problems of the train split: for SFT
    "lab-traces-64": few_traces,
    "lab-recheck-traces": recheck_traces,  # re-checks that all come out right
    "lab-clean-traces": clean_traces,
    "lab-t1-traces": t1_traces,
    "lab-t1-fresh-traces": t1_fresh_traces,
    "lab-hybrid": hybrid_traces,  # the same traces, and as many bare answers to problems with thinking switched off
}
"""Training records by the name a study gives them."""
