"""On-policy distillation through ``trl.DistillationTrainer``: the student writes, the teacher's logits correct it.

Per step: sample one completion for each prompt from the current student; loss = generalised Jensen-Shannon divergence
between the two next-token distributions at every token of it (Agarwal et al., arXiv 2306.13649). Distillation on texts
that a teacher has written is SFT: ``run_sft`` on its traces.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from headscope.errors import InputError
from headscope.progress import SILENT, Progress
from headscope.training import launch, rendering
from headscope.training.dataset import as_dataset, check_enough_prompts
from headscope.training.optimisation import Optimisation
from headscope.training.run_record import TrainingRun, identify
from headscope.training.trl_settings import check_vllm, trl_arguments, vllm_sampling

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import DistillationConfig

    from headscope.training.dataset import Rows
    from headscope.training.trainers import DurableDistillation


class DistillConfig(Optimisation):
    """On-policy distillation.

    method: the name of the method.
    batch_size: prompts, and so completions, per optimiser step, over all processes.
    max_completion_length: in tokens.
    temperature: of the sampling and of both distributions.
    beta: 0 is the forward KL, teacher to student; 1 the reverse KL, student to teacher; between them their mixture.
    chat: variables of the chat template, such as ``{"enable_thinking": False}``.
    vllm: sample with vLLM, in the training process.
    """

    method: Literal["distill"] = "distill"
    learning_rate: float = Field(default=1e-6, ge=0)
    batch_size: int = Field(default=64, ge=1)
    max_completion_length: int = Field(default=512, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    beta: float = Field(default=1.0, ge=0, le=1)
    chat: dict[str, object] = Field(default_factory=dict)
    vllm: bool = False


def run_distill(
    model_path: str | Path,
    prompts: "Rows",
    teacher_path: str | Path,
    config: DistillConfig,
    out: str | Path,
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    progress: Progress = SILENT,
) -> TrainingRun:
    """Train a model towards a teacher's logits and write the run to ``out``; the same call resumes a killed run.

    Args:
        model_path: the base model, the student.
        prompts: ``{"prompt": [message, …], …}`` rows or a ``datasets.Dataset``.
        teacher_path: a model with the student's vocabulary.
        config: the settings.
        out: the run's directory.
        tokenizer: used and saved instead of the model's own.
        progress: counts optimiser steps.

    Raises:
        InputError: for unusable input, for another run in ``out``, and when training diverges; checkpoints are kept.
    """
    out = Path(out)
    check_vllm(config.vllm)
    with launch.quiet():
        rows = as_dataset(prompts, ("prompt",))
        check_enough_prompts(len(rows), "batch_size", config.batch_size)
        identity = identify(config, model_path, rows, tokenizer, teacher=teacher_path)

        def build(config: DistillConfig) -> "DurableDistillation":
            return _trainer(model_path, tokenizer, teacher_path, rows, config, out)

        return launch.train(out, identity, config, build, progress)


def check_vocabulary(student: str | Path, student_size: int, teacher: str | Path, teacher_size: int) -> None:
    """Raise InputError unless two models have as many vocabulary entries."""
    if student_size != teacher_size:
        raise InputError(
            f"teacher {teacher} has {teacher_size} vocabulary entries and model {student} has {student_size}; "
            "distillation compares their next-token distributions, so give a teacher with the model's own vocabulary"
        )


def trl_config(config: DistillConfig, out: Path, stops: Sequence[int] = ()) -> "DistillationConfig":
    """Return TRL's settings for this config. stops: the tokens that end a completion."""
    from trl import DistillationConfig

    return DistillationConfig(
        **trl_arguments(config, out, config.batch_size),
        max_completion_length=config.max_completion_length,
        temperature=config.temperature,
        beta=config.beta,
        chat_template_kwargs=config.chat,
        use_vllm=config.vllm,
        generation_kwargs=vllm_sampling(config.vllm, stops),
    )


def _trainer(
    model_path: str | Path,
    tokenizer: "PreTrainedTokenizerBase | None",
    teacher_path: str | Path,
    rows: "Dataset",
    config: DistillConfig,
    out: Path,
) -> "DurableDistillation":
    from headscope.training.trainers import DurableDistillation

    student = launch.load_base(model_path, tokenizer)
    teacher = launch.load_base(teacher_path, tokenizer)
    student_size = student.model.config.get_text_config().vocab_size
    teacher_size = teacher.model.config.get_text_config().vocab_size
    check_vocabulary(model_path, student_size, teacher_path, teacher_size)
    launch.write_rendered(out, rendering.describe_row(student.tokenizer, rows[0], config.chat))
    return DurableDistillation(
        model=student.model,
        teacher_model=teacher.model,
        args=trl_config(config, out, student.model.generation_config.eos_token_id),
        train_dataset=rows,
        processing_class=student.tokenizer,
    )
