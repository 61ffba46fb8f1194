"""Claims: the calculus of parts, and each claim where the answer is known or something is lacking."""

from dataclasses import replace

import numpy as np
import pytest

from headscope.comparison import head_dynamics
from headscope.comparison.claims import (
    Ablation,
    Answers,
    Modes,
    RecipeFacts,
    Run,
    StudyFacts,
    StudyResults,
    TaskFacts,
    find_gaps,
    judge,
)
from headscope.comparison.claims.parts import judge_claim, judge_part, missing_part
from headscope.comparison.claims.study_results import Ablation as AblationOf
from headscope.comparison.claims.tiers import low_tiers
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.results.claim import FAILS, HOLDS, OPEN, Claims
from headscope.results.counts import Counts, HeadEstimates
from headscope.results.dynamics import RewardCount
from headscope.results.estimate import Estimate
from headscope.results.thinking import Thinking
from headscope.results.training_effects import HeadContrast, TrainingEffects
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED, AblationVerdict


def estimate(value: float, half: float = 0.0, n: int = 40) -> Estimate:
    return Estimate(float(value), float(value - half), float(value + half), n, "test")


def effects(new: Estimate, above_twin: dict[str, Estimate] | None = None) -> TrainingEffects:
    """Return training effects of the new heads, in nats; the corrupt text costs 4."""
    nothing = HeadEstimates(*(np.zeros((2, 2)),) * 3)

    def contrast(estimate: Estimate) -> HeadContrast:
        return HeadContrast(nothing, np.ones((2, 2)), {"new": estimate}, 40)

    return TrainingEffects(
        variant="sft",
        step=4,
        recipe="sft",
        null="",
        metric="kl",
        base=nothing,
        post=nothing,
        corruption=(4.0, 3.0),
        training=contrast(new),
        above_twin={twin: contrast(above) for twin, above in (above_twin or {}).items()},
        counted={},
        pairs=40,
        problems=40,
        ranks=estimate(0.9),
    )


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


@pytest.mark.parametrize("absent", [2, 3])
def test_where_hardly_a_head_could_be_new_nothing_was_asked(run, absent: int) -> None:
    grid = np.ones((5, 8))
    grid.ravel()[:absent] = 0
    crowded = []
    for each in (run("sft", "sft", [LATE] * 4), run("grpo", "grpo", [set()] * 4)):
        series = tuple((step, replace(result, base_frequency=grid)) for step, result in each.series)
        crowded.append(replace(each, series=series))
    for name, study in (("C1", StudyResults((crowded[0],))), ("C2", StudyResults(tuple(crowded)))):
        claim = next(claim for claim in judge(study) if claim.name == name)
        excess = claim.parts[0]
        assert (excess.state == OPEN) == (absent == 2)  # of 40 heads, more than 5 % must be able to be new
        if absent == 2:
            assert "2 of 40 heads are absent from the base's circuit" in excess.reason


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
    assert "of sft is 0.125" in reason


def test_two_thirds_is_between_a_half_and_five_sixths(run) -> None:
    readings = {
        kept_heads: read_claim(StudyResults((run("sft", "sft", [set()], kept_heads=kept_heads),)), "C4")[0]
        for kept_heads in (3, 6, 8, 12)
    }
    assert readings == {3: NOT_SUPPORTED, 6: UNDECIDED, 8: SUPPORTED, 12: NOT_SUPPORTED}


def test_depth_is_asked_of_both_methods(run) -> None:
    """The base's core heads are 0 to 11, of layers 0 and 1: their mean depth is 1/12."""
    late = run("sft", "sft", [LATE])
    deep = replace(run("distill", "distill", [LATE]), on_traces=True)
    assert read_claim(StudyResults((late, deep)), "C5")[0] == NOT_SUPPORTED  # distillation's are late too
    lacking = "no distillation on a teacher's traces is compared; both are asked about"
    assert read_claim(StudyResults((late,)), "C5") == (UNDECIDED, lacking)
    on_policy = replace(deep, on_traces=False)
    assert read_claim(StudyResults((late, on_policy)), "C5") == (UNDECIDED, lacking)


def test_depth_is_compared_with_the_base_and_not_with_the_middle(run, result) -> None:
    """A base whose core heads are the last 16: heads in the middle layer are early there, late above a shallow base."""
    deep_base, shallow_base = np.zeros((5, 8)), np.zeros((5, 8))
    deep_base.ravel()[24:] = 1
    shallow_base.ravel()[:8] = 1
    middle = np.zeros((5, 8))
    middle[2] = 1
    late = np.zeros((5, 8))
    late[4] = 1

    def trained(method: str, base: np.ndarray, post: np.ndarray) -> Run:
        series = [(10, result(base, post))]
        return Run(method, method, method, "", tuple(series), head_dynamics(series), on_traces=method == "distill")

    sft = trained("sft", shallow_base, late)
    distilled = trained("distill", deep_base, middle)
    assert read_claim(StudyResults((sft, distilled)), "C5")[0] == SUPPORTED
    shallow = trained("distill", shallow_base, middle)
    assert read_claim(StudyResults((sft, shallow)), "C5")[0] == NOT_SUPPORTED


def rewarded(run, mass: np.ndarray, reward: np.ndarray, steps: int = 40) -> Run:
    """A run without a single new head in which ``mass`` of importance has moved to head L0H0."""
    plain = run("grpo", "grpo", [set()] * steps)
    series = []
    for (step, comparison), moved in zip(plain.series, mass, strict=True):
        value = np.zeros((5, 8))
        value[0, :2] = moved, -moved
        change = replace(comparison.importance_change, value=value)
        series.append((step, replace(comparison, importance_change=change)))
    rows = tuple(RewardCount(step, float(x), 0.0, 1, 8, 0, 0) for (step, _), x in zip(series, reward, strict=True))
    return replace(plain, series=tuple(series), rewards=rows)


def test_c3_follows_the_mass_that_moved_where_no_head_is_new(run) -> None:
    reward = np.cumsum(np.random.default_rng(0).normal(size=40))
    mass = 0.5 + reward / 50
    reading, reason = read_claim(StudyResults((rewarded(run, mass, reward),)), "C3")
    assert reading == SUPPORTED
    assert "of the number of new heads 0.00" in reason  # no count could have shown it
    apart = np.random.default_rng(1).permutation(reward)
    assert read_claim(StudyResults((rewarded(run, mass, apart),)), "C3")[0] != SUPPORTED
    backwards = rewarded(run, mass, -reward)
    assert read_claim(StudyResults((backwards,)), "C3")[0] == NOT_SUPPORTED


def test_c3_needs_points_and_says_how_many(run) -> None:
    reward = np.cumsum(np.random.default_rng(0).normal(size=6))
    few = read_claim(StudyResults((rewarded(run, 0.5 + reward / 50, reward, 6),)), "C3")
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
    for other in ("x1.3", "revert"):  # neither removes a head
        assert read_claim(StudyResults(ablations=(*lower[:2], ablation(-0.2, 0.1, other))), "C6")[0] == UNDECIDED
    nothing = [ablation(0.0, 0.01, operator) for operator in ("mean", "resample")]
    assert read_claim(StudyResults(ablations=(lower[0], *nothing)), "C6")[0] == NOT_SUPPORTED
    empty = replace(lower[0], verdict=None)
    assert "no emergent heads" in read_claim(StudyResults(ablations=(empty,)), "C6")[1]
    # Heads that are reverted are still there: neither a third operator for, nor a second one against.
    reverted = ablation(-0.2, 0.1, "revert")
    assert read_claim(StudyResults(ablations=(*lower[:2], reverted)), "C6")[0] == UNDECIDED
    kept = ablation(0.0, 0.01, "revert")
    assert read_claim(StudyResults(ablations=(lower[0], nothing[0], kept)), "C6")[0] == UNDECIDED


def test_the_emergent_heads_are_one_group_of_the_study() -> None:
    lower = [ablation(-0.2, 0.1, name, group="paper-emergent") for name in ("zero", "mean", "resample")]
    up = ablation(0.2, 0.1, "x1.3", "t1", group="paper-emergent")
    down = ablation(-0.2, 0.1, "x1.3", "t2", group="paper-emergent")
    results = StudyResults(ablations=(*lower, up, down), groups=("paper-emergent", "paper-lost"))
    assert [read_claim(results, name)[0] for name in ("C6", "C7")] == [SUPPORTED, SUPPORTED]
    assert "its paper-emergent heads" in read_claim(results, "C6")[1]
    # Where both are removed, the bootstrap's are asked about, even if there are none: no second chance.
    both = replace(results, groups=("paper-emergent", "emergent"))
    assert [read_claim(both, name)[0] for name in ("C6", "C7")] == [UNDECIDED, UNDECIDED]
    others = replace(results, groups=("kept", "think-off-only", "named"))
    assert "no emergent heads" in read_claim(others, "C6")[1]


def test_a_finished_model_is_not_asked_whether_its_heads_stay(run) -> None:
    sft, finished = run("sft", "sft", [LATE] * 4), run("r1", "distill", [LATE])
    assert read_claim(StudyResults((sft, finished)), "C1")[0] == SUPPORTED
    assert "1 checkpoint" in read_claim(StudyResults((finished,)), "C1")[1]
    few = run("r1", "distill", [set()])  # its number of new heads counts as any other's
    assert read_claim(StudyResults((sft, few)), "C1")[0] == NOT_SUPPORTED


def test_a_trade_needs_a_rise_and_a_fall_at_one_scale() -> None:
    up, down = ablation(0.2, 0.1, "x1.3", "t1"), ablation(-0.2, 0.1, "x1.3", "t2")
    assert read_claim(StudyResults(ablations=(up, down)), "C7")[0] == SUPPORTED
    level = ablation(0.0, 0.01, "x1.3", "t2")
    assert read_claim(StudyResults(ablations=(up, level)), "C7")[0] == NOT_SUPPORTED
    assert read_claim(StudyResults(ablations=(up,)), "C7")[0] == UNDECIDED
    elsewhere = ablation(-0.2, 0.1, "x0.5", "t2")
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
    # Openings of two tokens compare styles; longer ones, and pairs that differ in a digit, can decide.
    for tokens, verdict in ((2, UNDECIDED), (16, SUPPORTED), (None, SUPPORTED)):
        modes = Modes("off", "off", thinking, tokens)
        assert read_claim(StudyResults(thinking=(modes,)), "C8")[0] == verdict
    group = "think-off-only"
    raised = ablation(0.2, 0.1, variant="off", group=group, coverage=(16, estimate(-0.2, 0.1)))
    new_against_base = replace(raised, group="emergent")
    assert read_claim(StudyResults(ablations=(new_against_base,), thinking=off), "C9")[0] == UNDECIDED
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
    assert "no seed has heads that only think-off has" in read_claim(StudyResults((), (nothing,), off), "C9")[1]


def answers(rate: np.ndarray, later: np.ndarray, tiers=None, kinds=("over-thinking", "plan"), seed: int = 0) -> Answers:
    """Problems the base solves with chance ``rate``, after training with ``later``; kinds: of failures, by ``rate``
    above and below a half.
    """
    rng = np.random.default_rng(seed)
    base = rng.random((len(rate), 8)) < rate[:, None]
    post = rng.random((len(rate), 8)) < later[:, None]
    failures = []
    for row, chance in zip(post, rate, strict=True):
        failures.append(tuple("" if right else kinds[0] if chance > 0.5 else kinds[1] for right in row))
    tiers = tuple(tiers or ["T1" if chance > 0.5 else "T3" for chance in rate])
    return Answers("sft", "sft", "t1", base, post, tiers, failures=tuple(failures))


RATE = np.repeat([0.02, 0.98], 40)
LOST = answers(RATE, np.repeat([0.4, 0.5], 40))
"""Hard problems are gained, easy ones lost to over-thinking; those never solved have a wrong plan."""


def read_c10(*records: Answers) -> str:
    return read_claim(StudyResults(answers=records), "C10")[0]


def test_harder_for_easy_is_supported_where_it_is_so() -> None:
    never = answers(np.full(20, 0.0), np.full(20, 0.0), seed=1)
    assert read_c10(LOST, replace(never, task="t3")) == SUPPORTED
    unread = replace(LOST, failures=None)
    assert "were not read" in read_claim(StudyResults(answers=(unread,)), "C10")[1]
    seeds = (LOST, replace(LOST, variant="sft.seed1"))
    parts = next(claim for claim in judge(StudyResults(answers=seeds)) if claim.name == "C10").parts
    assert [part.statistic for part in parts[:2]] == ["change on hard problems", "change on easy problems"]
    assert "2 seeds" in parts[0].estimate.method
    still_solved = answers(np.repeat([0.02, 0.85], 40), np.repeat([0.6, 1.0], 40))
    assert read_c10(still_solved) == NOT_SUPPORTED


def test_lost_answers_must_be_labelled_more_than_those_never_right() -> None:
    for both, verdict in (("plan", SUPPORTED), ("loop", UNDECIDED), ("form", SUPPORTED)):
        never = answers(np.full(20, 0.0), np.full(20, 0.0), kinds=(both, both), seed=1)
        assert read_c10(LOST, replace(never, task="t3")) == verdict, both
    lost_otherwise = answers(RATE, np.repeat([0.4, 0.5], 40), kinds=("plan", "calculation"))
    never = answers(np.full(40, 0.0), np.full(40, 0.0), kinds=("loop", "loop"), seed=1)
    assert read_c10(lost_otherwise, replace(never, task="t3")) == NOT_SUPPORTED


def test_easy_problems_are_of_a_low_tier_and_ask_for_more_than_a_fact() -> None:
    """What is lost on facts, or on problems of a high tier, is no easy problem lost."""
    never = replace(answers(np.full(20, 0.0), np.full(20, 0.0), seed=1), task="t3")
    recall = replace(LOST, recall=True)
    assert read_claim(StudyResults(answers=(recall,)), "C10")[1].startswith("no base and post-trained model")
    high = replace(LOST, tiers=("T4",) * 80)
    low = replace(answers(np.full(40, 0.85), np.full(40, 1.0), seed=2), tiers=("T1",) * 40, task="t0")
    assert read_c10(high, low, never) == NOT_SUPPORTED  # on T1, the only low tier, nothing is lost


def test_tiers_are_ranked_within_their_family() -> None:
    assert low_tiers({"T1", "T2", "T3", "T4"}) == {"T1", "T2"}
    assert low_tiers({"Level 5", "Level 1", "Level 3", "Level 2", "Level 4"}) == {"Level 1", "Level 2", "Level 3"}
    assert low_tiers({"", "T2", "T10", "1", "2"}) == {"", "T2", "1"}
    assert low_tiers(set()) == set()


def test_noise_alone_neither_solves_hard_nor_loses_easy_problems() -> None:
    """All problems alike and nothing changed: choosing and counting on the same samples would show both."""
    wrong = 0
    for seed in range(40):
        same = answers(np.full(120, 0.5), np.full(120, 0.5), ["T1"] * 120, seed=seed)
        parts = next(claim for claim in judge(StudyResults(answers=(same,))) if claim.name == "C10").parts
        wrong += sum(part.state == HOLDS for part in parts[:2])
    assert wrong <= 6  # 80 one-sided tests at 2.5 %: 2 expected


FULL = StudyFacts(
    recipes=(
        RecipeFacts("sft", "sft", False, 1, 5, 1, False),
        RecipeFacts("r1", "distill", True, 1, 5, 1, False),
        RecipeFacts("grpo", "grpo", False, 3, 12, 1, True),
    ),
    pairs=40,
    thinking=True,
    groups=("emergent", "think-off-only"),
    operators=("zero", "mean", "resample"),
    scales=(1.3,),
    controls=20,
    ablated=(TaskFacts("t1", 60, False), TaskFacts("t2", 60, False)),
    ablated_samples=8,
    evaluated=(TaskFacts("t1", 60, False),),
    samples=4,
)
"""A study that can decide all ten claims."""


def blocking(**changes) -> dict[str, list[str]]:
    gaps = find_gaps(replace(FULL, **changes))
    sentences = {name: [gap.sentence for gap in of_claim if gap.blocks] for name, of_claim in gaps.items()}
    return {name: of_claim for name, of_claim in sentences.items() if of_claim}


@pytest.mark.parametrize(
    ("changes", "claims", "word"),
    [
        ({"recipes": ()}, "C1 C2 C3 C4 C5 C6 C7 C10", "no"),
        ({"recipes": FULL.recipes[:1]}, "C2 C3 C5", "no variant"),
        ({"recipes": (replace(FULL.recipes[2], seeds=1),)}, "C1 C3 C5", "no variant"),
        ({"recipes": (replace(FULL.recipes[1], on_traces=False), FULL.recipes[0])}, "C2 C3 C5", "no variant"),
        ({"pairs": 4}, "C1 C2 C4 C5 C8", "discover.pairs is 4"),
        ({"thinking": False}, "C8 C9", "thinking on and off"),
        ({"opening_tokens": 2}, "C8", "openings of 2 tokens"),
        ({"groups": ("emergent",)}, "C9", "think-off-only"),
        ({"groups": ("paper-emergent", "kept")}, "C9", "think-off-only"),
        ({"groups": ("think-off-only", "kept")}, "C6 C7", "no emergent heads"),
        ({"recipes": (replace(FULL.recipes[1], checkpoints=1), FULL.recipes[2])}, "C1 C5", "1 checkpoint"),
        ({"operators": ("zero", "mean", "revert")}, "C6", "removed by 2 operators, and 3 must agree"),
        ({"scales": ()}, "C7", "generated_scales"),
        ({"controls": 4}, "C6", "4 random sets"),
        ({"ablated": FULL.ablated[:1]}, "C7", "1 task of 10 problems or more, and 2 must be"),
        ({"ablated_samples": 4}, "C9", "ablate.samples is 4"),
        ({"samples": 2}, "C10", "eval.samples is 2"),
        ({"evaluated": (TaskFacts("lab-k", 60, True),)}, "C10", "not recall"),
    ],
)
def test_a_study_that_lacks_something_is_told_which_claims_need_it(changes, claims: str, word: str) -> None:
    assert blocking() == {}
    gaps = blocking(**changes)
    assert " ".join(gaps) == claims
    assert word in " ".join(gaps[claims.split()[-1]] + gaps[claims.split()[0]])


def test_what_only_weakens_an_answer_does_not_block_it() -> None:
    weak = find_gaps(replace(FULL, recipes=(replace(FULL.recipes[0], null_twins=0),), layer_heads=8))
    assert [gap.blocks for gap in weak["C1"]] == [False]
    pool = "the layer of a single new head and the one next to it have 15 other heads"
    assert weak["C6"][0].sentence == f"{pool} for 19 sets"
