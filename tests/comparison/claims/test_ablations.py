"""C6 to C9: emergent heads that are removed or scaled, and the heads of think-on and think-off."""

from dataclasses import replace

import numpy as np
from tests.comparison.claims.builders import ablation, counts, estimate, read_claim

from headscope.comparison.claims import Modes, StudyResults, judge
from headscope.measures.intervals import paired_difference
from headscope.results.thinking import Thinking
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED


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


def test_a_trade_needs_a_rise_and_a_fall_at_one_scale() -> None:
    up, down = ablation(0.2, 0.1, "x1.3", "t1"), ablation(-0.2, 0.1, "x1.3", "t2")
    assert read_claim(StudyResults(ablations=(up, down)), "C7")[0] == SUPPORTED
    level = ablation(0.0, 0.01, "x1.3", "t2")
    assert read_claim(StudyResults(ablations=(up, level)), "C7")[0] == NOT_SUPPORTED
    assert read_claim(StudyResults(ablations=(up,)), "C7")[0] == UNDECIDED
    elsewhere = ablation(-0.2, 0.1, "x0.5", "t2")
    assert read_claim(StudyResults(ablations=(up, elsewhere)), "C7")[0] == UNDECIDED


def test_a_change_whose_interval_holds_0_is_no_rise() -> None:
    """Of ten problems four are gained and none lost: the interval of the change holds 0, and so does the p-value's."""
    before, after = np.zeros(10), np.repeat([1.0, 0.0], [4, 6])
    gained = paired_difference(after, before)
    assert gained.low < 0 < gained.value
    up, down = ablation(0.2, 0.1, "x1.3", "t1"), ablation(-0.2, 0.1, "x1.3", "t2")
    assert up.verdict is not None
    unsure = replace(up, verdict=replace(up.verdict, effect=gained))
    assert read_claim(StudyResults(ablations=(unsure, down)), "C7")[0] == UNDECIDED
    few = replace(up, verdict=replace(up.verdict, effect=replace(up.verdict.effect, n=9)))
    assert read_claim(StudyResults(ablations=(few, down)), "C7")[0] == UNDECIDED


def test_coverage_of_seeds_with_different_numbers_of_samples_is_not_pooled(result) -> None:
    grid = np.zeros((5, 8))
    thinking = Thinking(result(grid, grid), 0.8, estimate(0.01), estimate(0.02), estimate(4, 1))
    seeds = (Modes("off", "off", thinking), Modes("off.seed1", "off", thinking))
    ablations = [
        ablation(0.2, 0.1, variant=modes.variant, group="think-off-only", coverage=(samples, estimate(-0.2, 0.1)))
        for modes, samples in zip(seeds, (8, 16), strict=True)
    ]
    reading, reason = read_claim(StudyResults(ablations=tuple(ablations), thinking=seeds), "C9")
    assert reading == UNDECIDED
    assert "[8, 16] samples per problem" in reason


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
