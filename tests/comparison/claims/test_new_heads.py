"""C1 and C2: new heads that persist, or come and go."""

from dataclasses import replace

import numpy as np
import pytest
from tests.comparison.claims.builders import LATE, effects, estimate, read_claim

from headscope.comparison.claims import StudyResults, judge
from headscope.results.claim import OPEN
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED


def test_many_heads_that_persist_support_c1_and_contradict_c2(run) -> None:
    rows = [LATE] * 4
    sft, grpo = run("sft", "sft", rows), run("grpo", "grpo", rows)
    assert read_claim(StudyResults((sft,)), "C1")[0] == SUPPORTED
    assert read_claim(StudyResults((sft,)), "C2")[0] == UNDECIDED
    assert read_claim(StudyResults((grpo,)), "C2")[0] == NOT_SUPPORTED


@pytest.mark.parametrize("absent", [2, 3])
def test_where_hardly_a_head_could_be_new_nothing_was_asked(run, absent: int) -> None:
    grid = np.ones((5, 8))
    grid.ravel()[:absent] = 0
    crowded = []
    for training in (run("sft", "sft", [LATE] * 4), run("grpo", "grpo", [set()] * 4)):
        series = tuple((step, replace(result, base_frequency=grid)) for step, result in training.series)
        crowded.append(replace(training, series=series))
    for name, study in (("C1", StudyResults((crowded[0],))), ("C2", StudyResults(tuple(crowded)))):
        claim = next(claim for claim in judge(study) if claim.name == name)
        excess = claim.parts[0]
        assert (excess.state == OPEN) == (absent == 2)  # of 40 heads, more than 5 % must be able to be new
        if absent == 2:
            assert "only 2 of 40 heads are outside the base's circuit" in excess.reason


@pytest.mark.parametrize(("absent", "verdict"), [(2, UNDECIDED), (3, NOT_SUPPORTED)])
def test_where_hardly_a_head_could_be_new_neither_could_more_than_in_a_twin(run, absent: int, verdict: str) -> None:
    grid = np.ones((5, 8))
    grid.ravel()[:absent] = 0
    runs = []
    for training in (run("sft", "sft", [set()] * 4), run("sft.lr0", "sft", [set()] * 4, recipe="sft", null="lr0")):
        series = tuple((step, replace(result, base_frequency=grid)) for step, result in training.series)
        runs.append(replace(training, series=series))
    assert read_claim(StudyResults(tuple(runs)), "C1")[0] == verdict


def test_few_heads_that_leave_support_c2(run) -> None:
    come_and_go = [{30, 31, 32, 33}] * 2 + [{34, 35, 36, 37}] * 2 + [set()] * 2
    grpo, sft = run("grpo", "grpo", come_and_go), run("sft", "sft", [LATE] * 4)
    assert read_claim(StudyResults((grpo, sft)), "C2")[0] == SUPPORTED
    nothing = run("grpo", "grpo", [set()] * 4)
    assert read_claim(StudyResults((nothing, sft)), "C2") == (
        UNDECIDED,
        "grpo: share of established emergent heads that remain has 0 heads; at least 5 are needed",
    )
    few = run("grpo", "grpo", [set()] * 3)
    assert "fewer than 4 checkpoints" in read_claim(StudyResults((few,)), "C2")[1]


def test_c2_compares_with_sft_only_if_that_adds_heads(run) -> None:
    """Two recipes without a new head: 0 is not fewer than 0, and is nothing to hold against GRPO."""
    come_and_go = [{30, 31, 32, 33}] * 2 + [{34, 35, 36, 37}] * 2 + [set()] * 2
    grpo, idle = run("grpo", "grpo", come_and_go), run("sft", "sft", [set()] * 4)
    assert read_claim(StudyResults((grpo, idle)), "C2")[0] == SUPPORTED
    busy = run("sft", "sft", [LATE] * 4)
    many = run("grpo", "grpo", [set(range(12, 40))] * 4)
    assert read_claim(StudyResults((many, busy)), "C2")[0] == NOT_SUPPORTED


def test_counts_stand_next_to_those_of_the_twins(run) -> None:
    twin = run("grpo.lr0", "grpo", [set()] * 4, recipe="grpo", null="lr0")
    reason = read_claim(StudyResults((run("grpo", "grpo", [LATE] * 4), twin)), "C2")[1]
    assert "new heads 10, of its null twins: grpo.lr0 0" in reason


def test_new_heads_that_the_model_does_not_rely_on_are_not_c1(run) -> None:
    sft = run("sft", "sft", [LATE] * 4)
    relied = replace(sft, effects=effects(estimate(0.2, 0.1)))
    assert read_claim(StudyResults((relied,)), "C1")[0] == SUPPORTED
    idle = replace(sft, effects=effects(estimate(-0.1, 0.05)))
    assert read_claim(StudyResults((idle,)), "C1")[0] == NOT_SUPPORTED


def test_an_effect_that_is_sure_and_next_to_nothing_is_none(run) -> None:
    """4 nats are what the corrupt text costs: 0.02 are less than a hundredth of them."""
    sft = run("sft", "sft", [LATE] * 4)
    assert read_claim(StudyResults((replace(sft, effects=effects(estimate(0.02, 0.01))),)), "C1")[0] == NOT_SUPPORTED


def test_new_heads_must_matter_more_than_after_training_without_the_signal(run) -> None:
    sft = run("sft", "sft", [LATE] * 4)
    for above, reading in ((estimate(0.1, 0.05), SUPPORTED), (estimate(-0.1, 0.05), NOT_SUPPORTED)):
        measured = replace(sft, effects=effects(estimate(0.2, 0.1), {"sft.shuffled_answers": above}))
        value, reason = read_claim(StudyResults((measured,)), "C1")
        assert value == reading
        assert "in its twin sft.shuffled_answers" in reason


def test_a_null_twin_that_adds_as_many_takes_c1_back(run) -> None:
    rows = [LATE] * 4
    twin = run("sft.shuffled", "sft", rows, recipe="sft", null="shuffled_answers")
    assert read_claim(StudyResults((run("sft", "sft", rows), twin)), "C1")[0] == UNDECIDED
    lr0 = run("sft.lr0", "sft", [set()] * 4, recipe="sft", null="lr0")
    assert read_claim(StudyResults((run("sft", "sft", rows), lr0)), "C1")[0] == SUPPORTED


def test_seeds_of_one_recipe_are_judged_together(run) -> None:
    first, second = run("sft", "sft", [LATE] * 4), run("sft.seed1", "sft", [set()] * 4, recipe="sft")
    value, reason = read_claim(StudyResults((first, second)), "C1")
    assert value == UNDECIDED  # 10 and 0 new heads: the mean of 5 has an interval of both
    assert "sft: excess of new heads, as a share of all is 0.125" in reason


def test_a_finished_model_is_not_asked_whether_its_heads_stay(run) -> None:
    sft, finished = run("sft", "sft", [LATE] * 4), run("r1", "distill", [LATE])
    assert read_claim(StudyResults((sft, finished)), "C1")[0] == SUPPORTED
    assert "fewer than 4 checkpoints" in read_claim(StudyResults((finished,)), "C1")[1]
    few = run("r1", "distill", [set()])  # its number of new heads counts as any other's
    assert read_claim(StudyResults((sft, few)), "C1")[0] == NOT_SUPPORTED
