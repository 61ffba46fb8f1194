"""Trainings that take several devices: processes of their own, and as many of the executor's workers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.studies.bench import Bench

from headscope.errors import OutOfMemoryError
from headscope.progress import SILENT
from headscope.runs import Inputs, RunDirectory
from headscope.studies.plan import certain_units, plan
from headscope.studies.reading import read_study
from headscope.studies.training import train
from headscope.studies.training.train import devices_of
from headscope.training import SftConfig, TrainingRun
from headscope.training.trl_settings import micro_batch

SFT = "{{preset: lab-sft, dataset: lab-traces-64, max_steps: 4, save_every: 2, batch_size: 8{more}}}"


def variants(*devices: int, more: str = "") -> str:
    """A setting with one training for each number of devices."""
    trainings = [
        f"{{name: t{number}, train: {SFT.format(more=f', devices: {count}{more}')}}}"
        for number, count in enumerate(devices)
    ]
    return f"variants=[{', '.join(trainings)}]"


def trained(out: Path) -> dict[str, TrainingRun]:
    run = RunDirectory.open(out)
    return {str(record.labels["variant"]): TrainingRun.load(record.folder) for record in run.find("train")}


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    return load_file(run.final / "model.safetensors")


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(bench: Bench) -> None:
    settings = (variants(1, 2), "executor={kind: processes, workers: 2}")
    assert bench.call("validate", *settings)[0] == 0
    code, message = bench.call("train", *settings)
    assert code == 0, message
    one, two = (trained(bench.out)[name] for name in ("t0", "t1"))
    assert [entry.step for entry in two.log] == [1, 2, 3, 4]
    assert [entry.loss for entry in two.log] == pytest.approx([entry.loss for entry in one.log], rel=1e-3)
    for name, weight in weights(one).items():
        torch.testing.assert_close(weights(two)[name], weight, rtol=0, atol=1e-3)
    arguments = json.loads((two.path / "training_args.json").read_text())
    assert arguments["per_device_train_batch_size"] * arguments["gradient_accumulation_steps"] == 4


def test_one_device_is_the_unit_of_before(bench: Bench) -> None:
    plain, one, two = (
        plan(read_study(str(bench.study), [setting]), RunDirectory(bench.out), "train")
        for setting in (variants(1).replace(", devices: 1", ""), variants(1), variants(2))
    )
    assert [unit.address for unit in plain] == [unit.address for unit in one] != [unit.address for unit in two]
    assert [devices_of(unit) for unit in (*one, *two)] == [1, 2]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((variants(3),), "t0 cannot split 8 sequences per step over 3 devices evenly"),
        ((variants(0),), "variants[0].train.devices is 0"),
        (
            (variants(4), "executor={kind: processes, workers: 2}"),
            "t0 takes 4 devices (train.devices), and executor processes has at most 2 for one unit",
        ),
    ],
)
def test_devices_that_cannot_be_had_are_refused_before_anything_runs(
    bench: Bench, settings: tuple[str, ...], words: str
) -> None:
    assert words in bench.refused("validate", *settings)


def test_gpus_that_are_not_there_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    for executor in ("local", "processes"):
        sentence = bench.refused("validate", variants(4), f"executor={executor}")
        assert f"t0 takes 4 devices (train.devices), and executor {executor} has at most 2 for one unit" in sentence
    assert bench.call("validate", variants(2))[0] == 0
    shared = "executor={kind: processes, workers: 4}"
    assert "executor processes has at most 1 for one unit" in bench.refused("validate", variants(2), shared)


def test_processes_that_run_out_of_memory_begin_again_with_half_as_much(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (unit,) = plan(read_study(str(bench.study), [variants(2)]), RunDirectory(bench.out), "train")
    tries: list[int | None] = []
    fits = 3

    def run_together(function: Any, arguments: Any, count: int, progress: Any, micro_batch: int | None) -> None:
        tries.append(micro_batch)
        micro = micro_batch or 12
        sizes = {"per_device_train_batch_size": micro, "gradient_accumulation_steps": 12 // micro}
        (tmp_path / "training_args.json").write_text(json.dumps(sizes))
        if micro > fits:
            raise OutOfMemoryError("training ran out of memory")

    monkeypatch.setattr(train, "run_together", run_together)
    train.compute_train(unit.config, Inputs({}, tmp_path), SILENT)  # type: ignore[arg-type]
    assert tries == [None, 6, 3]
    fits = 0
    with pytest.raises(OutOfMemoryError):
        train.compute_train(unit.config, Inputs({}, tmp_path), SILENT)  # type: ignore[arg-type]
    assert tries[3:] == [None, 6, 3, 1]


def test_what_a_group_takes_per_pass_is_not_the_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SftConfig(batch_size=8, micro_batch=4)
    assert micro_batch(config, 8, cuda=False) == 4
    monkeypatch.setenv("HEADSCOPE_MICRO_BATCH", "2")
    assert micro_batch(config, 8, cuda=False) == 2


def test_what_reads_a_training_whose_data_tells_its_steps_comes_later(bench: Bench) -> None:
    by_settings, by_data = (variants(1), variants(1).replace("max_steps: 4", "max_steps: null"))
    assert by_settings != by_data
    units = plan(read_study(str(bench.study), [by_settings]), RunDirectory(bench.out))
    assert certain_units(units) == units
    units = plan(read_study(str(bench.study), [by_data]), RunDirectory(bench.out))
    first = certain_units(units)
    assert [unit for unit in first if unit.kind == "train"] == [unit for unit in units if unit.kind == "train"]
    addresses = {unit.address for unit in first}
    assert all(needed.address in addresses for unit in first for needed in unit.inputs.values())
    kinds = {(unit.kind, unit.labels["variant"]) for unit in first}
    assert {("train", "t0"), ("samples", "base"), ("measures", "base")} <= kinds
    later = [unit for unit in units if unit.address not in addresses]
    assert ("samples", "t0") in {(unit.kind, unit.labels.get("variant")) for unit in later}
