"""Training effects by hand-summed numbers, and a head that is known to have changed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from headscope.circuits import attribute, exact_heads
from headscope.comparison import effect_contrast, head_effect, pool_training_effects, training_effects
from headscope.comparison.head_contrasts import pool_head_estimates
from headscope.comparison.training_effects import pool_contrasts
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.interventions import edit_weights
from headscope.lab.pairs import lab_pairs
from headscope.measures.independent_estimates import pool_estimates
from headscope.models import Subject, load_model
from headscope.pairs import Pairs
from headscope.results.counts import HeadEstimates
from headscope.results.estimate import Estimate
from headscope.results.graph import Graph
from headscope.results.head_scores import HeadScores
from headscope.results.training_effects import ALL, PooledEffects, TrainingEffects

SIGNS = (-1.0, 1.0)


def scores(values: Any, digest: str = "same", problems: tuple[str, ...] | None = None, **settings: Any) -> HeadScores:
    """Return head scores of one layer: [pair][head]."""
    grid = np.array(values, dtype=np.float32)[:, None]
    return HeadScores(grid, 0.0, {"metric": "kl", "pairs": digest, **settings}, problems)


def test_models_on_the_same_pairs_are_paired() -> None:
    base, post = scores([[1, 0], [3, 0], [5, 0]]), scores([[2, 0], [5, 0], [8, 0]])
    contrast = effect_contrast([base, post], SIGNS)
    assert contrast.heads.value.tolist() == [[2, 0]]
    expected = stats.ttest_1samp([1, 2, 3], 0)
    assert contrast.heads.p_value is not None
    assert contrast.heads.p_value[0] == pytest.approx([expected.pvalue, 1])
    low, high = expected.confidence_interval(0.95)
    assert (contrast.heads.low[0, 0], contrast.heads.high[0, 0]) == (pytest.approx(low), pytest.approx(high))
    assert contrast.problems == 3


def test_models_on_other_pairs_are_samples_drawn_apart() -> None:
    first, second = [1.0, 3.0, 5.0, 4.0], [4.0, 5.0, 9.0]
    contrast = effect_contrast([scores([[x] for x in first]), scores([[x] for x in second], "other")], SIGNS)
    welch = stats.ttest_ind(second, first, equal_var=False)
    assert contrast.heads.p_value is not None
    assert contrast.heads.p_value[0, 0] == pytest.approx(welch.pvalue)
    assert contrast.heads.high[0, 0] == pytest.approx(welch.confidence_interval(0.95).high)


def test_pairs_of_one_problem_are_one_observation() -> None:
    base = scores([[0.0]] * 6, problems=("a", "a", "b", "b", "c", "c"))
    post = replace(base, pair_heads=np.array([1, 1, 2, 2, 3, 3], dtype=np.float32).reshape(6, 1, 1))
    contrast = effect_contrast([base, post], SIGNS)
    assert contrast.problems == 3
    assert contrast.heads.p_value is not None
    assert contrast.heads.p_value[0, 0] == pytest.approx(stats.ttest_1samp([1, 2, 3], 0).pvalue)


def test_a_set_is_the_mean_over_its_heads() -> None:
    base, post = scores(np.zeros((3, 2))), scores([[1, 3], [2, 4], [3, 5]])
    sets = effect_contrast([base, post], SIGNS, {"new": HeadSet.of(["L0H1"]), "lost": HeadSet(())}).sets
    assert {name: estimate.value for name, estimate in sets.items()} == {ALL: 3, "new": 4}
    low, high = stats.ttest_1samp([2, 3, 4], 0).confidence_interval(0.95)
    assert (sets[ALL].low, sets[ALL].high, sets[ALL].n) == (pytest.approx(low), pytest.approx(high), 3)


def test_equal_models_have_no_training_effect_at_all() -> None:
    base = scores(np.random.default_rng(0).exponential(size=(20, 8)))
    contrast = effect_contrast([base, base], SIGNS)
    for array in (contrast.heads.value, contrast.heads.low, contrast.heads.high):
        assert not array.any()
    assert (contrast.q_value == 1).all()
    assert len(contrast.changed(0.0)) == 0


def test_the_difference_in_differences_cancels_the_base() -> None:
    rng = np.random.default_rng(1)
    base, twin, post = (scores(rng.exponential(size=(12, 3))) for _ in range(3))
    once = effect_contrast([twin, post], SIGNS).heads
    twice = effect_contrast([base, post, base, twin], (-1.0, 1.0, 1.0, -1.0)).heads
    for name in ("value", "low", "high", "p_value"):
        assert getattr(twice, name) == pytest.approx(getattr(once, name))


def test_models_that_cannot_be_compared_are_refused(routed_scores: Any) -> None:
    base, attributed = scores(np.ones((3, 2))), routed_scores(Graph(1, 2), [["L0H0"]] * 3)
    with pytest.raises(InputError, match="1 × 2 and 1 × 3 heads"):
        effect_contrast([base, scores(np.ones((3, 3)))], SIGNS)
    with pytest.raises(InputError, match="measured by kl and nll; measure"):
        effect_contrast([base, scores(np.ones((3, 2)), metric="nll")], SIGNS)
    with pytest.raises(InputError, match="post was patched on other pairs than the base"):
        training_effects("sft", 1, base, scores(np.ones((3, 2)), "other"), {}, {}, attributed)


def test_ranks_need_four_heads(routed_scores: Any) -> None:
    few = scores(np.random.default_rng(0).exponential(size=(3, 2)))
    ranks = training_effects("sft", 1, few, few, {}, {}, routed_scores(Graph(1, 2), [["L0H0"]] * 3)).ranks
    assert np.isnan(ranks.value)


def test_pooled_intervals_are_those_of_pooled_estimates_and_their_p_touches_zero() -> None:
    rng = np.random.default_rng(2)
    runs = [effect_contrast([scores(np.zeros((9, 4))), scores(rng.normal(0.6, 1, (9, 4)))], SIGNS) for _ in range(3)]
    pooled = pool_contrasts(runs)
    for head in range(4):
        estimates = []
        for run in runs:
            cell = run.heads
            estimates.append(Estimate(cell.value[0, head], cell.low[0, head], cell.high[0, head], 9, "t"))
        expected = pool_estimates(estimates)
        assert pooled.heads.value[0, head] == pytest.approx(expected.value)
        assert (pooled.heads.low[0, head], pooled.heads.high[0, head]) == (
            pytest.approx(expected.low),
            pytest.approx(expected.high),
        )
    assert pooled.heads.p_value is not None
    assert ((pooled.heads.p_value <= 0.05) == pooled.heads.excludes_zero).all()
    # Without any spread between seeds, the p-value is that of Student's t over problems.
    alone = runs[0].heads
    same = pool_head_estimates([alone, alone], 9)
    assert same.p_value == pytest.approx(alone.p_value, rel=1e-6)
    nothing = HeadEstimates(*(np.zeros((1, 1)),) * 3, np.ones((1, 1)))
    assert pool_head_estimates([nothing, nothing], 9).p_value == pytest.approx(1.0)


PLANTED = HeadSet.of(["L1H5"])
"""The head that lab-s copies a leaf's digit with."""


@pytest.fixture(scope="module")
def planted() -> tuple[Subject, Subject, Pairs]:
    """Base, post and pairs: the planted head writes nothing in base; post is lab-s. All other weights are equal."""
    post = load_model("lab-s")
    pairs = lab_pairs(post.tokenizer, 12, kind="leaf", seed=4)
    return edit_weights(post, dict.fromkeys(map(str, PLANTED), 0.0)), post, pairs


@pytest.fixture(scope="module")
def effects(planted: tuple[Subject, Subject, Pairs]) -> TrainingEffects:
    """Of the planted head, with a twin that learned nothing and one that learned as much."""
    base, post, pairs = planted
    before, after = exact_heads(base, pairs), exact_heads(post, pairs)
    twins = {"nothing": before, "as much": after}
    attributed = attribute(post, pairs, nodes=4, keep_pairs=True)
    return training_effects("sft", 1, before, after, twins, {"new": PLANTED}, attributed)


def test_a_planted_head_has_a_training_effect(effects: TrainingEffects) -> None:
    heads, (place,) = effects.training.heads, PLANTED
    assert heads.low[place] > effects.least > 0
    assert place in effects.training.changed(effects.least)
    assert effects.base.value[place] == 0  # it writes nothing there
    assert effects.training.sets["new"].low > effects.training.sets[ALL].value > 0


def test_heads_with_equal_weights_move_only_as_far_as_the_planted_one_moves_them(effects: TrainingEffects) -> None:
    """What another head does depends on what reaches it and what reads it: its effect moves without being the cause."""
    change = np.abs(effects.training.heads.value)
    (place,) = PLANTED
    others = np.delete(change.ravel(), np.ravel_multi_index(place, change.shape))
    assert 0 < others.max() < change[place] / 4


def test_above_a_twin_is_what_the_twin_did_not_learn(effects: TrainingEffects) -> None:
    nothing, as_much = effects.above_twin["nothing"], effects.above_twin["as much"]
    np.testing.assert_array_equal(nothing.heads.value, effects.training.heads.value)
    np.testing.assert_array_equal(nothing.q_value, effects.training.q_value)
    assert not as_much.heads.value.any()
    assert len(as_much.changed(0.0)) == 0


def test_exact_effects_are_ranked_like_attribution(planted: tuple[Subject, Subject, Pairs]) -> None:
    _, post, pairs = planted
    exact = exact_heads(post, pairs)
    same = training_effects("sft", 1, exact, exact, {}, {}, attribute(post, pairs, nodes=16, keep_pairs=True))
    assert same.ranks.low > 0
    assert head_effect(exact).low[PLANTED.heads[0]] > 0
    assert exact.top_heads(1) == list(PLANTED)


def test_saving_and_loading_is_the_identity(effects: TrainingEffects, tmp_path: Path) -> None:
    effects.save(tmp_path)
    loaded = TrainingEffects.load(tmp_path)
    assert loaded.as_dict() == effects.as_dict()
    pooled = pool_training_effects([effects, effects])
    pooled.save(tmp_path)
    assert PooledEffects.load(tmp_path).as_dict() == pooled.as_dict()
    assert pooled.variants == ("sft", "sft")
    assert set(pooled.above_twin) == {"nothing", "as much"}
