"""Pairs of lab problems: two styles of one trace, and one trace from two leaf digits."""

from typing import Any

import numpy as np
import pytest

from headscope.evaluation import prompt_ids
from headscope.lab import builtin_data
from headscope.lab.labels import label, symbols
from headscope.lab.pairs import lab_pairs
from headscope.lab.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


def test_openings_differ_in_their_style_and_in_nothing_else(tokenizer: Any) -> None:
    pairs = lab_pairs(tokenizer, 10, kind="opening", seed=3)
    items = builtin_data.mixed_items(10, 3)
    assert len(pairs) == 10
    for pair, item in zip(pairs, items, strict=True):
        start = prompt_ids(tokenizer, item.prompt)
        assert pair.clean[: len(start)].tolist() == start
        texts = [tokenizer.convert_ids_to_tokens(text[len(start) :]) for text in (pair.clean, pair.corrupt)]
        queried = item.path[0].target
        assert texts == [["<think>", "okay", queried, "="], ["<think>", "to", queried, "="]]
        assert pair.positions.tolist() == [len(pair.clean) - 1]


def test_leaves_change_every_number_that_follows_from_them(tokenizer: Any) -> None:
    pairs = lab_pairs(tokenizer, 10, kind="leaf", seed=3)
    for pair, item in zip(pairs, builtin_data.mixed_items(10, 3), strict=True):
        start = len(prompt_ids(tokenizer, item.prompt))
        differing = np.flatnonzero(pair.clean != pair.corrupt)
        (leaf_in_prompt,) = differing[differing < start]
        assert pair.positions.tolist() == [at - 1 for at in differing if at >= start]
        ids = pair.corrupt.tolist()
        problem = "".join(tokenizer.convert_ids_to_tokens(ids[2 : start - 3]))
        answer = "".join(tokenizer.convert_ids_to_tokens(ids[start:]))
        labels = label(problem, answer)
        # The changed problem's trace is still a flawless one, read by the labels and not by what made it.
        assert len(labels) == len(symbols(answer)) == len(ids) - start
        assert all(token.right for token in labels)
        assert labels[0].position == start
        assert any(leaf_in_prompt in token.operands for token in labels)
        assert "".join(item.prompt.split()) != problem


def test_leaves_change_bare_answers_and_nothing_else(tokenizer: Any) -> None:
    pairs = lab_pairs(tokenizer, 60, kind="leaf", seed=3, thinking=False)
    assert 40 <= len(pairs) < 60  # times 0, no leaf changes the answer
    for pair in pairs:
        tokens = [tokenizer.convert_ids_to_tokens(text) for text in (pair.clean, pair.corrupt)]
        _, answer = differing = np.flatnonzero(pair.clean != pair.corrupt).tolist()
        assert len(differing) == 2
        assert tokens[0][answer - 3 :] == ["<think>", "</think>", "<ans>", tokens[0][-1]]
        assert pair.positions.tolist() == [answer - 1]


def test_the_seed_decides(tokenizer: Any) -> None:
    digests = [lab_pairs(tokenizer, 6, kind="leaf", seed=seed).digest() for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
