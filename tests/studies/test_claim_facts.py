"""What a study file says of the claims it can decide: built-in studies, and what is trained elsewhere."""

from pathlib import Path
from typing import Any

import pytest

from headscope.comparison.claims import RecipeFacts, StudyFacts, find_gaps
from headscope.studies.claim_facts import gap_lines, gaps_json, study_facts, study_gaps
from headscope.studies.reading import read_study
from headscope.studies.study_file.study import Study


def study(*variants: dict[str, Any], **settings: Any) -> Study:
    base = {"name": "s", "base": {"model": "lab-m"}, "tasks": ["lab-t1", "lab-k"]}
    return Study.model_validate(base | {"variants": list(variants)} | settings)


def test_a_built_in_study_is_counted_seed_by_seed() -> None:
    facts = study_facts(read_study("lab-full"))
    by_name = {recipe.name: recipe for recipe in facts.recipes}
    assert list(by_name) == ["sft", "grpo", "distill"]
    assert [(by_name[name].seeds, by_name[name].null_twins) for name in by_name] == [(3, 2), (3, 2), (1, 1)]
    assert [recipe.rewards for recipe in facts.recipes] == [False, True, False]
    assert not by_name["distill"].on_traces  # it learns from the logits of a variant of the study
    assert (facts.thinking, facts.opening_tokens, facts.layer_heads) == (False, 4, 8)
    assert [task.name for task in facts.evaluated if task.recall] == ["lab-k", "lab-kr"]
    assert (facts.controls, facts.ablated[0].problems) == (20, 80)


@pytest.mark.parametrize(
    ("name", "decided"),
    [
        ("qwen2.5-math", "C1 C2 C3 C4 C5 C6 C7 C10"),
        ("qwen2.5-math-7b", "C1 C2 C3 C4 C5 C6 C7 C10"),
        ("qwen2.5-math-openr1", "C2 C3 C4 C10"),
        ("llama-3.2", "C1 C2 C3 C4 C10"),
        ("llama-3.1", "C4 C6 C7 C10"),
        ("qwen3-think", "C8 C9"),
    ],
)
def test_the_papers_studies_can_decide_what_the_paper_decided(name: str, decided: str) -> None:
    gaps = study_gaps(read_study(name))
    blocked = {claim: [gap.sentence for gap in gaps[claim] if gap.blocks] for claim in decided.split()}
    assert blocked == {claim: [] for claim in decided.split()}


def test_two_modes_of_one_model_are_seen() -> None:
    facts = study_facts(read_study("lab-think", ["discover.contrast=openings", "discover.opening_tokens=2"]))
    assert (facts.thinking, facts.opening_tokens) == (True, 2)
    one_mode = study({"name": "off", "model": "lab-s", "chat": {"enable_thinking": False}})
    assert not study_facts(one_mode).thinking
    other = {"name": "on", "model": "lab-s", "chat": {"enable_thinking": True}}
    assert study_facts(study({"name": "off", "model": "lab-s", "chat": {"enable_thinking": False}}, other)).thinking
    leaf = study({"name": "x", "model": "lab-s"}, discover={"contrast": "lab-leaf"})
    assert study_facts(leaf).opening_tokens is None


def test_variants_trained_elsewhere_say_how(tmp_path: Path) -> None:
    revisions = {"model": "org/model", "revisions": ["step0", "step100", "step200"]}
    elsewhere = study(
        {"name": "r1", "model": "lab-s", "method": "distill"},
        {"name": "rl", "checkpoints": revisions, "method": "grpo", "reward_log": "log.jsonl"},
        {"name": "later", "checkpoints": str(tmp_path / "checkpoint-*")},
    )
    assert study_facts(elsewhere).recipes == (
        RecipeFacts("r1", "distill", True, 1, 1, 0, False),
        RecipeFacts("rl", "grpo", False, 1, 2, 0, True),
        RecipeFacts("later", "", False, 1, None, 0, False),
    )
    gaps = {name: [gap.sentence for gap in of_claim] for name, of_claim in study_gaps(elsewhere).items()}
    assert gaps["C1"][0] == "r1 has 1 checkpoint: whether heads stay is seen over 4 or more"
    assert gaps["C3"] == [
        "rl has 0 differenced points (1 seed × 2 checkpoints), and needs 12: save more often, or add seeds"
    ]


def test_a_method_that_contradicts_the_training_is_refused() -> None:
    with pytest.raises(ValueError, match="trained here by sft, and method says grpo"):
        study({"name": "sft", "train": {"method": "sft", "dataset": "lab-traces"}, "method": "grpo"})


def test_a_line_per_claim_and_the_same_as_data() -> None:
    gaps = find_gaps(StudyFacts())
    lines = gap_lines(gaps)
    assert [line.split()[0] for line in lines] == [f"C{number}" for number in range(1, 11)]
    assert lines[3] == "C4 not decided: the study has no post-trained model"
    rows = gaps_json(gaps)
    assert rows[3] == {
        "claim": "C4",
        "decidable": False,
        "missing": ["the study has no post-trained model"],
        "weak": [],
    }
    decided = gap_lines(study_gaps(read_study("lab")))
    assert decided[0].startswith("C1 can be decided (no null twin of sft")
    assert decided[3] == "C4 can be decided"
