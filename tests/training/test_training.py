"""SFT and GRPO at tiny size, in this process: what they learn, record, refuse and leave alone."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.precision import HALF_THE_BITS
from tests.training.conftest import build_model

from headscope.errors import InputError
from headscope.training import (
    PRESETS,
    DistillConfig,
    GrpoConfig,
    SftConfig,
    TrainingRun,
    grpo,
    preset,
    read_log,
    run_distill,
    run_grpo,
    run_sft,
    sft,
)

FAST_SFT = SftConfig(learning_rate=1e-2, max_steps=4, batch_size=8, save_every=2, schedule="constant")
FAST_GRPO = GrpoConfig(
    learning_rate=1e-2, max_steps=3, prompts_per_step=4, samples=4, max_completion_length=6, save_every=2
)


def _prompts(count: int = 8) -> list[dict[str, Any]]:
    return [{"prompt": [{"role": "user", "content": f"? {'abcdefgh'[i]}"}], "answer": str(i)} for i in range(count)]


def _records(count: int = 8) -> list[dict[str, Any]]:
    answer = [{"role": "assistant", "content": "<ans> 7"}]
    return [{"prompt": row["prompt"], "completion": answer} for row in _prompts(count)]


def constant(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
    """Half of each group is right, whatever it says."""
    return [float(at % 2) for at in range(len(completions))]


class Recorder:
    """A Progress that remembers its bars and notes."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.notes: list[str] = []

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator["Recorder"]:
        self.total, self.done = total, start
        yield self

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        self.notes.append(note)


def test_sft_learns_the_completion_and_only_it(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    progress = Recorder()
    config = FAST_SFT.model_copy(update={"max_steps": 20, "save_every": 100})
    run = run_sft(tiny_model, _records(), config, tmp_path / "run", progress=progress)
    assert [point.step for point in run.checkpoints] == [0, 20]
    assert run.log[-1].loss < 0.2 * run.log[0].loss
    assert (progress.total, progress.done, len(progress.notes)) == (20, 20, 20)
    assert progress.notes[-1].startswith("loss ")
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")
    assert _greedy(run.final, "? a") == "<ans> 7 <end>"


def test_a_stable_schedule_falls_in_its_last_fifth(tiny_model: Path, tmp_path: Path) -> None:
    changes = {"max_steps": 10, "warmup": 2, "schedule": "warmup_stable_decay", "save_every": 7}
    run = run_sft(tiny_model, _records(), FAST_SFT.model_copy(update=changes), tmp_path / "run")
    assert [row.learning_rate for row in run.log] == pytest.approx([0, 5e-3, *[1e-2] * 7, 5e-3])


def _greedy(model: Path, question: str, tokens: int = 3, **switches: Any) -> str:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    messages = [{"role": "user", "content": question}]
    ids = tokenizer.apply_chat_template(messages, return_tensors="pt", **switches)["input_ids"]
    out = AutoModelForCausalLM.from_pretrained(model).generate(ids, max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(out[0, ids.shape[1] :]))


@pytest.fixture
def longrope_model(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with frequencies that change beyond 12 tokens, and weights by which that is seen."""
    from transformers import AutoModelForCausalLM

    factors = {"short_factor": [1.0] * 4, "long_factor": [1.0, 4.0, 8.0, 16.0]}
    longrope = {"rope_type": "longrope", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 12}
    folder = tmp_path / "longrope"
    shutil.copytree(tiny_model, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for weight in model.parameters():
        weight.data *= 8 if weight.ndim == 2 else 1
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = longrope | factors
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_rows_of_a_batch_are_turned_by_their_own_lengths(longrope_model: Path, tmp_path: Path) -> None:
    """A short text beside a long one, and on its own: the same loss and the same gradient."""
    long = {"prompt": [{"role": "user", "content": "a = 1 ; b = 2 ; c = 3 ; ? a"}], "answer": "1"}
    rows = [*_records(1), {"prompt": long["prompt"], "completion": [{"role": "assistant", "content": "<ans> 1"}]}]
    config = FAST_SFT.model_copy(update={"max_steps": 1, "batch_size": 2, "learning_rate": 0.0})
    steps = []
    for size in (1, 2):
        run = run_sft(longrope_model, rows, config.model_copy(update={"micro_batch": size}), tmp_path / str(size))
        steps.append((run.log[0].loss, run.log[0].grad_norm))
    assert steps[0] == pytest.approx(steps[1], rel=1e-4)


@pytest.mark.parametrize("change", [{"top_p": 0.9}, {"vllm": True}])
def test_engines_that_mistake_frequencies_are_refused(
    longrope_model: Path, tiny_model: Path, change: dict[str, Any]
) -> None:
    from types import SimpleNamespace

    import torch

    from headscope.training.launch import load_base
    from headscope.training.trainers import DurableGrpo

    accelerator = SimpleNamespace(unwrap_model=lambda model: model, device=torch.device("cpu"))
    shared = {"accelerator": accelerator, "max_completion_length": 9, "temperature": 1.0, "eos_token_ids": [1]}
    chosen = {"use_vllm": change.get("vllm", False), "top_p": change.get("top_p", 1.0)}
    trainer: Any = SimpleNamespace(model_wrapped=load_base(longrope_model).model, **shared, **chosen)
    with pytest.raises(InputError, match="mistakes the rotary frequencies of qwen3"):
        DurableGrpo._sample_completions(trainer, [[3, 8, 4]])
    trainer.use_vllm, trainer.top_p = False, 1.0
    assert len(DurableGrpo._sample_completions(trainer, [[3, 8, 4]]) or []) == 1
    trainer = SimpleNamespace(model_wrapped=load_base(tiny_model).model, **shared, **chosen)
    assert DurableGrpo._sample_completions(trainer, [[3, 8, 4]]) is None


def test_step_0_is_the_base(tiny_model: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    run = run_sft(tiny_model, _records(), FAST_SFT, tmp_path / "run")
    base, saved = (load_file(folder / "model.safetensors") for folder in (tiny_model, run.checkpoints[0].path))
    assert base.keys() == saved.keys()
    assert all((base[name] == saved[name]).all() for name in base)


def test_every_resolved_field_is_recorded(tiny_model: Path, tmp_path: Path) -> None:
    config = FAST_GRPO.model_copy(update={"beta": 0.04})
    run = run_grpo(tiny_model, _prompts(), [constant], config, tmp_path / "run")
    recorded = json.loads((run.path / "training_args.json").read_text())
    assert len(recorded) > 150
    paper = {
        "loss_type": "grpo",
        "beta": 0.04,
        "use_bias_correction_kl": False,
        "scale_rewards": "group",
        "epsilon": 0.2,
    }
    assert {key: recorded[key] for key in paper} == paper
    assert recorded["steps_per_generation"] == recorded["gradient_accumulation_steps"]
    assert [entry.kl is None for entry in run.log] == [False] * 3
    assert run.log[0].kl == pytest.approx(0, abs=1e-6)  # the policy still is the reference
    assert run.log[2].kl > 1e-5  # type: ignore[operator]
    assert [(entry.reward, entry.rewards) for entry in run.log] == [(0.5, {"constant": 0.5})] * 3
    assert run.log[0].reward_sd == pytest.approx((16 * 0.25 / 15) ** 0.5)


def test_lean_grpo_takes_trls_step(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step with and without our micro-batches: the same gradient, from the same samples."""
    import trl

    from headscope.training.trainers import DurableGrpo

    config = FAST_GRPO.model_copy(update={"max_steps": 1, "micro_batch": 4, "beta": 0.0})

    def some(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        return [float(at % 3 == 0 and at < 8) for at in range(len(completions))]

    lean = run_grpo(tiny_model, _prompts(), [some], config, tmp_path / "lean").log[0]
    monkeypatch.setattr(DurableGrpo, "_prepare_inputs", trl.GRPOTrainer._prepare_inputs)
    plain = run_grpo(tiny_model, _prompts(), [some], config, tmp_path / "plain").log[0]
    assert lean.completion_length == plain.completion_length
    assert lean.grad_norm == pytest.approx(plain.grad_norm, rel=HALF_THE_BITS)


def test_distillation_moves_the_student_towards_its_teacher(tiny_model: Path, tmp_path: Path) -> None:
    learnt = FAST_SFT.model_copy(update={"max_steps": 20, "save_every": 100})
    teacher = run_sft(tiny_model, _records(), learnt, tmp_path / "teacher").final
    config = DistillConfig(
        learning_rate=1e-2, max_steps=20, batch_size=8, max_completion_length=4, save_every=100, beta=0.0,
        schedule="constant",
    )  # fmt: skip
    run = run_distill(tiny_model, _prompts(), teacher, config, tmp_path / "run")
    assert [point.step for point in run.checkpoints] == [0, 20]
    assert run.log[-1].loss < 0.3 * run.log[0].loss
    assert _greedy(run.final, "? a", tokens=2) == "<ans> 7"
    still = run_distill(
        tiny_model, _prompts(), tiny_model, config.model_copy(update={"max_steps": 1}), tmp_path / "own"
    )
    assert still.log[0].loss == pytest.approx(0, abs=1e-6)  # a teacher that is the student has nothing to say
    with pytest.raises(InputError, match="holds a run with teacher"):
        run_distill(tiny_model, _prompts(), tiny_model, config, tmp_path / "run")


def test_a_teacher_with_another_vocabulary_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    teacher = build_model(tmp_path / "other", vocabulary=60)
    config = DistillConfig(max_steps=1, batch_size=4)
    with pytest.raises(
        InputError, match=r"other has 60 vocabulary entries and model .* has \d+; distillation compares"
    ):
        run_distill(tiny_model, _prompts(), teacher, config, tmp_path / "run")


def test_a_hybrid_answers_in_the_mode_it_is_asked_in(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    switched = tmp_path / "switched"
    shutil.copytree(tiny_model, switched)
    tokenizer = AutoTokenizer.from_pretrained(switched)
    tokenizer.chat_template += (
        "{% if enable_thinking is defined and enable_thinking is false %} <think> </think>{% endif %}"
    )
    tokenizer.save_pretrained(switched)
    prompts = [row["prompt"] for row in _prompts()]
    answers = {True: "<think> a </think> <ans> 7", False: "<think> </think> <ans> 3"}
    rows = [
        {
            "prompt": prompt,
            "completion": [{"role": "assistant", "content": text}],
            "chat_template_kwargs": {"enable_thinking": on},
        }
        for prompt in prompts
        for on, text in answers.items()
    ]
    config = FAST_SFT.model_copy(update={"max_steps": 30, "save_every": 100, "batch_size": 16, "hybrid": True})
    run = run_sft(switched, rows, config, tmp_path / "run")
    assert _greedy(run.final, "? a", tokens=6).startswith("<think> a")
    assert _greedy(run.final, "? a", enable_thinking=False) == "<ans> 3 <end>"
    with pytest.raises(InputError, match="row 1 of the training data has no 'chat_template_kwargs'"):
        run_sft(switched, _records(), config, tmp_path / "other")


def test_vllm_is_one_key_and_says_when_it_is_missing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = FAST_GRPO.model_copy(update={"vllm": True})
    with pytest.raises(InputError, match=r"not installed: pip install 'headscope\[vllm\]'"):
        run_grpo(tiny_model, _prompts(), [constant], config, tmp_path / "run")


def test_rate_0_and_no_reward_leave_the_weights(tiny_model: Path, tmp_path: Path) -> None:
    config = FAST_GRPO.model_copy(update={"learning_rate": 0.0, "beta": 0.0})
    run = run_grpo(tiny_model, _prompts(), [constant], config, tmp_path / "run")
    assert len({(point.path / "model.safetensors").read_bytes() for point in run.checkpoints}) == 1


def test_divergence_stops_with_a_sentence_and_keeps_checkpoints(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headscope.training.trainers import DurableSft

    original = DurableSft.compute_loss

    def diverging(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = original(self, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 2 else loss

    monkeypatch.setattr(DurableSft, "compute_loss", diverging)
    with pytest.raises(InputError, match=r"training diverged at step 3: loss is nan; lower learning_rate.*0.01"):
        run_sft(tiny_model, _records(), FAST_SFT, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*")) == [
        "checkpoint-0",
        "checkpoint-2",
    ]
    assert [entry.step for entry in read_log(tmp_path / "run" / "log.jsonl")] == [1, 2]
    with pytest.raises(InputError, match="has not finished"):
        TrainingRun.load(tmp_path / "run")


def test_a_directory_belongs_to_one_run(tiny_model: Path, tmp_path: Path) -> None:
    run = run_sft(tiny_model, _records(), FAST_SFT, tmp_path / "run")
    written = (run.path / "log.jsonl").stat().st_mtime_ns
    assert run_sft(tiny_model, _records(), FAST_SFT, tmp_path / "run") == run
    assert (run.path / "log.jsonl").stat().st_mtime_ns == written
    with pytest.raises(InputError, match=r"holds a run with learning_rate 0.01, not 0.1; give another directory"):
        run_sft(tiny_model, _records(), FAST_SFT.model_copy(update={"learning_rate": 0.1}), tmp_path / "run")
    with pytest.raises(InputError, match="holds a run with data"):
        run_sft(tiny_model, _records(7), FAST_SFT, tmp_path / "run")


def test_bad_data_is_named(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        run_sft(tiny_model, [], FAST_SFT, tmp_path / "run")
    with pytest.raises(InputError, match=r"row 2 of the training data has no 'completion', only prompt, answer"):
        run_sft(tiny_model, [*_records(1), *_prompts(1)], FAST_SFT, tmp_path / "run")
    with pytest.raises(InputError, match=r"3 prompts cannot fill a step of prompts_per_step 4"):
        run_grpo(tiny_model, _prompts(3), [constant], FAST_GRPO, tmp_path / "run")
    with pytest.raises(InputError, match="no reward"):
        run_grpo(tiny_model, _prompts(), [], FAST_GRPO, tmp_path / "run")
    with pytest.raises(InputError, match=r"micro_batch 3 does not divide the 8"):
        run_sft(tiny_model, _records(), FAST_SFT.model_copy(update={"micro_batch": 3}), tmp_path / "run")


def test_presets_are_the_papers() -> None:
    paper = preset("paper-sft")
    assert (paper.learning_rate, paper.epochs, paper.warmup, paper.save_every) == (4e-5, 5, 0.03, 100)
    openr1 = preset("paper-grpo-openr1")
    assert isinstance(openr1, GrpoConfig)
    assert (openr1.learning_rate, openr1.epochs, openr1.samples, openr1.warmup) == (1e-6, 3, 16, 0.1)
    assert preset("paper-grpo-openr1", learning_rate=2e-5).learning_rate == 2e-5
    gsm8k = preset("paper-grpo-gsm8k")
    assert (gsm8k.learning_rate, gsm8k.epochs, gsm8k.bf16) == (5e-6, 1, True)
    assert all(preset(name).method == settings["method"] for name, settings in PRESETS.items())
    with pytest.raises(InputError, match=r"'lab-grop' is unknown \(did you mean 'lab-grpo'\?\)"):
        preset("lab-grop")
    with pytest.raises(ValidationError, match="learning_rat"):
        preset("lab-sft", learning_rat=1)


@pytest.mark.parametrize(
    ("name", "rate", "epochs", "warmup"),
    [("paper-sft", 4e-5, 5, 0.03), ("paper-grpo-openr1", 1e-6, 3, 0.1), ("paper-grpo-gsm8k", 5e-6, 1, 0.1)],
)
def test_the_papers_settings_reach_trl(name: str, rate: float, epochs: int, warmup: float, tmp_path: Path) -> None:
    config = preset(name)
    args = (grpo.trl_config if isinstance(config, GrpoConfig) else sft.trl_config)(config, tmp_path)  # type: ignore[arg-type]
    assert (args.learning_rate, args.num_train_epochs, args.save_steps, args.bf16) == (rate, epochs, 100, True)
    assert args.get_warmup_steps(1000) == 1000 * warmup
    if isinstance(config, GrpoConfig):
        assert (args.num_generations, args.epsilon, args.epsilon_high, args.beta) == (16, 0.2, None, 0.04)
        assert (args.loss_type, args.scale_rewards, args.num_iterations) == ("grpo", "group", 1)
        assert args.per_device_train_batch_size * args.gradient_accumulation_steps == 16 * 16


def test_a_foreign_trainer_state_is_a_log(tmp_path: Path) -> None:
    history = [
        {
            "step": 10,
            "loss": 0.5,
            "learning_rate": 1e-6,
            "reward": 0.25,
            "reward_std": 0.4,
            "rewards/acc/mean": 0.25,
        },
        {"step": 10, "train_runtime": 3.0},
    ]
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": history}))
    (entry,) = read_log(path)
    assert (entry.step, entry.reward, entry.reward_sd, entry.rewards) == (10, 0.25, 0.4, {"acc": 0.25})
    path.write_text("[]")
    with pytest.raises(InputError, match="neither a log"):
        read_log(path)


def test_reading_configs_needs_no_torch() -> None:
    code = (
        "import sys, headscope.training as t; t.preset('lab-grpo'); "
        "print({'torch', 'trl', 'transformers'} & {*sys.modules})"
    )
    source = str(Path(__file__).parents[2] / "src")
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": source}, check=True
    )
    assert result.stdout == "set()\n"


@pytest.mark.slow
def test_weights_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    model = build_model(tmp_path / "model", width=512)  # two threads do add up another way at this width
    before = torch.get_num_threads()
    weights: list[dict[str, torch.Tensor]] = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        run = run_grpo(model, _prompts(), [constant], FAST_GRPO, tmp_path / f"run-{threads}")
        weights.append(load_file(run.final / "model.safetensors"))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
