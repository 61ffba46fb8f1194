"""HeadTracker inside TRL's own trainers, with their defaults: mixed precision, gradient checkpointing, adapters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, PromptTuningConfig, TaskType, get_peft_model
from torch import nn
from transformers import TrainerControl, TrainerState
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from headscope.circuits import attribute
from headscope.lab.builtin_data import mixed_items, traces
from headscope.lab.pairs import lab_pairs
from headscope.models import load_model
from headscope.pairs import Pairs
from headscope.results.edges import EdgeScores
from headscope.runs import RunDirectory
from headscope.tracking import HeadTracker, borrow_model

STEPS = 2
LORA = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False}


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return lab_pairs(load_model("lab-s").tokenizer, 6, kind="leaf")


def sft(folder: Path, dtype: str = "float32", peft: Any = None, **changes: Any) -> Any:
    """TRL's SFT as it comes; ``use_cpu`` is what it asks for where there is no GPU."""
    subject = load_model("lab-s", dtype=dtype)
    args = SFTConfig(str(folder), max_steps=STEPS, report_to="none", use_cpu=True, disable_tqdm=True, **changes)
    rows = Dataset.from_list(traces(16))
    return SFTTrainer(subject.model, args, train_dataset=rows, processing_class=subject.tokenizer, peft_config=peft)


def grpo(folder: Path, dtype: str = "float32", peft: Any = None, **changes: Any) -> Any:
    subject = load_model("lab-s", dtype=dtype)
    settings = {"max_completion_length": 8, "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    args = GRPOConfig(str(folder), max_steps=STEPS, learning_rate=1e-3, **settings, **changes)
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": item.prompt}]} for item in mixed_items(8, 0)])

    def length(completions: list[Any], **_: Any) -> list[float]:
        return [float(len(completion[0]["content"])) for completion in completions]

    return GRPOTrainer(
        subject.model, length, args, train_dataset=rows, processing_class=subject.tokenizer, peft_config=peft
    )


def added_adapter(folder: Path) -> Any:
    """An adapter injected into the model itself, as transformers' ``add_adapter`` does."""
    trainer = sft(folder)
    trainer.model.add_adapter(LoraConfig(**LORA))
    return trainer


TRAININGS: dict[str, Callable[[Path], Any]] = {
    "sft": sft,
    "sft float32": lambda folder: sft(folder, bf16=False, gradient_checkpointing=False),
    "sft bfloat16": lambda folder: sft(folder, dtype="bfloat16"),
    "sft compiled": lambda folder: sft(folder, torch_compile=True, torch_compile_backend="eager"),
    "sft lora": lambda folder: sft(folder, peft=LoraConfig(**LORA)),
    "sft lora bfloat16": lambda folder: sft(folder, dtype="bfloat16", peft=LoraConfig(**LORA)),
    "sft dora": lambda folder: sft(folder, peft=LoraConfig(**LORA, use_dora=True)),
    "sft lora and norms": lambda folder: sft(folder, peft=LoraConfig(**LORA, modules_to_save=["norm", "embed_tokens"])),
    "sft add_adapter": added_adapter,
    "grpo": grpo,
    "grpo lora": lambda folder: grpo(folder, peft=LoraConfig(**LORA)),
    "grpo bfloat16": lambda folder: grpo(folder, dtype="bfloat16"),
}


QUICK = ("sft lora bfloat16", "grpo lora")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in TRAININGS]
)
def test_a_tracked_training_is_the_untracked_one(
    name: str, pairs: Pairs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = TRAININGS[name](tmp_path / "plain")
    plain.train()
    trainer = TRAININGS[name](tmp_path / "tracked")
    trainer.add_callback(HeadTracker(pairs, every=1, out=tmp_path / "heads", fraction=0.1, resamples=20, nodes=2))
    trainer.train()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("headscope")] == []
    expected, weights = plain.model.state_dict(), trainer.model.state_dict()
    assert expected.keys() == weights.keys()
    assert all(torch.equal(expected[key], weights[key]) for key in expected)
    assert any("heads/new" in logs for logs in trainer.state.log_history)
    records = RunDirectory.open(tmp_path / "heads").find("scores", pairs="main")
    assert [record.labels["step"] for record in records] == [0, 1, 2]
    if set(name.split()) & {"lora", "dora", "add_adapter"}:
        low_precision = "bfloat16" in name
        check_scores(EdgeScores.load(records[-1].folder), merged(trainer.model, tmp_path), pairs, low_precision)


def check_scores(live: EdgeScores, model: nn.Module, pairs: Pairs, low_precision: bool) -> None:
    """The scores of the adapter in training are those of the model it is merged into, and not the base's."""
    expected, base = attribute(model, pairs[::2], nodes=2), attribute(load_model("lab-s"), pairs[::2], nodes=2)
    allowed = (0.1 if low_precision else 1e-4) * expected.edges_abs.max()
    assert np.abs(live.edges_abs - expected.edges_abs).max() < allowed
    assert np.abs(base.edges_abs - expected.edges_abs).max() > 3 * allowed


def merged(model: Any, folder: Path) -> nn.Module:
    """What PEFT itself merges. An adapter that was added to the model is saved, and put around a fresh base."""
    if not hasattr(model, "merge_and_unload"):
        model.save_pretrained(folder / "adapter")
        model = PeftModel.from_pretrained(load_model("lab-s").model, folder / "adapter")
    plain: nn.Module = model.merge_and_unload().eval()
    return plain


def test_distributed_wrappers_are_looked_through(pairs: Pairs) -> None:
    model = load_model("lab-s").model.train()
    with borrow_model(nn.DataParallel(model)) as plain:
        assert plain is model
        assert not plain.training
    assert model.training


def test_what_cannot_be_scored_is_logged_once_and_training_goes_on(
    pairs: Pairs, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = sft(tmp_path / "training")
    trainer.add_callback(HeadTracker(pairs, every=1, out=tmp_path / "heads", fraction=0.1, resamples=20, nodes=2))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headscope.tracking.HeadTracker._compare", full)
    trainer.train()
    assert trainer.state.global_step == STEPS
    (message,) = (record.getMessage() for record in caplog.records if record.name.startswith("headscope"))
    assert "step 1" in message
    assert "No space left on device" in message


def test_prompt_tuning_is_named_and_training_goes_on(
    pairs: Pairs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model("lab-s").model
    prompted = get_peft_model(model, PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=2))
    tracker = HeadTracker(pairs, every=1, out=tmp_path / "heads")
    tracker.on_train_begin(None, TrainerState(), TrainerControl(), model=prompted)
    assert "PROMPT_TUNING" in caplog.text
    assert "adds tokens and changes no weights" in caplog.text
