"""Shares of attention against loops over cells, and their controls on heads that each of them is there for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.measures.attention_shares import CONTROLS, Targets, attention_sums, most_attended_sums

NOTHING = (np.nan, np.nan)
TOKENS = 12


def drawn_rows(rng: np.random.Generator, heads: int, tokens: int) -> np.ndarray:
    """Causal rows that sum to 1."""
    rows = np.tril(rng.random((heads, tokens, tokens)) ** 3 + 1e-6)
    return np.asarray(rows / rows.sum(axis=-1, keepdims=True), dtype=np.float32)


def drawn_targets(rng: np.random.Generator, tokens: int) -> Targets:
    cells = np.tril(rng.random((tokens, tokens)) < 0.15, -1)
    first = int(rng.integers(0, tokens // 2))
    cells[:first] = False
    cells[-1] = False
    cells[-2, 0] = True
    unasked = np.tril(rng.random((tokens, tokens)) < 0.1, -1) if rng.random() < 0.5 else None
    return Targets(cells, first, tokens - 1, unasked)


def slow_moved(row: np.ndarray, targets: Targets) -> tuple[float, float]:
    cells = targets.cells
    distances = [query - key for query, key in np.argwhere(cells)]
    compared, control = [], []
    for query in np.flatnonzero(cells.any(axis=1)):
        keys = [
            query - distance for distance in distances if 0 < distance <= query and not cells[query, query - distance]
        ]
        if keys:
            compared.append(row[query, cells[query]].sum())
            control.append(cells[query].sum() * np.mean([row[query, key] for key in keys]))
    return (float(np.mean(compared)), float(np.mean(control))) if compared else NOTHING


def slow_elsewhere(row: np.ndarray, targets: Targets) -> tuple[float, float]:
    cells = targets.cells
    compared, control, asked = 0.0, 0.0, set()
    for query, key in np.argwhere(cells):
        distance = query - key
        others = [
            row[other, other - distance]
            for other in range(targets.first, targets.stop)
            if other >= distance and not cells[other, other - distance]
        ]
        if others:
            compared += row[query, key]
            control += float(np.mean(others))
            asked.add(query)
    return (compared / len(asked), control / len(asked)) if asked else NOTHING


def slow_unasked(row: np.ndarray, targets: Targets) -> tuple[float, float]:
    cells = targets.cells
    asked = np.flatnonzero(cells.any(axis=1))
    unasked = set()
    if targets.unasked is None:
        for query, key in np.argwhere(cells):
            unasked |= {
                (query + step, key) for step in (-1, 1) if 0 <= query + step < len(cells) and key < query + step
            }
    else:
        unasked = {tuple(cell) for cell in np.argwhere(targets.unasked)}
    cells_read = [cell for cell in unasked if targets.first <= cell[0] < targets.stop and not cells[cell]]
    if not cells_read:
        return NOTHING
    share = float(np.mean([row[query, cells[query]].sum() for query in asked]))
    total = float(np.sum([row[cell] for cell in cells_read]))
    if targets.unasked is None:
        return share, total / len(cells_read) * cells.sum() / len(asked)
    return share, total / len({cell[0] for cell in cells_read})


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_sums_are_those_of_loops_over_cells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = int(rng.integers(4, 14))
    rows, targets = drawn_rows(rng, 3, tokens), drawn_targets(rng, tokens)
    share, *compared = attention_sums(rows, targets.weights())
    asked = np.flatnonzero(targets.cells.any(axis=1))
    expected = [np.mean([row[query, targets.cells[query]].sum() for query in asked]) for row in rows]
    np.testing.assert_allclose(share, expected, atol=1e-6)
    assert len(compared) == 2 * len(CONTROLS)
    for place, slow in enumerate((slow_moved, slow_elsewhere, slow_unasked)):
        pairs = np.array([slow(row, targets) for row in rows])
        np.testing.assert_allclose(compared[2 * place], pairs[:, 0], atol=1e-6)
        np.testing.assert_allclose(compared[2 * place + 1], pairs[:, 1], atol=1e-6)


def shares_and_controls(row: np.ndarray, targets: Targets) -> dict[str, tuple[float, float]]:
    """By control, the share that is compared with it, and the control."""
    sums = attention_sums(row[None].astype(np.float32), targets.weights())[:, 0]
    return {name: (sums[1 + 2 * place], sums[2 + 2 * place]) for place, name in enumerate(CONTROLS)}


@pytest.fixture
def targets() -> Targets:
    """Rows 5, 8 and 11 ask for the token three before them, row 10 for the one nine before it."""
    cells = np.zeros((TOKENS, TOKENS), dtype=bool)
    cells[[5, 8, 11, 10], [2, 5, 8, 1]] = True
    return Targets(cells, 0, TOKENS)


def test_a_head_that_reads_its_targets_alone_exceeds_all_controls(targets: Targets) -> None:
    for share, control in shares_and_controls(np.where(targets.cells, 1.0, 0.0), targets).values():
        assert (share, control) == (1.0, 0.0)


def test_each_control_is_as_much_as_the_head_it_is_there_for(targets: Targets) -> None:
    everything = np.tril(np.ones((TOKENS, TOKENS)), -1)
    everything /= everything.sum(axis=1, keepdims=True).clip(1)
    share, control = shares_and_controls(everything, targets)["moved"]
    assert share == pytest.approx(control)
    only_three = Targets(np.where(np.eye(TOKENS, k=-3), targets.cells, False), 0, TOKENS)
    share, control = shares_and_controls(np.eye(TOKENS, k=-3), only_three)["elsewhere"]
    assert share == pytest.approx(control) == pytest.approx(1.0)
    always = np.zeros((TOKENS, TOKENS))  # the kind of token that stands at 2, 5 and 8, whichever came last
    for row in range(3, TOKENS):
        always[row, 2 + 3 * ((row - 3) // 3)] = 1.0
    results = shares_and_controls(always, only_three)
    assert results["elsewhere"][0] > 2 * results["elsewhere"][1]  # that it does so always, no distance tells
    assert results["unasked"] == (pytest.approx(1.0), pytest.approx(0.6))  # of the five rows next to them, 4, 7 and 10


def test_what_a_text_has_no_control_for_is_unknown() -> None:
    cells = np.zeros((3, 3), dtype=bool)
    cells[2, 0] = True  # no other row is two tokens long, and there is no other distance
    found = shares_and_controls(np.tril(np.ones((3, 3))), Targets(cells, 0, 3))
    assert np.isnan(found["moved"]).all()
    assert np.isnan(found["elsewhere"]).all()
    assert found["unasked"] == (1.0, 1.0)
    all_rows = np.zeros((4, 4), dtype=bool)
    all_rows[1:, 0] = True
    assert np.isnan(shares_and_controls(np.tril(np.ones((4, 4))), Targets(all_rows, 0, 4))["unasked"]).all()


def test_the_most_attended_token_of_each_row_has_all_of_it() -> None:
    rows = np.array([[[1.0, 0.0, 0.0], [0.6, 0.4, 0.0], [0.2, 0.3, 0.5]]], dtype=np.float32)
    weights = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    np.testing.assert_array_equal(most_attended_sums(rows, weights)[:, 0], [0 + 3 + 8, 9 + 12 + 17])
