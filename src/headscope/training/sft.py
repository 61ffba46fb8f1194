"""Supervised fine-tuning through ``trl.SFTTrainer``, the loss on the completion's tokens only."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from headscope.errors import InputError
from headscope.model_files.folder import adapter_base
from headscope.progress import SILENT, Progress
from headscope.training import launch, rendering
from headscope.training.dataset import as_dataset
from headscope.training.optimisation import Optimisation
from headscope.training.run_record import TrainingRun, identify
from headscope.training.trl_settings import trl_arguments

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase
    from trl import SFTConfig

    from headscope.training.dataset import Rows
    from headscope.training.trainers import DurableSft


class SftConfig(Optimisation):
    """SFT on prompt and completion records.

    method: the name of the method.
    batch_size: sequences per optimiser step, over all processes.
    max_length: tokens of prompt and completion together; longer ones are cut at the end, and dropped if nothing of the
        completion is left.
    hybrid: one model for two modes: every row says in ``chat_template_kwargs`` which mode it is in.
    lora_rank: of LoRA adapters on every linear layer but the last (alpha is twice the rank), which are trained and
        saved instead of the weights; None trains all weights.
    """

    method: Literal["sft"] = "sft"
    learning_rate: float = Field(default=4e-5, ge=0)
    batch_size: int = Field(default=64, ge=1)
    max_length: int = Field(default=1024, ge=2)
    hybrid: bool = False
    # Left out of a dump if there is none, so that runs from before LoRA keep their digests.
    lora_rank: int | None = Field(default=None, ge=1, exclude_if=lambda rank: rank is None)


def run_sft(
    model_path: str | Path,
    dataset: "Rows",
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
        InputError: for unusable input, for a chat template that leaves out a part of a completion, for LoRA on a model
            that is itself an adapter, for another run in ``out``, and when training diverges; checkpoints are kept.
    """
    out = Path(out)
    columns = ("prompt", "completion", "chat_template_kwargs") if config.hybrid else ("prompt", "completion")
    with launch.quiet():
        rows = as_dataset(dataset, columns)
        identity = identify(config, model_path, rows, tokenizer)

        def build(config: SftConfig) -> "DurableSft":
            return build_trainer(model_path, tokenizer, rows, config, out)

        return launch.train(out, identity, config, build, progress)


def trl_config(config: SftConfig, out: Path) -> "SFTConfig":
    """Return TRL's settings for this config."""
    from trl import SFTConfig

    return SFTConfig(
        **trl_arguments(config, out, config.batch_size),
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
    adapter = None if config.lora_rank is None else _new_adapter(model_path, config.lora_rank)
    trainer = DurableSft(
        model=subject.model,
        args=trl_config(config, out),
        train_dataset=rows,
        processing_class=subject.tokenizer,
        peft_config=adapter,
    )
    if adapter is not None:
        written = trainer.model.active_peft_config
        # The name that the model was loaded by need not be where it lies, and a set has another order in every process.
        written.base_model_name_or_path = str(model_path)
        written.target_modules = sorted(written.target_modules)
    return trainer


def _new_adapter(model_path: str | Path, rank: int) -> "LoraConfig":
    from peft import LoraConfig

    if Path(model_path).is_dir() and adapter_base(model_path) is not None:
        raise InputError(
            f"{model_path} is itself an adapter, and lora_rank would put another one on it; merge it first "
            "(merge_and_unload() of peft), or leave lora_rank out"
        )
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
