"""Shares of attention against loops over cells, and their controls on heads that are positional or read everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.measures.attention_shares import Targets, attention_share, most_attended


def drawn_rows(rng: np.random.Generator, heads: int, tokens: int) -> np.ndarray:
    """Causal rows that sum to 1."""
    rows = np.tril(rng.random((heads, tokens, tokens)) ** 3 + 1e-6)
    return np.asarray(rows / rows.sum(axis=-1, keepdims=True))


def drawn_targets(rng: np.random.Generator, tokens: int) -> Targets:
    cells = np.tril(rng.random((tokens, tokens)) < 0.15)
    first = int(rng.integers(0, tokens // 2))
    cells[:first] = False
    cells[-1, 0] = True
    return Targets(cells, first)


def slow_moved(row: np.ndarray, targets: Targets) -> float:
    """The share less that of targets at the distances of all targets, row by row."""
    cells = targets.cells
    distances = [query - key for query, key in np.argwhere(cells)]
    excesses = []
    for query in np.flatnonzero(cells.any(axis=1)):
        keys = [query - distance for distance in distances if distance <= query and not cells[query, query - distance]]
        if keys:
            share = row[query, cells[query]].sum()
            excesses.append(share - cells[query].sum() * np.mean([row[query, key] for key in keys]))
    return float(np.mean(excesses)) if excesses else float("nan")


def slow_elsewhere(row: np.ndarray, targets: Targets) -> float:
    """The share less the mean attention at each target's distance over rows without a target there."""
    cells = targets.cells
    total, asked = 0.0, set()
    for query, key in np.argwhere(cells):
        distance = query - key
        others = [
            row[other, other - distance]
            for other in range(targets.first, len(cells))
            if other >= distance and not cells[other, other - distance]
        ]
        if others:
            total += row[query, key] - float(np.mean(others))
            asked.add(query)
    return total / len(asked) if asked else float("nan")


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_shares_are_those_of_loops_over_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = int(rng.integers(4, 14))
    rows, targets = drawn_rows(rng, 3, tokens), drawn_targets(rng, tokens)
    asked = np.flatnonzero(targets.cells.any(axis=1))
    share = [[row[query, targets.cells[query]].sum() for query in asked] for row in rows]
    np.testing.assert_allclose(attention_share(rows, targets.share_weights()), np.mean(share, axis=1))
    for weights, slow in ((targets.moved_weights(), slow_moved), (targets.elsewhere_weights(), slow_elsewhere)):
        np.testing.assert_allclose(attention_share(rows, weights), [slow(row, targets) for row in rows], atol=1e-12)


def test_a_positional_head_and_one_that_reads_everything_exceed_no_control() -> None:
    tokens = 12
    cells = np.zeros((tokens, tokens), dtype=bool)
    cells[[5, 8, 11], [2, 5, 8]] = True  # always three tokens back
    positional = np.eye(tokens, k=-3)[None]
    everything = np.tril(np.ones((tokens, tokens)))[None] / np.arange(1, tokens + 1)[None, :, None]
    by_content = np.where(cells, 1.0, 0.0)[None]
    targets = Targets(cells)
    assert targets.moved_weights() is None  # there is no other distance to move to
    elsewhere = targets.elsewhere_weights()
    np.testing.assert_allclose(attention_share(positional, elsewhere), [0.0], atol=1e-12)
    np.testing.assert_allclose(attention_share(by_content, elsewhere), [1.0])
    varied = cells.copy()
    varied[10, 1] = True
    moved = Targets(varied).moved_weights()
    np.testing.assert_allclose(attention_share(everything, moved), [0.0], atol=1e-12)
    assert attention_share(np.where(varied, 1.0, 0.0)[None], moved) == pytest.approx(1.0)


def test_without_a_control_a_share_is_unknown() -> None:
    rows = drawn_rows(np.random.default_rng(0), 2, 3)
    assert np.isnan(attention_share(rows, None)).all()
    only = np.zeros((3, 3), dtype=bool)
    only[2, 0] = True  # no other row is two tokens long
    assert Targets(only).elsewhere_weights() is None


def test_the_most_attended_token_of_each_row_has_all_of_it() -> None:
    rows = np.array([[[1.0, 0.0, 0.0], [0.6, 0.4, 0.0], [0.2, 0.3, 0.5]]], dtype=np.float32)
    np.testing.assert_array_equal(most_attended(rows)[0].argmax(axis=-1), [0, 0, 2])
    np.testing.assert_array_equal(most_attended(rows).sum(axis=-1), np.ones((1, 3)))
