"""SFT of a LoRA adapter: the base stays, the adapter learns, is saved as such, and merges into what was trained."""

import json
from pathlib import Path

import pytest
import torch
from tests.training.conftest import records

from headscope.errors import InputError
from headscope.models import load_model
from headscope.training import SftConfig, TrainingRun, run_sft

CONFIG = SftConfig(learning_rate=5e-2, max_steps=20, batch_size=8, save_every=10, schedule="constant", lora_rank=4)


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return run_sft(tiny_model, records(), CONFIG, tmp_path_factory.mktemp("lora") / "run")


def test_an_adapter_learns(run: TrainingRun) -> None:
    # The tiny model's embeddings, which it writes with too, stay as they are: the loss falls little, words come right.
    assert run.log[-1].loss < run.log[0].loss - 0.1
    assert run.log[0].token_accuracy == 0
    assert run.log[-1].token_accuracy > 0.6


def test_checkpoints_are_adapters_of_the_base(run: TrainingRun, tiny_model: Path) -> None:
    for point in run.checkpoints:
        assert sorted(path.name for path in point.path.glob("*model*")) == ["adapter_model.safetensors"]
        config = json.loads((point.path / "adapter_config.json").read_text())
        assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 8, 0.0)
        assert config["base_model_name_or_path"] == str(tiny_model)
        assert config["target_modules"] == sorted(config["target_modules"])
        assert not (point.path / "README.md").exists()


def test_step_0_is_the_base_and_the_last_one_is_not(run: TrainingRun, tiny_model: Path) -> None:
    ids = torch.arange(6)[None]
    base = load_model(tiny_model).model(ids).logits
    first = load_model(run.checkpoints[0].path).model(ids).logits
    last = load_model(run.final).model(ids).logits
    assert torch.equal(base, first)
    assert (base - last).abs().max() > 0.1


def test_a_seed_fixes_the_adapter(run: TrainingRun, tiny_model: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)  # what a process did before says nothing
    again = run_sft(tiny_model, records(), CONFIG, tmp_path / "again")
    other = run_sft(tiny_model, records(), CONFIG.model_copy(update={"seed": 1}), tmp_path / "other")
    weights = [(each.final / "adapter_model.safetensors").read_bytes() for each in (run, again, other)]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_a_directory_of_an_adapter_is_not_one_of_whole_weights(run: TrainingRun, tiny_model: Path) -> None:
    with pytest.raises(InputError, match="holds a run with lora_rank 4, not None"):
        run_sft(tiny_model, records(), CONFIG.model_copy(update={"lora_rank": None}), run.path)


def test_an_adapter_on_an_adapter_is_refused(run: TrainingRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is itself an adapter, and lora_rank would put another one on it"):
        run_sft(run.final, records(), CONFIG, tmp_path / "second")


def test_a_config_without_an_adapter_is_written_as_before() -> None:
    assert "lora_rank" not in SftConfig().model_dump(mode="json")
    assert CONFIG.model_dump(mode="json")["lora_rank"] == 4
