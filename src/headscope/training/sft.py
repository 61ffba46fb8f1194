"""Supervised fine-tuning through ``trl.SFTTrainer``, the loss on the completion's tokens only."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from headscope.progress import SILENT, Progress
from headscope.training import launch, rendering
from headscope.training.optimisation import Optimisation
from headscope.training.run_record import TrainingRun, identify

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import SFTConfig

    from headscope.training.trainers import DurableSft


class SftConfig(Optimisation):
    """SFT on prompt and completion records.

    method: the name of the method.
    batch_size: sequences per optimiser step, over all processes.
    max_length: tokens of prompt and completion together; longer ones are cut at the end, and dropped if nothing of the
        completion is left.
    hybrid: one model for two modes: every row says in ``chat_template_kwargs`` which mode it is in.
    """

    method: Literal["sft"] = "sft"
    learning_rate: float = Field(default=4e-5, ge=0)
    batch_size: int = Field(default=64, ge=1)
    max_length: int = Field(default=1024, ge=2)
    hybrid: bool = False


def run_sft(
    model_path: str | Path,
    dataset: "launch.Rows",
    config: SftConfig,
    out: str | Path,
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    progress: Progress = SILENT,
) -> TrainingRun:
    """Fine-tune a model and write the run to ``out``; the same call resumes a killed run.

    Args:
        model_path: the base model.
        dataset: ``{"prompt": [message, …], "completion": [message, …]}`` records or a ``datasets.Dataset`` of them; a
            column ``chat_template_kwargs`` (``{"enable_thinking": False}``) goes to the chat template, row by row.
        config: the settings.
        out: the run's directory.
        tokenizer: used and saved instead of the model's own.
        progress: counts optimiser steps.

    Raises:
        InputError: for unusable input, for a chat template that leaves out a part of a completion, for another run in
            ``out``, and when training diverges; checkpoints are kept.
    """
    out = Path(out)
    columns = ("prompt", "completion", "chat_template_kwargs") if config.hybrid else ("prompt", "completion")
    with launch.quiet():
        rows = launch.as_dataset(dataset, columns)
        identity = identify(config, model_path, rows, tokenizer)
        return launch.train(out, identity, lambda: build_trainer(model_path, tokenizer, rows, config, out), progress)


def trl_config(config: SftConfig, out: Path) -> "SFTConfig":
    """Return TRL's settings for this config."""
    from trl import SFTConfig

    return SFTConfig(
        **launch.trl_arguments(config, out, config.batch_size),
        max_length=config.max_length,
        completion_only_loss=True,
    )


def build_trainer(
    model_path: str | Path,
    tokenizer: "PreTrainedTokenizerBase | None",
    rows: "Dataset",
    config: SftConfig,
    out: Path,
) -> "DurableSft":
    """Return the trainer of a model on checked rows; what it learns is written to ``trained_on.txt``."""
    from headscope.training.trainers import DurableSft

    subject = launch.load_base(model_path, tokenizer)
    rendering.check_completions(subject.tokenizer, rows)
    launch.write_rendered(out, rendering.describe_rows(subject.tokenizer, rows, max_length=config.max_length))
    args = trl_config(config, out)
    return DurableSft(model=subject.model, args=args, train_dataset=rows, processing_class=subject.tokenizer)
