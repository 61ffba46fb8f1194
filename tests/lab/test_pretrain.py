"""The recipe at toy size: the loss falls, the files load, and the same seed gives the same weights."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from headscope.errors import InputError
from headscope.lab import builtin_data
from headscope.lab.pretrain import pretrain
from headscope.lab.recipes import RECIPES, SIZES, Phase, Recipe
from headscope.model_files.named_models import LAB_FOLDERS, named_model
from headscope.models import load_model

TOY = Recipe("S", (Phase(50, 0.5, 3e-3, 1e-3, {"T1": 0.5, "K": 0.5}),), tokens_per_batch=512)
SHORT = replace(TOY, phases=(replace(TOY.phases[0], steps=6),))


@pytest.fixture(autouse=True)
def _own_threads() -> Iterator[None]:
    """A recipe sets the number of threads; the tests that follow get theirs back, also where it was refused."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_base_model_is_made_twice_alike_and_learns(tmp_path: Path) -> None:
    pretrain(TOY, tmp_path / "one")
    for name in ("short", "again"):
        pretrain(SHORT, tmp_path / name)
    first = load_file(tmp_path / "short" / "model.safetensors")
    second = load_file(tmp_path / "again" / "model.safetensors")
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    (line,) = (tmp_path / "one" / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["loss"] < 3.0 < np.log(79)
    assert json.loads((tmp_path / "one" / "recipe.json").read_text())["seed"] == 0
    assert load_model(tmp_path / "one").tokenizer.chat_template


@pytest.mark.slow
def test_a_fresh_phase_run_alone_ends_on_the_same_weights(tmp_path: Path) -> None:
    last = replace(TOY.phases[0], steps=4, fresh=True)
    whole = replace(SHORT, phases=(*SHORT.phases, last))
    pretrain(whole, tmp_path / "whole")
    pretrain(SHORT, tmp_path / "begun")
    pretrain(whole, tmp_path / "ended", after=tmp_path / "begun")
    first = load_file(tmp_path / "whole" / "model.safetensors")
    second = load_file(tmp_path / "ended" / "model.safetensors")
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert not np.array_equal(first[key], load_file(tmp_path / "begun" / "model.safetensors")[key])
    with pytest.raises(InputError, match="this recipe has no fresh phase"):
        pretrain(SHORT, tmp_path / "other", after=tmp_path / "begun")


@pytest.mark.parametrize(("name", "recipe"), [("lab-m", "M"), ("lab-s", "S"), ("lab-s-plain", "S-plain")])
def test_each_shipped_base_is_whole_and_has_its_card(name: str, recipe: str) -> None:
    folder = Path(str(named_model(name)))
    config = load_model(folder).model.config
    shape = SIZES[RECIPES[recipe].size]
    actual = (config.num_hidden_layers, config.num_attention_heads, config.hidden_size)
    assert actual == (shape.layers, shape.heads, shape.width)
    card = json.loads((folder / "card.json").read_text())
    phases = tuple(Phase(**phase) for phase in card["recipe"]["phases"])
    assert Recipe(**card["recipe"] | {"phases": phases}) == RECIPES[recipe]
    assert card["training"]["step"] == sum(phase["steps"] for phase in card["recipe"]["phases"])
    assert {row["task"] for row in card["accuracy"]} == set(builtin_data.TASKS)


def test_the_early_base_is_s_stopped_at_its_200th_step() -> None:
    (phase,) = RECIPES["S-early"].phases
    first = RECIPES["S"].phases[0]
    assert phase == replace(first, steps=200)
    assert first.learning_rate == first.final_learning_rate  # so that a shorter phase has the same rate at each step


def test_all_shipped_bases_together_are_small() -> None:
    files = [file for name in LAB_FOLDERS for file in Path(str(named_model(name))).iterdir()]
    assert sum(file.stat().st_size for file in files) <= 12e6
