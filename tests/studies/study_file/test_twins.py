"""Twins: one line in a study file, a variant each, and only what they say differs."""

from typing import Any

import pytest

from headscope.errors import InputError
from headscope.runs import RunDirectory
from headscope.studies.data.sources import shuffle_columns
from headscope.studies.plan import plan
from headscope.studies.reading import parse_study
from headscope.studies.study_file.study import Study

STUDY = """
name: toy
base: {model: lab-m}
variants:
  - {name: sft, train: {preset: lab-sft, dataset: lab-traces, seed: 3}, twins: [shuffled_answers]}
  - name: grpo
    train: {preset: lab-grpo, dataset: lab-train}
    twins: [lr0, permuted_rewards, {seed: 1}]
tasks: [lab-t1]
"""


def _study(text: str, tmp_path: Any) -> Study:
    return parse_study(text, "toy.yaml", tmp_path)


def test_each_twin_is_a_variant_that_differs_in_what_it_says(tmp_path: Any) -> None:
    study = _study(STUDY, tmp_path)
    names = ["sft", "sft.shuffled_answers", "grpo", "grpo.lr0", "grpo.permuted_rewards", "grpo.seed1"]
    assert [each.name for each in study.variants] == names
    assert [each.twin_of for each in study.variants] == [None, "sft", None, "grpo", "grpo", "grpo"]
    sft, null, grpo, *twins = [each.train.model_dump() for each in study.variants if each.train]
    assert null == sft | {"control": "shuffled_answers"}
    changes: list[dict[str, Any]] = [{"learning_rate": 0.0}, {"control": "permuted_rewards"}, {"seed": 1}]
    assert twins == [grpo | change for change in changes]
    again = Study.model_validate(study.model_dump(mode="json", exclude_unset=True))
    assert again == study


def test_a_twins_name_does_not_depend_on_the_order_of_its_keys(tmp_path: Any) -> None:
    for keys in ("{seed: 1, control: permuted_rewards}", "{control: permuted_rewards, seed: 1}"):
        study = parse_study(STUDY.replace("{seed: 1}", keys), "study", tmp_path)
        assert study.variants[-1].name == "grpo.permuted_rewards-seed1"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[lr0,", "[lr1,", r"twin 'lr1' of variant grpo does not exist \(did you mean 'lr0'\?\)"),
        ("[lr0,", "[7,", "twin 7 of variant grpo is neither a name nor keys of its training"),
        ("[shuffled_answers]", "[permuted_rewards]", "control is 'permuted_rewards'; it should be 'shuffled_answers'"),
        ("{seed: 1}", "{sed: 1}", r"sed is not a key of a study \(did you mean 'seed'\?\)"),
        ("train: {preset: lab-grpo, dataset: lab-train}", "model: lab-m", "variant grpo has twins and no train"),
    ],
)
def test_a_twin_that_cannot_be_is_named(old: str, new: str, sentence: str, tmp_path: Any) -> None:
    with pytest.raises(InputError, match=sentence):
        _study(STUDY.replace(old, new), tmp_path)


@pytest.mark.parametrize("asked", [False, True])
def test_heads_of_null_twins_are_removed_if_asked(asked: bool, tmp_path: Any) -> None:
    text = f"{STUDY}ablate: {{null_twins: {str(asked).lower()}}}\n"
    units = plan(_study(text, tmp_path), RunDirectory(tmp_path / "run"))
    removed = {unit.labels["variant"] for unit in units if unit.kind == "verdict"}
    nulls = {"sft.shuffled_answers", "grpo.lr0", "grpo.permuted_rewards"}
    assert removed == {"sft", "grpo", "grpo.seed1"} | (nulls if asked else set())
    scored = {unit.labels["variant"] for unit in units if unit.kind == "training_effects"}
    assert nulls <= scored  # what training without the signal does is measured all the same


def test_shuffled_rows_keep_nothing_of_their_own() -> None:
    rows = [{"prompt": index, "completion": index, "mode": index} for index in range(20)]
    found = shuffle_columns(rows, ("completion", "absent"), seed=0)
    assert [row["prompt"] for row in found] == [row["mode"] for row in found] == list(range(20))
    assert sorted(row["completion"] for row in found) == list(range(20))
    assert all(row["completion"] != row["prompt"] for row in found)
    assert found == shuffle_columns(rows, ("completion",), seed=0)
