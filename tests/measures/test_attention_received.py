"""Attention that steps receive: against loops over steps, and labels on heads made to receive or not."""

import numpy as np
import pytest

from headscope.comparison.head_roles import TextShares, role_shares
from headscope.measures.attention_received import FAR, FEWEST_STEPS, StepSpans

TEXTS, PROMPT = 24, 10


def drawn_spans(rng: np.random.Generator, steps: int) -> StepSpans:
    """Steps of 3 to 8 tokens that follow each other."""
    stops = PROMPT + np.cumsum(rng.integers(3, 9, steps))
    keys = np.stack([np.concatenate([[PROMPT], stops[:-1]]), stops], axis=1)
    return StepSpans(keys - 1, keys)


def causal(weights: np.ndarray) -> np.ndarray:
    rows = np.tril(weights)
    return np.asarray(rows / rows.sum(axis=-1, keepdims=True), dtype=np.float32)


def heads_of(rng: np.random.Generator, spans: StepSpans) -> dict[str, np.ndarray]:
    """Rows of heads by what they read; the last two read a tenth of the steps, or the first, 30 times as much."""
    tokens = int(spans.keys[-1, 1])
    distance = np.arange(tokens)[:, None] - np.arange(tokens)
    heads = {
        "everything": np.ones((tokens, tokens)),
        "25 tokens back": 1.0 + 50 * (distance == 25),
        "what was just written": np.exp(-0.1 * np.maximum(distance, 0)),
        "the prompt's first token": np.ones((tokens, tokens)) + 100 * (np.arange(tokens) == 0),
        "nothing twice": rng.dirichlet(np.full(tokens, 0.1), size=tokens) + 1e-9,
    }
    read = rng.choice(len(spans.keys) - 6, max(1, len(spans.keys) // 12), replace=False)
    for name, steps in (("a few steps", read), ("the first step", [0])):
        heads[name] = np.ones((tokens, tokens))
        for start, stop in spans.keys[steps]:
            heads[name][:, start:stop] *= 30
    return {name: causal(weights) for name, weights in heads.items()}


@pytest.mark.parametrize("steps", [FEWEST_STEPS, 20, 50])
def test_heads_that_read_a_few_steps_from_everywhere_receive_and_others_do_not(steps: int) -> None:
    rng = np.random.default_rng(steps)
    sums = np.full((7, TEXTS, 1, 1, 7), np.nan)
    for text in range(TEXTS):
        spans = drawn_spans(rng, steps)
        heads = heads_of(rng, spans)
        sums[:, text, 0, 0] = spans.received(np.stack(list(heads.values())))
    labelled = role_shares(TextShares(sums[0], sums[1::2], sums[2::2])).labelled[0, 0]
    assert [name for name, is_labelled in zip(heads, labelled, strict=True) if is_labelled] == [
        "a few steps",
        "the first step",
    ]


def slow_received(rows: np.ndarray, spans: StepSpans) -> np.ndarray:
    """What ``received`` gives, head by head and step by step, [7, head]."""
    heads, steps, lengths = len(rows), len(spans.keys), spans.keys[:, 1] - spans.keys[:, 0]
    given = np.zeros((heads, steps, steps))
    for reading in range(steps):
        for read in range(reading - FAR + 1):
            written = rows[:, slice(*spans.rows[reading]), slice(*spans.keys[read])]
            given[:, reading, read] = written.sum(axis=2).mean(axis=1)
    density = given / lengths
    odd, even = range(FAR, steps, 2), range(FAR + 1, steps, 2)
    halves = []
    for choosing, asked in ((odd, even), (even, odd)):
        results = np.zeros((7, heads))
        for head in range(heads):
            others = [other for other in range(heads) if other != head]
            excess = []
            for read in range(steps):
                received = [sum(density[each, reading, read] for reading in choosing) for each in range(heads)]
                excess.append(received[head] - np.median([received[other] for other in others]))
            chosen = sorted(range(steps), key=lambda read: -excess[read])[: -(-steps // 10)]
            for read in chosen:
                results[6, head] += np.median([given[other, list(asked), read].sum() for other in others])
            for reading in asked:
                rest = [read for read in range(reading - FAR + 1) if read not in chosen]
                for read in chosen:
                    if reading - read < FAR:
                        continue
                    results[[0, 5], head] += given[head, reading, read]
                    if rest:
                        results[1, head] += given[head, reading, read]
                        results[2, head] += lengths[read] * given[head, reading, rest].sum() / lengths[rest].sum()
                    away = reading - read
                    there = [density[head, row, row - away] for row in range(away, steps) if row - away not in chosen]
                    if there:
                        results[3, head] += given[head, reading, read]
                        results[4, head] += lengths[read] * np.mean(there)
        halves.append(results / len(asked))
    return np.asarray(np.mean(halves, axis=0))


@pytest.mark.parametrize("steps", [FEWEST_STEPS, 13, 23])
def test_shares_and_controls_are_those_of_loops_over_steps(steps: int) -> None:
    rng = np.random.default_rng(steps)
    spans = drawn_spans(rng, steps)
    tokens = int(spans.keys[-1, 1])
    rows = np.stack([causal(rng.random((tokens, tokens)) ** 6) for _ in range(4)])
    np.testing.assert_allclose(spans.received(rows), slow_received(rows, spans), rtol=1e-5)


def test_steps_that_most_heads_of_a_layer_read_are_where_attention_rests() -> None:
    rng = np.random.default_rng(0)
    sums = np.full((7, TEXTS, 1, 1, 6), np.nan)
    for text in range(TEXTS):
        spans = drawn_spans(rng, 20)
        tokens = int(spans.keys[-1, 1])
        rest, own = 1.0 + 100 * (np.arange(tokens) == PROMPT + 4), np.ones((tokens, tokens))
        own[:, slice(*spans.keys[7])] *= 30
        rows = np.stack([causal(np.tile(rest * draw, (tokens, 1))) for draw in rng.uniform(0.9, 1.1, (5, tokens))])
        sums[:, text, 0, 0] = spans.received(np.concatenate([rows, causal(own)[None]]))
    shares = role_shares(TextShares(sums[0], sums[1::2], sums[2::2]))
    assert shares.share[0, 0, 0] > 0.3
    assert shares.labelled[0, 0].tolist() == [False] * 5 + [True]


def test_the_only_head_of_a_layer_has_no_others() -> None:
    spans = drawn_spans(np.random.default_rng(0), 20)
    tokens = int(spans.keys[-1, 1])
    received = spans.received(causal(np.ones((1, tokens, tokens))))
    assert np.isfinite(received[:5]).all()
    assert np.isnan(received[5:]).all()


def test_too_few_steps_are_refused() -> None:
    spans = drawn_spans(np.random.default_rng(0), FEWEST_STEPS - 1)
    tokens = int(spans.keys[-1, 1])
    with pytest.raises(ValueError, match="11 steps; at least 12 are needed"):
        spans.received(causal(np.ones((1, tokens, tokens))))
