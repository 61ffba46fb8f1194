"""A LoRA run from elsewhere: folders of adapters are checkpoints, validated, scored, ablated and exported."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.studies.bench import Bench

from headscope.cli.main import main
from headscope.models import load_model
from headscope.results.edges import EdgeScores
from headscope.runs import RunDirectory


def save_adapters(base: Path, folder: Path, steps: tuple[int, ...]) -> None:
    for step in steps:
        torch.manual_seed(step)
        config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
        get_peft_model(load_model(base).model, config).save_pretrained(folder / f"checkpoint-{step}")


@pytest.mark.slow
def test_a_study_on_adapter_checkpoints(bench: Bench, tmp_path: Path) -> None:
    save_adapters(bench.base, tmp_path / "lora", (1, 2))
    variants = f'variants=[{{name: a, checkpoints: "{tmp_path}/lora/checkpoint-*"}}]'
    code, said = bench.call("validate --resolve", variants)
    assert code == 0, said
    code, said = bench.call("run", variants)
    assert code == 0, said
    run = RunDirectory.open(bench.out)
    scores = [EdgeScores.load(record.folder) for record in run.find("scores", pairs="main")]
    assert len(scores) == 3
    assert len({score.edges.tobytes() for score in scores}) == 3  # base and both adapters differ
    assert run.find("verdict")
    assert run.find("evidence")


LORA = """variants=[{name: a, train: {method: sft, dataset: lab-traces-64, learning_rate: 0.05, max_steps: 2,
  save_every: 1, batch_size: 2, lora_rank: 2}}]"""


def test_a_study_that_trains_adapters(bench: Bench) -> None:
    code, said = bench.call("validate --resolve", LORA)
    assert code == 0, said
    code, said = bench.call("discover", LORA)
    assert code == 0, said
    run = RunDirectory.open(bench.out)
    (training,) = run.find("train")
    assert (training.folder / "checkpoint-2" / "adapter_model.safetensors").is_file()
    assert not (training.folder / "checkpoint-2" / "model.safetensors").exists()
    scores = [EdgeScores.load(record.folder) for record in run.find("scores", pairs="main")]
    assert len({score.edges.tobytes() for score in scores}) == 3


def test_an_adapter_may_be_served_by_vllm(bench: Bench) -> None:
    code, said = bench.call("validate", LORA, "eval.engine=vllm")
    assert code == 0, said


def test_another_base_is_another_result(bench: Bench, tmp_path: Path) -> None:
    """An adapter's file says nothing of its base's weights, which decide as much."""
    from headscope.studies.models.study_stages import checkpoint_stages
    from headscope.studies.reading import read_study

    base = bench.model("own")  # a copy: other tests read the bench's base
    save_adapters(base, tmp_path / "lora", (1,))
    study = read_study(str(bench.study), [f'variants=[{{name: a, checkpoints: "{tmp_path}/lora/checkpoint-*"}}]'])
    (before,) = checkpoint_stages(study, study.variants[0], RunDirectory(bench.out), None)
    model = load_model(base)
    with torch.no_grad():
        model.model.get_input_embeddings().weight += 1
    model.model.save_pretrained(base)
    (after,) = checkpoint_stages(study, study.variants[0], RunDirectory(bench.out), None)
    assert before.digest != after.digest


def test_an_adapter_is_exported_as_a_whole_model(bench: Bench, tmp_path: Path) -> None:
    save_adapters(bench.base, tmp_path / "lora", (1,))
    out = tmp_path / "edited"
    assert main(["export", "--edited", f"{tmp_path}/lora/checkpoint-1", "--heads", "L0H1", "--out", str(out)]) == 0
    assert (out / "config.json").is_file()
    assert not (out / "adapter_config.json").exists()


def test_an_adapter_whose_base_is_gone_is_refused(bench: Bench, tmp_path: Path) -> None:
    base = tmp_path / "moved"
    load_model(bench.base).model.save_pretrained(base)
    save_adapters(base, tmp_path / "lora", (1,))
    base.rename(tmp_path / "elsewhere")
    said = bench.refused("validate --resolve", f'variants=[{{name: a, checkpoints: "{tmp_path}/lora/checkpoint-*"}}]')
    assert "moved of adapter" in said
    assert "correct base_model_name_or_path in adapter_config.json" in said
