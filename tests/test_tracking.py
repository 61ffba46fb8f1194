"""HeadTracker: training with it is training without it, and what it writes opens like a study's run."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import IntervalStrategy

from headscope.errors import InputError
from headscope.models import load_model
from headscope.pairs import Pairs
from headscope.runs import RunDirectory
from headscope.runs.leases import take
from headscope.runs.presence import Presence
from headscope.tracking import HeadTracker, borrow_model
from tests import tiny_models
from tests.training.conftest import build_model

STEPS = 6


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return tiny_models.ragged_pairs(count=12)


class _Logger(TrainerCallback):  # type: ignore[misc]
    """What a logger such as TensorBoard's, which stands before added callbacks, is given."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        self.records.append({"step": state.global_step, **logs})


def _trainer(folder: Path, **changes: Any) -> Trainer:
    """A plain Trainer on random text, with dropout, so that a random number too many would show."""
    model = tiny_models.tiny_model("qwen3").train()
    for layer in model.model.layers:  # type: ignore[union-attr, operator]
        layer.self_attn.attention_dropout = 0.2
    draw = np.random.default_rng(0)
    ids = [draw.integers(0, tiny_models.VOCABULARY, 12).tolist() for _ in range(64)]
    rows = [{"input_ids": row, "labels": row} for row in ids]
    settings: dict[str, Any] = {"max_steps": STEPS, "save_steps": 2, "logging_steps": 1, "learning_rate": 1e-2}
    args = TrainingArguments(
        str(folder),
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        **settings | changes,
    )
    trainer = Trainer(model, args, train_dataset=rows)
    trainer.logged = _Logger()
    trainer.add_callback(trainer.logged)
    return trainer


def _tracker(pairs: Pairs, out: Path, every: int | None = 2) -> HeadTracker:
    return HeadTracker(pairs, every=every, out=out, fraction=0.1, resamples=50, nodes=4)


@pytest.fixture(scope="module")
def tracked(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path]:
    folder = tmp_path_factory.mktemp("tracked")
    trainer = _trainer(folder / "training")
    trainer.add_callback(_tracker(pairs, folder / "heads"))
    trainer.train()
    return trainer, folder / "heads"


def test_training_is_the_same_bit_for_bit(tracked: tuple[Trainer, Path], tmp_path: Path) -> None:
    trainer, _ = tracked
    plain = _trainer(tmp_path / "plain")
    plain.train()
    for (name, plain_weight), (_, tracked_weight) in zip(
        plain.model.named_parameters(), trainer.model.named_parameters(), strict=True
    ):
        assert torch.equal(plain_weight, tracked_weight), name
    assert [logs["loss"] for logs in plain.logged.records[:-1]] == [
        logs["loss"] for logs in trainer.logged.records[:-1]
    ]
    for name, module in trainer.model.named_modules():
        assert (module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) == (True, 0, 0), name
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())


def _grpo_weights(model: Path, folder: Path, tracker: HeadTracker | None) -> tuple[list[torch.Tensor], set[str]]:
    """Weights and logged keys after two steps of plain ``trl.GRPOTrainer``, which samples its own data."""
    import trl

    args = trl.GRPOConfig(
        str(folder), max_steps=2, per_device_train_batch_size=8, num_generations=4, max_completion_length=6,
        learning_rate=1e-2, beta=0.0, logging_steps=1, use_cpu=True, bf16=False, gradient_checkpointing=False,
        report_to="none", disable_tqdm=True, save_strategy="no",
    )  # fmt: skip

    def length(completions: list[Any], **columns: Any) -> list[float]:
        return [float(len(str(text)) % 3) for text in completions]

    subject = load_model(model)
    rows = Dataset.from_list([{"prompt": [{"role": "user", "content": f"? {letter}"}]} for letter in "abcdefgh"])
    trainer = trl.GRPOTrainer(subject.model, length, args=args, train_dataset=rows, processing_class=subject.tokenizer)
    if tracker is not None:
        trainer.add_callback(tracker)
    trainer.train()
    logged = {key for logs in trainer.state.log_history for key in logs}
    return [parameter.detach().clone() for parameter in trainer.model.parameters()], logged


def test_trls_grpo_samples_and_learns_the_same(pairs: Pairs, tmp_path: Path) -> None:
    model = build_model(tmp_path / "model", heads=4, width=32)
    plain, _ = _grpo_weights(model, tmp_path / "plain", None)
    watched, logged = _grpo_weights(model, tmp_path / "watched", _tracker(pairs, tmp_path / "heads", every=1))
    assert all(
        torch.equal(plain_weight, tracked_weight) for plain_weight, tracked_weight in zip(plain, watched, strict=True)
    )
    assert {"heads/new", "reward", "completions/mean_length"} <= logged


def test_a_tracker_stands_before_the_loggers_and_moves_no_one_else(pairs: Pairs, tmp_path: Path) -> None:
    trainer = _trainer(tmp_path / "training")
    before = list(trainer.callback_handler.callbacks)
    tracker = _tracker(pairs, tmp_path / "heads")
    trainer.add_callback(tracker)
    assert trainer.callback_handler.callbacks == [tracker, *before]
    assert Trainer(trainer.model, trainer.args, callbacks=[tracker]).callback_handler.callbacks[0] is tracker


def test_loggers_are_given_the_counts_at_their_step(tracked: tuple[Trainer, Path]) -> None:
    trainer, _ = tracked
    for records in (trainer.logged.records, trainer.state.log_history):
        steps = [logs["step"] for logs in records if "heads/new" in logs]
        assert steps == [2, 4, 6]
    first = next(logs for logs in trainer.logged.records if "heads/new" in logs)
    assert {"heads/kept", "heads/lost", "heads/contingent", "heads/new_null"} <= first.keys()
    grid = tiny_models.LAYERS * tiny_models.HEADS
    assert 0 <= first["heads/new"] + first["heads/kept"] + first["heads/lost"] <= grid


def test_what_is_written_opens_like_a_studys_run(tracked: tuple[Trainer, Path]) -> None:
    from headscope.report import RunResults, render

    run = RunDirectory.open(tracked[1])
    results = RunResults(run)
    assert results.coverage.planned == results.coverage.done == 8  # 2 pair sets, 2 + 3 scores, 1 comparison
    assert results.comparisons[0].steps == (2, 4, 6)
    assert [record.labels["step"] for record in run.find("scores", pairs="main")] == [0, 2, 4, 6]
    logged = [logs["heads/new"] for logs in tracked[0].logged.records if "heads/new" in logs]
    assert [emergence.counts.new.value for emergence in results.comparisons[0].emergence] == logged
    assert len(list((run.path / "units" / "comparison").iterdir())) == 1
    assert render(run).is_file()


def test_scores_are_those_of_the_saved_checkpoint(tracked: tuple[Trainer, Path], pairs: Pairs) -> None:
    from transformers import AutoModelForCausalLM

    from headscope.circuits import attribute
    from headscope.results.edges import EdgeScores

    saved = AutoModelForCausalLM.from_pretrained(Path(tracked[0].args.output_dir) / "checkpoint-4").eval()
    (record,) = RunDirectory.open(tracked[1]).find("scores", step=4)
    again = attribute(saved, pairs[::2], nodes=4)
    np.testing.assert_array_equal(EdgeScores.load(record.folder).edges, again.edges)


def test_a_resumed_training_goes_on_in_its_directory(
    tracked: tuple[Trainer, Path], pairs: Pairs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = _trainer(tmp_path / "training")

    class Killed(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                raise KeyboardInterrupt

    trainer.add_callback(_tracker(pairs, tmp_path / "heads"))
    trainer.add_callback(Killed())
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    again = _trainer(tmp_path / "training")
    again.add_callback(_tracker(pairs, tmp_path / "heads"))
    again.train(resume_from_checkpoint=str(tmp_path / "training" / "checkpoint-4"))
    digests = []
    for folder in (tracked[1], tmp_path / "heads"):
        units = RunDirectory.open(folder).lock()["units"]
        digests.append({row["digest"] for row in units if row["kind"] != "comparison"})
    assert digests[0] == digests[1]
    lost = _trainer(tmp_path / "training")
    lost.add_callback(_tracker(pairs, tmp_path / "elsewhere"))
    lost.train(resume_from_checkpoint=str(tmp_path / "training" / "checkpoint-4"))
    assert "holds no scores of the base, and training resumes at step 4" in caplog.text
    assert lost.state.global_step == STEPS


def test_without_every_the_trainers_saves_decide_and_a_failed_scoring_does_not_stop_training(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import headscope.tracking

    plain = headscope.tracking.attribute
    calls = 0

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:  # two for the base
            raise InputError("the scores are not finite")
        return plain(*args, **kwargs)

    monkeypatch.setattr(headscope.tracking, "attribute", failing)
    trainer = _trainer(tmp_path / "training", save_steps=3)
    trainer.add_callback(_tracker(pairs, tmp_path / "heads", every=None))
    trainer.train()
    assert "heads are not tracked at step 3: the scores are not finite" in caplog.text
    assert [logs["step"] for logs in trainer.logged.records if "heads/new" in logs] == [6]


class _Stop(TrainerCallback):  # type: ignore[misc]
    """What ends a training early, such as EarlyStoppingCallback, which decides after an evaluation."""

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop |= state.global_step == 3


def test_the_last_step_of_a_training_that_is_stopped_early_is_scored(pairs: Pairs, tmp_path: Path) -> None:
    trainer = _trainer(tmp_path / "training")
    trainer.add_callback(_Stop())
    trainer.add_callback(_tracker(pairs, tmp_path / "heads"))
    trainer.train()
    assert trainer.state.global_step == 3
    assert [logs["step"] for logs in trainer.logged.records if "heads/new" in logs] == [2, 3]


class _StopAfterEvaluation(TrainerCallback):  # type: ignore[misc]
    """Stop as EarlyStoppingCallback does: an epoch's evaluation comes after the epoch's end."""

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = True


def test_the_last_step_is_scored_if_an_epochs_evaluation_stops_training(pairs: Pairs, tmp_path: Path) -> None:
    trainer = _trainer(tmp_path / "training", max_steps=40)  # epochs of 16 steps
    trainer.eval_dataset, trainer.args.eval_strategy = trainer.train_dataset, IntervalStrategy.EPOCH
    trainer.add_callback(_StopAfterEvaluation())
    trainer.add_callback(_tracker(pairs, tmp_path / "heads", every=10))
    trainer.train()
    assert trainer.state.global_step == 16
    lock = json.loads((tmp_path / "heads" / "study.lock.json").read_text())
    steps = {unit["labels"].get("step") for unit in lock["units"] if unit["kind"] == "scores"}
    assert steps == {0, 10, 16}


def test_without_every_a_trainer_that_saves_by_epochs_is_scored_by_epochs(pairs: Pairs, tmp_path: Path) -> None:
    trainer = _trainer(tmp_path / "training", save_strategy="epoch", max_steps=20)  # epochs of 16 steps
    trainer.add_callback(_tracker(pairs, tmp_path / "heads", every=None))
    trainer.train()
    assert [logs["step"] for logs in trainer.logged.records if "heads/new" in logs] == [16, 20]


def test_an_outdated_comparison_that_another_deleted_or_holds_ends_nothing(
    pairs: Pairs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer, run = _trainer(tmp_path / "training"), RunDirectory(tmp_path / "heads")
    folders: list[Path] = []

    class Another(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step in (2, 4):
                (comparison,) = {*run.path.glob("units/comparison/[!.]*")} - {*folders}
                folders.append(comparison)
                if state.global_step == 2:
                    shutil.rmtree(comparison)
                else:
                    assert take(comparison, presence) is not None

    trainer.add_callback(_tracker(pairs, run.path))
    trainer.add_callback(Another())
    with Presence(run.path) as presence:
        trainer.train()
    assert [logs["step"] for logs in trainer.logged.records if "heads/new" in logs] == [2, 4, 6]
    assert caplog.text == ""
    assert [folder.is_dir() for folder in folders] == [False, True]


def test_what_could_not_track_anything_is_refused_at_once(ragged_pairs: Callable[..., Pairs], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fraction is 5"):
        HeadTracker(ragged_pairs(count=4), out=tmp_path, fraction=5.0)
    with pytest.raises(InputError, match=r"found 1 pair; the null, .* needs at least 2 problems"):
        HeadTracker(ragged_pairs(count=1), out=tmp_path)
    (tmp_path / "log").touch()
    with pytest.raises(InputError, match="log is a file; give a folder"):
        HeadTracker(ragged_pairs(count=4), out=tmp_path / "log")


def test_random_states_modes_and_hooks_are_left_alone(ragged_pairs: Callable[..., Pairs]) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    model[0].eval()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)

    def draw_and_fail() -> None:
        with borrow_model(model):
            assert not model.training
            torch.rand(5), random.random(), np.random.rand(3)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        draw_and_fail()
    assert (torch.rand(1), random.random(), np.random.rand()) == expected
    assert [module.training for module in model.modules()] == [True, False, True]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bogus": 1}, r"attribute has no setting 'bogus' \(allowed: .*metric"),
        ({"node": 4}, r"attribute has no setting 'node' \(did you mean 'nodes'\?\)"),
        ({"metric": "kll"}, r"metric 'kll' is unknown \(did you mean 'kl'\?\)"),
        ({"metric": lambda logits: logits}, r"setting metric is a function, which a run directory cannot record"),
        ({"method": "eap-ag"}, r"method 'eap-ag' is unknown"),
        ({"keep_pairs": True}, r"setting keep_pairs is the tracker's own; leave it out"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_training(
    settings: dict[str, Any], words: str, pairs: Pairs, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        HeadTracker(pairs, out=tmp_path, **settings)
