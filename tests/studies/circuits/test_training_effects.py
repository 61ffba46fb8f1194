"""Which units a study's training effects are made of: nothing is computed."""

from pathlib import Path

from headscope.runs import RunDirectory, Unit
from headscope.studies.plan import plan
from headscope.studies.reading import parse_study

STUDY = """
name: twins
base: {model: lab-m}
variants:
  - name: sft
    train: {preset: lab-sft, dataset: lab-traces}
    twins: [lr0, shuffled_answers, {seed: 1}]
tasks: [lab-t1]
discover: {tasks: [lab-train], pairs: 4, opening_tokens: 2}
"""


def planned(folder: Path, text: str = STUDY) -> dict[str, list[Unit]]:
    """Every unit of the plan, by kind."""
    units: dict[str, list[Unit]] = {}
    for unit in plan(parse_study(text, "twins.yaml", folder), RunDirectory(folder)):
        units.setdefault(unit.kind, []).append(unit)
    return units


def test_every_seed_is_compared_with_the_recipes_twin_on_its_own_pairs(tmp_path: Path) -> None:
    units = planned(tmp_path)
    effects = {unit.labels["variant"]: unit for unit in units["training_effects"]}
    assert set(effects) == {"sft", "sft.lr0", "sft.shuffled_answers", "sft.seed1"}
    for name in ("sft", "sft.seed1"):
        inputs = effects[name].inputs
        assert set(inputs) == {"base", "post", "base scores", "comparison", "twin sft.shuffled_answers"}
        pairs = {inputs[source].inputs["pairs"].digest for source in ("base", "post", "twin sft.shuffled_answers")}
        assert len(pairs) == 1
        assert inputs["base scores"].inputs["pairs"].digest in pairs
    for twin in ("sft.lr0", "sft.shuffled_answers"):
        assert set(effects[twin].inputs) == {"base", "post", "base scores", "comparison"}
    (pooled,) = units["pooled_effects"]
    assert set(pooled.inputs) == {"sft", "sft.seed1"}


def test_effects_can_be_left_out_and_change_no_other_unit(tmp_path: Path) -> None:
    with_effects = planned(tmp_path)
    without = planned(tmp_path, STUDY.replace("pairs: 4,", "pairs: 4, effects: false,"))
    added = {"head_scores", "training_effects", "pooled_effects", "head_scaling", "head_revert"}
    assert set(with_effects) - set(without) == added
    for kind, units in without.items():
        assert [unit.digest for unit in units] == [unit.digest for unit in with_effects[kind]]
