"""lab-build and lab-build-grpo at toy size: their own recipe and files, a few steps, and a second start that does
nothing again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headscope.lab.pretrain import pretrain
from headscope.lab.recipes import RECIPES, SIZES
from headscope.model_files.folder import read_model_config
from headscope.results.comparison import Comparison
from headscope.runs import RunDirectory
from headscope.studies.reading import read_study
from headscope.studies.run import run_study
from headscope.studies.study_file.study import Study

TOY = [
    "tasks=[lab-t1]",
    *("discover.pairs=4", "discover.nodes=2", "discover.resamples=20", "discover.fraction=0.1"),
    *("discover.sizes=[0.1]", "discover.effects=false", "discover.attention=false"),
    *("ablate.heads=[]", "eval.problems=4", "eval.samples=1", "eval.k=[1]", "eval.max_new_tokens=8"),
]
STEPS = ["max_steps=2", "save_every=1", "batch_size=4"]

pytestmark = pytest.mark.xdist_group("lab-build")  # one worker makes the base that its tests share


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """S16-early after 2 of its 250 steps."""
    recipe, threads = RECIPES["S16-early"], torch.get_num_threads()
    (phase,) = recipe.phases
    folder = tmp_path_factory.mktemp("base") / "s16"
    pretrain(replace(recipe, phases=(replace(phase, steps=2),), tokens_per_batch=512), folder)
    torch.set_num_threads(threads)
    return folder


def toy(name: str, base: Path, *overrides: str) -> Study:
    return read_study(name, [*TOY, f"base.model={base}", *overrides])


def run_twice(study: Study, folder: Path) -> RunDirectory:
    """Run a study's first stages and then the rest, as one who stops and goes on."""
    _, first = run_study(study, folder, goal="train")
    run, second = run_study(study, folder, goal="compare")
    assert (first.failed, second.failed) == ({}, {})
    assert second.reused >= first.done > 0
    return run


def test_the_base_has_sixteen_heads_per_layer(base: Path) -> None:
    config = read_model_config(base)
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (16, 8)
    assert config["num_hidden_layers"] == SIZES["S16"].layers == 4


@pytest.mark.slow
def test_sft_from_it_is_compared_seed_by_seed_with_its_twins(base: Path, tmp_path: Path) -> None:
    study = toy("lab-build", base)
    variants = []
    for variant in study.variants:
        assert variant.train is not None
        small = {"max_steps": 2, "save_every": 1, "batch_size": 4, "dataset": "lab-traces-64"}
        train = variant.train.model_copy(update=small)
        variants.append(variant.model_copy(update={"train": train}))
    # One seed of the recipe and its twin are enough to run; that the others are there is counted.
    assert [variant.name.startswith("sft") for variant in variants] == [True] * 6
    run = run_twice(study.model_copy(update={"variants": tuple(variants[:2])}), tmp_path / "run")
    names = {unit.labels["variant"] for unit in run.results(Comparison)}
    assert names == {"sft", "sft.shuffled_answers"}
    assert run.results(Comparison)[0].whole.final.status.shape == (4, 16)


@pytest.mark.slow
def test_grpo_begins_from_the_sft(base: Path, tmp_path: Path) -> None:
    study = toy("lab-build-grpo", base, "base.train.dataset=lab-traces-64", *(f"base.train.{step}" for step in STEPS))
    variant = study.variants[0]
    assert variant.train is not None
    small = {"max_steps": 2, "save_every": 1, "prompts_per_step": 2, "samples": 2, "max_completion_length": 8}
    train = variant.train.model_copy(update=small)
    study = study.model_copy(update={"variants": (variant.model_copy(update={"train": train}),)})
    run = run_twice(study, tmp_path / "run")
    assert {record.labels["variant"] for record in run.find("train")} == {"base", "grpo"}
    assert run.results(Comparison)[0].whole.steps == (1, 2)


def test_every_seed_has_its_null_twin_and_traces_enough_to_be_read_once() -> None:
    from headscope.lab.builtin_data import FRESH_ITEMS
    from headscope.runs.recipes import null_twins, seeds_of, variants_by_name

    for name, recipe in (("lab-build", "sft"), ("lab-build-grpo", "grpo")):
        variants = variants_by_name(read_study(name).model_dump(mode="json"))
        assert len(seeds_of(variants)[recipe]) == len(null_twins(recipe, variants)) == 3
        seeds = {variants[twin]["train"].get("seed", 0) for twin in null_twins(recipe, variants)}
        assert seeds == {variants[run]["train"].get("seed", 0) for run in seeds_of(variants)[recipe]}
    train = variants_by_name(read_study("lab-build").model_dump(mode="json"))["sft"]["train"]
    assert train["max_steps"] * train["batch_size"] <= FRESH_ITEMS
