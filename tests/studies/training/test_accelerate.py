"""Several processes: one study file under ``accelerate launch``, and launch configs that fit the study files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from headscope.runs import RunDirectory
from headscope.studies.reading import read_study
from headscope.studies.study_file.training import GrpoTraining
from headscope.training import PRESETS, TrainingRun
from headscope.training.trl_settings import micro_batch

STUDIES = Path(__file__).parents[3] / "studies"
CONFIGS = sorted((STUDIES / "accelerate").glob("*.yaml"))

STUDY = """
name: two
base: {{model: {base}}}
variants:
  - {{name: sft, train: {{preset: lab-sft, dataset: lab-traces-64, max_steps: 3, save_every: 2, batch_size: 8}}}}
  - name: grpo
    train:
      {{preset: lab-grpo, dataset: lab-train, max_steps: 2, save_every: 1, prompts_per_step: 4, samples: 4,
       max_completion_length: 8}}
  - name: distill
    train:
      {{preset: lab-distill, dataset: lab-train, teacher: sft, max_steps: 2, save_every: 1, batch_size: 4,
       max_completion_length: 8}}
tasks: [lab-t1]
"""


@pytest.mark.slow
def test_two_processes_train_a_study_that_one_can_open(toy_base: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(STUDY.format(base=toy_base))
    launcher = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(STUDIES / "accelerate/cpu.yaml"),
    ]
    command = ["-m", "headscope", "train", str(tmp_path / "two.yaml"), "--out", str(tmp_path / "run")]
    source = str(Path(__file__).parents[3] / "src")
    environment = {**os.environ, "PYTHONPATH": source, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*launcher, *command], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("3 units done") == 1  # the first process speaks, the second is silent
    run = RunDirectory.open(tmp_path / "run")
    trained = {record.labels["variant"]: TrainingRun.load(record.folder) for record in run.find("train")}
    found = {name: [point.step for point in each.checkpoints] for name, each in trained.items()}
    assert found == {"sft": [0, 2, 3], "grpo": [0, 1, 2], "distill": [0, 1, 2]}
    assert all([entry.step for entry in each.log] == list(range(1, 1 + len(each.log))) for each in trained.values())


def _config(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_reads_each_config(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes == _config(path)["num_processes"] >= 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_steps_of_every_study_can_be_split_over_its_processes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(path)
    monkeypatch.setenv("WORLD_SIZE", str(config["num_processes"]))
    split = 0
    for study in (read_study(str(file)) for file in sorted(STUDIES.glob("*.yaml"))):
        if study.name.startswith(("lab", "smollm2")) != (
            path.stem == "cpu"
        ):  # small models on CPUs, the paper's on GPUs
            continue
        for settings in (variant.train for variant in study.variants if variant.train is not None):
            grpo = isinstance(settings, GrpoTraining)
            sequences = settings.prompts_per_step * settings.samples if grpo else settings.batch_size
            micro = micro_batch(settings, sequences, cuda=not config["use_cpu"])
            assert sequences % (micro * config["num_processes"]) == 0
            assert config["use_cpu"] or settings.bf16 == (config["mixed_precision"] == "bf16")
            split += 1
    assert split > 2


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.stem != "cpu"], ids=lambda path: path.stem)
def test_each_config_fits_the_papers_presets(path: Path) -> None:
    config = _config(path)
    for name in (name for name in PRESETS if name.startswith("paper-")):
        settings = PRESETS[name]
        sequences = settings.get("batch_size") or settings["prompts_per_step"] * settings["samples"]
        assert sequences % config["num_processes"] == 0, name
        assert settings["bf16"] == (config["mixed_precision"] == "bf16"), name
    if path.stem == "fsdp":
        sharding = config["fsdp_config"]
        # A whole state dict, or checkpoints are no model folders; checkpointing twice is an error in Trainer.
        assert (sharding["fsdp_state_dict_type"], sharding["fsdp_activation_checkpointing"]) == (
            "FULL_STATE_DICT",
            False,
        )
    if path.stem == "deepspeed":
        assert config["deepspeed_config"]["zero3_save_16bit_model"] is True


def test_every_paper_model_names_the_layer_that_fsdp_wraps() -> None:
    from transformers import LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM

    for kind in (LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM):
        assert kind._no_split_modules, kind


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_file_is_read(path: Path) -> None:
    assert read_study(str(path)).name == path.stem
