"""Memory that runs out in training: fewer sequences per pass, as many per step, from the last whole state on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import prompts, records
from transformers import Qwen3ForCausalLM, Qwen3Model

from headscope.errors import InputError, OutOfMemoryError, is_out_of_memory
from headscope.training import DistillConfig, GrpoConfig, SftConfig, TrainingRun, run_distill, run_grpo, run_sft

COMMON: dict[str, Any] = {"learning_rate": 1e-2, "max_steps": 4, "save_every": 2, "schedule": "constant"}
SFT = SftConfig(batch_size=8, **COMMON)


def reward(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
    return [float(number % 3 == 0) for number in range(len(completions))]


def sft(model: Path, out: Path) -> TrainingRun:
    return run_sft(model, records(), SFT, out)


def grpo(model: Path, out: Path) -> TrainingRun:
    config = GrpoConfig(prompts_per_step=4, samples=4, max_completion_length=6, **COMMON)
    return run_grpo(model, prompts(), [reward], config, out)


def distill(model: Path, out: Path) -> TrainingRun:
    config = DistillConfig(batch_size=8, max_completion_length=6, beta=0.5, **COMMON)
    teacher = model.parent / "teacher"
    if not teacher.exists():
        torch.manual_seed(1)
        loaded = Qwen3ForCausalLM.from_pretrained(model)
        for parameter in loaded.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        loaded.save_pretrained(teacher)
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(model).save_pretrained(teacher)
    return run_distill(model, prompts(), teacher, config, out)


class Shortage:
    """Memory for ``most`` sequences of a pass that is differentiated, once ``after`` passes have gone through.

    passes: the sequences of each, of those that failed below 0.
    """

    def __init__(self, most: int, after: int = 0, error: BaseException | None = None) -> None:
        self.most, self.after = most, after
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.passes: list[int] = []

    def forward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def run(model: Any, *args: Any, **inputs: Any) -> Any:
            rows = (args[0] if args else inputs["input_ids"]).shape[0]
            if torch.is_grad_enabled():
                fails = rows > self.most and len(self.passes) >= self.after
                self.passes.append(-rows if fails else rows)
                if fails:
                    raise self.error
            return original(model, *args, **inputs)

        return run


def weights(run: TrainingRun, step: int) -> dict[str, torch.Tensor]:
    return load_file(run.path / f"checkpoint-{step}" / "model.safetensors")


def install(monkeypatch: pytest.MonkeyPatch, shortage: Shortage) -> Shortage:
    monkeypatch.setattr(Qwen3Model, "forward", shortage.forward(Qwen3Model.forward))
    return shortage


@pytest.mark.parametrize("method", [sft, *(pytest.param(method, marks=pytest.mark.slow) for method in (grpo, distill))])
def test_smaller_micro_batches_take_the_same_steps(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Callable[[Path, Path], TrainingRun]
) -> None:
    whole = method(tiny_model, tmp_path / "whole")
    shortage = install(monkeypatch, Shortage(most=2))
    run = method(tiny_model, tmp_path / "short")
    first = -shortage.passes[0]
    halvings = [-first]
    while halvings[-1] // 2 < -2:
        halvings.append(halvings[-1] // 2)
    assert shortage.passes[: len(halvings)] == halvings  # once at every size, down to what fits
    assert set(shortage.passes[len(halvings) :]) <= {1, 2}
    assert [entry.step for entry in run.log] == [entry.step for entry in whole.log] == [1, 2, 3, 4]
    assert [entry.loss for entry in run.log] == pytest.approx([entry.loss for entry in whole.log], rel=1e-3, abs=1e-5)
    for name, weight in weights(whole, 4).items():
        # Adam divides by the root of its second moment, so that rounding of gradients near 0 shows.
        torch.testing.assert_close(weights(run, 4)[name], weight, rtol=0, atol=2e-3)
    assert run.config == whole.config  # as it was given


@pytest.mark.slow
def test_it_goes_on_from_the_last_saved_state(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sft(tiny_model, tmp_path / "whole")
    shortage = install(monkeypatch, Shortage(most=4, after=3, error=MemoryError("no memory")))
    run = sft(tiny_model, tmp_path / "short")
    # Three whole steps, the fourth fails; from step 2 on two passes of half the size make a step.
    assert shortage.passes == [8, 8, 8, -8, 4, 4, 4, 4]
    assert [entry.step for entry in run.log] == [1, 2, 3, 4]
    for name, weight in weights(whole, 2).items():
        assert torch.equal(weights(run, 2)[name], weight)
    for name, weight in weights(whole, 4).items():
        torch.testing.assert_close(weights(run, 4)[name], weight, rtol=0, atol=2e-3)
    assert not (run.path / ".resume").exists()


def test_what_does_not_fit_one_at_a_time_fails_with_its_sentence(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortage = install(monkeypatch, Shortage(most=0))
    with pytest.raises(OutOfMemoryError, match="training ran out of memory with one sequence at a time") as raised:
        sft(tiny_model, tmp_path / "run")
    assert shortage.passes == [-8, -4, -2, -1]
    assert is_out_of_memory(raised.value)


def test_other_errors_are_not_tried_again(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RuntimeError("CUDA error: device-side assert"), InputError("it is bad")):
        with monkeypatch.context() as patch:
            shortage = install(patch, Shortage(most=0, error=error))
            with pytest.raises(type(error), match=str(error)):
                sft(tiny_model, tmp_path / "run")
        assert shortage.passes == [-8]


def test_one_of_several_processes_says_what_to_set(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from headscope.training.launch import _smaller_micro_batch

    trainer: Any = SimpleNamespace(args=SimpleNamespace(per_device_train_batch_size=6, gradient_accumulation_steps=2))
    error = torch.OutOfMemoryError("CUDA out of memory")
    assert _smaller_micro_batch(trainer, error) == 3
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OutOfMemoryError, match=r"6 sequences at a time in each of 2 processes; set micro_batch: 3"):
        _smaller_micro_batch(trainer, error)
