"""Claims: the calculus of parts, and each claim where the answer is known or something is lacking."""

from dataclasses import replace

import numpy as np
import pytest

from headscope.comparison import head_dynamics
from headscope.comparison.claims import Ablation, Answers, Modes, Run, StudyResults, judge
from headscope.comparison.claims.parts import judge_claim, judge_part, missing_part
from headscope.comparison.claims.study_results import Ablation as AblationOf
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.results.claim import FAILS, HOLDS, OPEN, Claims
from headscope.results.counts import Counts
from headscope.results.dynamics import RewardCount
from headscope.results.estimate import Estimate
from headscope.results.thinking import Thinking
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED, AblationVerdict


def estimate(value: float, half: float = 0.0, n: int = 40) -> Estimate:
    return Estimate(float(value), float(value - half), float(value + half), n, "test")


def test_a_part_holds_fails_or_is_open_by_its_whole_interval() -> None:
    states = [judge_part("x", "s", estimate(value, 1), ">", 0.0).state for value in (1.5, 1.0, -1.0, -0.5)]
    assert states == [HOLDS, OPEN, FAILS, OPEN]
    assert [judge_part("x", "s", estimate(value, 1), "<", 0.0).state for value in (-1.5, 1.0)] == [HOLDS, FAILS]
    assert judge_part("x", "s", estimate(float("nan")), ">", 0.0).state == OPEN
    few = judge_part("x", "s", estimate(1.0, n=4), ">", 0.0, least=(5, "heads"))
    assert few.state == OPEN
    assert "4 heads; at least 5" in few.reason


def test_a_claim_is_the_conjunction_of_its_parts() -> None:
    holds, fails = judge_part("x", "s", estimate(1), ">", 0.0), judge_part("y", "s", estimate(-1), ">", 0.0)
    opened = missing_part("z", "s", "nothing was run")
    assert judge_claim("C0", "?", [holds, holds], "").reading == SUPPORTED
    assert judge_claim("C0", "?", [holds, opened, fails], "").reading == NOT_SUPPORTED
    assert judge_claim("C0", "?", [holds, opened], "").reason == "nothing was run"
    assert (judge_claim("C0", "?", [], "no run").reading, judge_claim("C0", "?", [], "no run").reason) == (
        UNDECIDED,
        "no run",
    )


def counts(new: float, kept_heads: float = 0.0) -> Counts:
    return Counts(estimate(kept_heads, 0.5), estimate(new, 0.5), estimate(0, 0.5), estimate(0, 0.5))


@pytest.fixture
def run(result):
    """(name, method, rows of emergent heads per checkpoint) → a run of a 5 x 8 model with 12 core heads in base."""

    def build(
        name: str, method: str, rows: list[set[int]], *, recipe: str = "", null: str = "", kept_heads: int = 8
    ) -> Run:
        base = np.zeros((5, 8))
        base.ravel()[:12] = 1
        series = []
        for number, heads in enumerate(rows):
            post = np.zeros((5, 8))
            post.ravel()[:kept_heads] = 1
            post.ravel()[list(heads)] = 1
            comparison = replace(result(base, post), counts=counts(len(heads), kept_heads), excess=counts(len(heads)))
            series.append((10 * (number + 1), replace(comparison, null=counts(0, 12))))
        return Run(name, method, recipe or name, null, tuple(series), head_dynamics(series))

    return build


LATE = set(range(30, 40))


def read_claim(results: StudyResults, name: str) -> tuple[str, str]:
    claim = next(claim for claim in judge(results) if claim.name == name)
    return claim.reading, claim.reason


def test_an_empty_study_leaves_all_ten_undecided_with_a_reason() -> None:
    claims = judge(StudyResults())
    assert [claim.name for claim in claims] == [f"C{number}" for number in range(1, 11)]
    assert {claim.reading for claim in claims} == {UNDECIDED}
    assert all(claim.reason and claim.question.endswith("?") for claim in claims)
    saved = Claims(claims).as_dict()
    assert Claims.from_dict(saved) == Claims(claims)
    with pytest.raises(InputError, match="schema_version"):
        Claims.from_dict(saved | {"schema_version": 9})


def test_many_heads_that_persist_support_c1_and_contradict_c2(run) -> None:
    rows = [LATE] * 4
    sft, grpo = run("sft", "sft", rows), run("grpo", "grpo", rows)
    assert read_claim(StudyResults((sft,)), "C1")[0] == SUPPORTED
    assert read_claim(StudyResults((sft,)), "C2")[0] == UNDECIDED
    assert read_claim(StudyResults((grpo,)), "C2")[0] == NOT_SUPPORTED


def test_few_heads_that_leave_support_c2(run) -> None:
    come_and_go = [{30, 31, 32, 33}] * 2 + [{34, 35, 36, 37}] * 2 + [set()] * 2
    grpo, sft = run("grpo", "grpo", come_and_go), run("sft", "sft", [LATE] * 4)
    assert read_claim(StudyResults((grpo, sft)), "C2")[0] == SUPPORTED
    nothing = run("grpo", "grpo", [set()] * 3)
    assert read_claim(StudyResults((nothing, sft)), "C2") == (
        UNDECIDED,
        "share of established emergent heads that remain of grpo rests on 0 heads; at least 5 are needed",
    )
    assert "1 checkpoint" in read_claim(StudyResults((run("grpo", "grpo", [set()]),)), "C2")[1]


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
    assert "of sft is 0.125" in reason


def test_two_thirds_is_between_a_half_and_five_sixths(run) -> None:
    readings = {
        kept_heads: read_claim(StudyResults((run("sft", "sft", [set()], kept_heads=kept_heads),)), "C4")[0]
        for kept_heads in (3, 6, 8, 12)
    }
    assert readings == {3: NOT_SUPPORTED, 6: UNDECIDED, 8: SUPPORTED, 12: NOT_SUPPORTED}


def test_depth_is_asked_of_both_methods(run) -> None:
    late, early = run("sft", "sft", [LATE]), run("distill", "distill", [set(range(12, 20))])
    assert read_claim(StudyResults((late, early)), "C5")[0] == SUPPORTED
    assert read_claim(StudyResults((early,)), "C5") == (UNDECIDED, "the study has no sft run; both are asked about")
    wrong = run("sft", "sft", [set(range(12, 20))])
    assert read_claim(StudyResults((wrong, early)), "C5")[0] == NOT_SUPPORTED


def test_c3_needs_points_and_says_how_many(run) -> None:
    grpo = run("grpo", "grpo", [set()] * 3)
    walk = np.cumsum(np.random.default_rng(0).normal(size=20))
    rows = tuple(RewardCount(step, float(x), 0.0, 1, 8, round(100 * x), 0) for step, x in enumerate(walk))
    assert read_claim(StudyResults((replace(grpo, rewards=rows),)), "C3")[0] == SUPPORTED
    few = read_claim(StudyResults((replace(grpo, rewards=rows[:6]),)), "C3")
    assert few == (UNDECIDED, "grpo has 5 differenced points; at least 12 are needed")


def ablation(effect: float, half: float, operator: str = "zero", task: str = "t1", **changes) -> AblationOf:
    read = SUPPORTED if effect + half < 0 else NOT_SUPPORTED if abs(effect) + half < 0.05 else UNDECIDED
    pass_rate = estimate(0.5, 0.1)
    verdict = AblationVerdict(
        *(task, operator, HeadSet.of(["L0H0"]), read, "", pass_rate, pass_rate, estimate(effect, half)),
        *(np.zeros(200), estimate(effect, half), 0.005 if read == SUPPORTED else 0.5, 1, "lower", 0.05, 1, 0),
    )
    return Ablation(
        **({"variant": "sft", "group": "emergent", "operator": operator, "task": task} | changes), verdict=verdict
    )


def test_three_of_four_operators_must_agree() -> None:
    lower = [ablation(-0.2, 0.1, operator) for operator in ("zero", "mean", "resample")]
    assert read_claim(StudyResults(ablations=tuple(lower)), "C6")[0] == SUPPORTED
    assert read_claim(StudyResults(ablations=tuple(lower[:2])), "C6")[0] == UNDECIDED
    nothing = [ablation(0.0, 0.01, operator) for operator in ("mean", "resample")]
    assert read_claim(StudyResults(ablations=(lower[0], *nothing)), "C6")[0] == NOT_SUPPORTED
    empty = replace(lower[0], verdict=None)
    assert "no emergent heads" in read_claim(StudyResults(ablations=(empty,)), "C6")[1]
    # Heads that are reverted are still there: neither a third operator for, nor a second one against.
    reverted = ablation(-0.2, 0.1, "revert")
    assert read_claim(StudyResults(ablations=(*lower[:2], reverted)), "C6")[0] == UNDECIDED
    kept = ablation(0.0, 0.01, "revert")
    assert read_claim(StudyResults(ablations=(lower[0], nothing[0], kept)), "C6")[0] == UNDECIDED


def test_a_trade_needs_a_rise_and_a_fall_at_one_scale() -> None:
    up, down = ablation(0.2, 0.1, "scale 1.3", "t1"), ablation(-0.2, 0.1, "scale 1.3", "t2")
    assert read_claim(StudyResults(ablations=(up, down)), "C7")[0] == SUPPORTED
    level = ablation(0.0, 0.01, "scale 1.3", "t2")
    assert read_claim(StudyResults(ablations=(up, level)), "C7")[0] == NOT_SUPPORTED
    assert read_claim(StudyResults(ablations=(up,)), "C7")[0] == UNDECIDED
    elsewhere = ablation(-0.2, 0.1, "scale 0.5", "t2")
    assert read_claim(StudyResults(ablations=(up, elsewhere)), "C7")[0] == UNDECIDED


def test_think_claims(result) -> None:
    grid = np.zeros((5, 8))
    change = replace(result(grid, grid), excess=counts(0), null=counts(0))
    thinking = Thinking(change, 0.8, estimate(0.01), estimate(0.02), estimate(4, 1))
    off = (Modes("off", "off", thinking),)
    assert read_claim(StudyResults(thinking=off), "C8")[0] == SUPPORTED
    narrow = replace(thinking, broader=estimate(-4, 1))
    assert read_claim(StudyResults(thinking=(Modes("off", "off", narrow),)), "C8")[0] == NOT_SUPPORTED
    # Two seeds of one recipe are one part, and their spread leaves it open; two recipes must pass each on its own.
    for recipe, verdict in (("off", UNDECIDED), ("other", NOT_SUPPORTED)):
        assert read_claim(StudyResults(thinking=(*off, Modes("off.seed1", recipe, narrow))), "C8")[0] == verdict
    raised = ablation(0.2, 0.1, variant="off", coverage=(16, estimate(-0.2, 0.1)))
    assert read_claim(StudyResults(ablations=(raised,), thinking=off), "C9")[0] == SUPPORTED
    few = replace(raised, coverage=(4, estimate(-0.2, 0.1)))
    assert "too few samples" in read_claim(StudyResults(ablations=(few,), thinking=off), "C9")[1]
    assert read_claim(StudyResults(ablations=(raised,)), "C9")[0] == UNDECIDED
    two_seeds = (*off, Modes("off.seed1", "off", thinking))
    again = replace(raised, variant="off.seed1")
    claims = judge(StudyResults(ablations=(raised, again), thinking=two_seeds))
    (first, second) = next(claim for claim in claims if claim.name == "C9").parts
    assert (first.statistic, second.statistic) == ("change of pass@1", "change of pass@16")
    assert "2 seeds" in first.estimate.method
    nothing = replace(raised, verdict=None, coverage=None)
    assert "no seed has emergent heads" in read_claim(StudyResults(ablations=(nothing,), thinking=off), "C9")[1]


def answers(rate: np.ndarray, later: np.ndarray, labelled: Estimate | None = None, seed: int = 0) -> Answers:
    rng = np.random.default_rng(seed)
    base = rng.random((len(rate), 8)) < rate[:, None]
    post = rng.random((len(rate), 8)) < later[:, None]
    return Answers("sft", "sft", "t1", base, post, labelled)


def test_harder_for_easy_where_it_is_so_and_where_labels_lack() -> None:
    rate = np.repeat([0.02, 0.98], 40)
    labelled = answers(rate, np.repeat([0.6, 0.5], 40), estimate(0.9, 0.1))
    assert read_claim(StudyResults(answers=(labelled,)), "C10")[0] == SUPPORTED
    bare = replace(labelled, lost_to_slips=None)
    assert "no labels" in read_claim(StudyResults(answers=(bare,)), "C10")[1]
    seeds = (labelled, replace(labelled, variant="sft.seed1"))
    parts = next(claim for claim in judge(StudyResults(answers=seeds)) if claim.name == "C10").parts
    assert [part.statistic for part in parts[:2]] == ["change on hard problems", "change on easy problems"]
    assert "2 seeds" in parts[0].estimate.method
    still_solved = answers(np.repeat([0.02, 0.85], 40), np.repeat([0.6, 1.0], 40), estimate(0.9, 0.1))
    assert read_claim(StudyResults(answers=(still_solved,)), "C10")[0] == NOT_SUPPORTED


def test_noise_alone_neither_solves_hard_nor_loses_easy_problems() -> None:
    """All problems alike and nothing changed: choosing and counting on the same samples would show both."""
    wrong = 0
    for seed in range(40):
        same = answers(np.full(120, 0.5), np.full(120, 0.5), estimate(0.9, 0.1), seed=seed)
        parts = next(claim for claim in judge(StudyResults(answers=(same,))) if claim.name == "C10").parts
        wrong += sum(part.state == HOLDS for part in parts[:2])
    assert wrong <= 6  # 80 one-sided tests at 2.5 %: 2 expected
