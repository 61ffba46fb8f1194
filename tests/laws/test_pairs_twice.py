"""Law: giving every pair twice, as pairs of one problem, changes no interval, p-value, null or count."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.circuits import attribute, faithfulness_curve
from headscope.comparison import (
    Resampling,
    crossed_design,
    doubled_heads,
    emergence,
    emergence_ladder,
    gap_closure,
    head_importance,
    importance_change,
    think_on_off,
)
from headscope.errors import InputError
from headscope.measures.intervals import bootstrap
from headscope.pairs import Pairs, ProblemGroups
from headscope.pairs.problems import Labels
from headscope.results.codec import to_json
from headscope.results.cross_patch import CrossPatch
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.graph import Graph

GRAPH = Graph(2, 3)
PAIRS = 9
LABELS = st.one_of(
    st.none(),
    st.lists(st.sampled_from("abcdef"), min_size=PAIRS, max_size=PAIRS).filter(lambda labels: len(set(labels)) > 2),
)
COUNTS = ("pairs", "null_pairs")
"""What is twice as many: these say how many pairs there are, and no more."""


def same(once: Any, twice: Any, place: str = "", *, rel: float = 1e-9, size: float = 1e-12) -> None:
    """Whole numbers and texts are equal, others up to rounding; the numbers of pairs aside."""
    if isinstance(once, dict):
        assert once.keys() == twice.keys()
        for key in once.keys() - {*COUNTS, "settings"}:
            same(once[key], twice[key], f"{place}/{key}", rel=rel, size=size)
    elif isinstance(once, list):
        assert len(once) == len(twice), place
        for index, values in enumerate(zip(once, twice, strict=True)):
            same(*values, f"{place}/{index}", rel=rel, size=size)
    elif isinstance(once, float):
        assert twice == pytest.approx(once, rel=rel, abs=size), place
    else:
        # A set of pairs that are problems of their own calls them pairs, the same given twice problems.
        words = (text.replace("pair", "problem") if isinstance(text, str) else text for text in (once, twice))
        assert len(set(words)) == 1, (place, once, twice)


def repeat_labels(labels: Labels, digest: str, times: int) -> Labels:
    """Names of the problems of every pair given so often; each set of pairs, by its digest, has problems of its own."""
    if labels is None and times == 1:
        return None
    names = range(PAIRS) if labels is None else labels
    return tuple(f"{digest} {name}" for name in names for _ in range(times))


def scores(seed: int, labels: Labels, digest: str = "", times: int = 1) -> EdgeScores:
    """Noisy scores of a population of edges, every pair given so often; ``labels`` None needs none for single pairs."""
    sizes = np.random.default_rng(0).lognormal(size=GRAPH.real.shape) * GRAPH.real
    noise = np.random.default_rng(seed).lognormal(sigma=0.8, size=(PAIRS, *GRAPH.real.shape))
    pair_edges = np.repeat((sizes * noise).astype(np.float32), times, axis=0)
    mean = pair_edges.mean(axis=0, dtype=np.float64).astype(np.float32)
    problems = repeat_labels(labels, digest, times)
    heads = GRAPH.head_grid(pair_edges.sum(axis=2))
    return EdgeScores(GRAPH, mean, mean, heads, pair_edges, 0.0, 0.0, {"pairs": digest}, problems)


def curve(seed: int, labels: Labels, times: int) -> FaithfulnessCurve:
    draw = np.random.default_rng(seed)
    full, empty = (np.repeat((draw.random(PAIRS) + span).astype(np.float32), times) for span in (0, 4))
    shares = np.array([[0.2], [0.7], [0.95]], dtype=np.float32) * np.repeat(draw.random(PAIRS) + 0.5, times)
    problems = repeat_labels(labels, "curve", times)
    circuits = (empty + shares * (full - empty)).astype(np.float32)
    return FaithfulnessCurve(full, empty, circuits, np.array([0.05, 0.2, 0.5]), (1, 2, 3), {}, problems)


@settings(max_examples=12, deadline=None)
@given(labels=LABELS, seed=st.integers(0, 99), times=st.integers(2, 4))
def test_every_pair_given_again_changes_nothing_in_a_comparison(labels: Labels, seed: int, times: int) -> None:
    labels = None if labels is None else tuple(labels)

    def results(times: int) -> dict[str, Any]:
        base, post = (scores(number, labels, "main", times) for number in (seed, seed + 1))
        again = scores(seed + 2, labels, "fresh", times)
        again_post = scores(seed + 3, labels, "fresh", times)
        ladder = emergence_ladder(base, post, [0.1, 0.4], base_again=again, resampling=Resampling(resamples=20))
        resampling = Resampling(0.2, 40)
        against_fresh = partial(emergence, base, post, base_again=again, resampling=resampling)
        return {
            "halves": emergence(base, post, resampling=resampling).as_dict(),
            "fresh": against_fresh().as_dict(),
            "paper": against_fresh(method="paper").as_dict(),
            "unpaired": emergence(base, again, resampling=resampling, paired=False).as_dict(),
            "ladder": [to_json(rung) for rung in ladder],
            "change": to_json(importance_change(base, post)),
            "doubled": doubled_heads(base, post, factor=1.1).names(),
            "importance": to_json(head_importance(base)),
            "crossed": to_json(crossed_design((base, again), (post, again_post), resampling)),
        }

    # Sums over more pairs differ in their last bit, which the square root of a variance near 0 makes 1e-8.
    same(results(1), results(times), rel=1e-6, size=1e-8)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(labels=LABELS, seed=st.integers(0, 99), times=st.integers(2, 4))
def test_every_pair_given_again_changes_nothing_in_other_intervals(labels: Labels, seed: int, times: int) -> None:
    labels = None if labels is None else tuple(labels)

    def results(times: int) -> dict[str, Any]:
        on, off = scores(seed, labels, "on", times), scores(seed + 1, labels, "off", times)
        on_curve, off_curve = curve(seed, labels, times), curve(seed + 1, labels, times)
        patched = CrossPatch(on_curve.empty, on.pair_heads, 0.0, {}, on.problems)
        statistics = {"cpr": on_curve.cpr, "cmd": on_curve.cmd, "at": partial(_at, on_curve)}
        return {
            "thinking": to_json(think_on_off(on, off, on_curve, off_curve, resampling=Resampling(0.2, 40))),
            "gap": to_json(gap_closure(patched)),
            **{name: to_json(bootstrap(each, on_curve.problem_groups)) for name, each in statistics.items()},
        }

    same(results(1), results(times), rel=1e-6, size=1e-8)


def _at(curve: FaithfulnessCurve, weights: np.ndarray) -> float:
    return float(curve.normalised(weights)[1])


@given(labels=LABELS, seed=st.integers(0, 99))
def test_pairs_given_twice_are_halved_alike(labels: Labels, seed: int) -> None:
    names = repeat_labels(labels or tuple(map(str, range(PAIRS))), "", 1)
    once = Pairs.from_tokens([[index, 1] for index in range(PAIRS)], [[index, 2] for index in range(PAIRS)])
    once = replace(once, problems=names)
    twice = once[np.repeat(np.arange(PAIRS), 2)]
    for half, doubled in zip(once.split(seed), twice.split(seed), strict=True):
        assert [row[0] for row in doubled.clean][::2] == [row[0] for row in half.clean]


def test_a_run_on_pairs_given_twice(tiny_model: Callable[..., Any], ragged_pairs: Callable[..., Pairs]) -> None:
    """From token ids to counts and faithfulness, with a model in between; batches round a little."""
    base, post = tiny_model("qwen3"), tiny_model("qwen3", 1)
    pairs = replace(ragged_pairs(count=6), problems=tuple("aabbcd"))

    def results(pairs: Pairs) -> dict[str, Any]:
        scored = [attribute(model, pairs, nodes=4, keep_pairs=True) for model in (base, post)]
        curve = faithfulness_curve(base, pairs, scored[0], fractions=(0.1, 0.5))
        change = emergence(*scored, resampling=Resampling(fraction=0.2, resamples=40))
        assert (change.problems, change.pairs) == (4, len(pairs))
        return {"change": change.as_dict(), "cpr": to_json(bootstrap(curve.cpr, curve.problem_groups))}

    same(results(pairs), results(pairs[[*range(6), *range(6)]]), rel=1e-3, size=1e-5)


def test_several_pairs_of_one_problem_have_no_null_and_no_interval() -> None:
    one = replace(scores(0, None), problems=("a",) * PAIRS)
    with pytest.raises(InputError, match=r"found 9 pairs of 1 problem; the test-retest null, .* needs at least 2"):
        emergence(one, one)
    estimate = bootstrap(np.sum, ProblemGroups.of((one.problems, PAIRS)))
    assert (estimate.n, estimate.method) == (1, "one problem")
    assert np.isnan([estimate.low, estimate.high]).all()
    # With fresh pairs there are two problems: counts have a null, and still no interval.
    change = emergence(one, one, base_again=scores(1, None, "fresh"), resampling=Resampling(resamples=20))
    assert change.counts.new.method == "one problem"
    assert np.isnan(change.counts.new.low)


def test_problems_named_in_base_and_fresh_pairs_lie_on_one_side() -> None:
    labels = tuple("abcabcabc")
    again = replace(scores(2, None, "fresh"), problems=tuple(f"main {label}" for label in labels))
    change = emergence(scores(0, labels, "main"), scores(1, labels, "main"), base_again=again)
    assert (change.problems, change.pairs) == (3, 9)
    assert (change.null_problems, change.null_pairs) == (1, 6)
