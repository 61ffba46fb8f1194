"""What a study lacks to decide a claim, known before it is run."""

from dataclasses import replace

import numpy as np
import pytest

from headscope.comparison.claims import RecipeFacts, StudyFacts, TaskFacts, find_gaps
from headscope.comparison.control_sets import control_sets
from headscope.heads import HeadSet
from headscope.measures.multiplicity import holm
from headscope.results.numbers import ALPHA

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
    controls=39,
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
        ({"recipes": (replace(FULL.recipes[1], checkpoints=3), FULL.recipes[2])}, "C1 C5", "3 checkpoints"),
        ({"operators": ("zero", "mean", "revert")}, "C6", "removed by 2 operators, and 3 must agree"),
        ({"scales": ()}, "C7", "generated_scales"),
        ({"controls": 4}, "C6", "4 random sets"),
        ({"controls": 20}, "C6", "p ≤ 0.05 on 2 tasks needs 39"),
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
    weak = find_gaps(replace(FULL, recipes=(replace(FULL.recipes[0], null_twins=0),), layers=6, layer_heads=8))
    assert [gap.blocks for gap in weak["C1"]] == [False]
    pool = "the 3 layers nearest to a single new head have 23 other heads"
    assert weak["C6"][0].sentence == f"{pool} for 39 sets"


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_as_many_random_sets_are_asked_for_as_the_verdict_needs(tasks: int) -> None:
    """A removal that costs more than any random set, on each of the tasks."""
    ablated = tuple(TaskFacts(f"t{index}", 60, False) for index in range(tasks))

    def lowers(controls: int) -> bool:
        return bool(holm(np.full(tasks, 1 / (1 + controls)))[0] <= ALPHA)

    def can_decide(controls: int) -> bool:
        gaps = find_gaps(replace(FULL, ablated=ablated, controls=controls))["C6"]
        return not any("random sets" in gap.sentence for gap in gaps)

    assert [can_decide(controls) for controls in range(120)] == [lowers(controls) for controls in range(120)]


def test_the_pool_of_random_sets_is_counted_as_it_is_drawn_from() -> None:
    """A single head at the end of the model, with more sets asked for than there are other heads near it."""
    importance = np.random.default_rng(0).random((6, 8))
    head = HeadSet.of(["L0H3"])
    sets, _ = control_sets(head, HeadSet.of([]), importance, 99, 0)
    assert len(sets) == 23


@pytest.mark.parametrize(("seeds", "checkpoints"), [(6, 3), (12, 2)])
def test_runs_too_short_to_be_correlated_give_no_points(seeds: int, checkpoints: int) -> None:
    (rewarded,) = [recipe for recipe in FULL.recipes if recipe.rewards]
    short = replace(rewarded, seeds=seeds, checkpoints=checkpoints)
    (gap,) = find_gaps(replace(FULL, recipes=(short,)))["C3"]
    assert gap.blocks
    assert "has 0 differenced points" in gap.sentence
