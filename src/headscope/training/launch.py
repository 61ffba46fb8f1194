"""From a config to a finished run: what every method does alike.

1. ``prepare`` names the run and clears what a killed process left past its last whole state.
2. ``load`` the base model; ``arguments`` are TRL's settings, those it derives from the device included.
3. ``drive`` saves step 0, trains (or resumes), marks the run complete and deletes the scratch folder.
"""

import importlib.util
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError
from headscope.model_files.chat_templates import stop_tokens
from headscope.progress import Progress
from headscope.training import processes, run
from headscope.training.log import keep_until
from headscope.training.optimisation import Optimisation

if TYPE_CHECKING:
    from headscope.models import Subject

CPU_MICRO_BATCH = 32
"""Sequences per forward pass on a CPU: larger ones fall out of its caches, smaller ones pay per call."""


def prepare(out: Path, identity: Mapping[str, Any]) -> Path | None:
    """The folder to resume from, or None to start. Raises InputError where ``out`` holds another run.

    Whatever is newer than that folder, or half-written, is deleted: it is made again from the same random
    state. The first process does so, and the others read what it left.
    """
    if processes.leads():
        _clear(out, identity)
    processes.wait()
    states = _states(out)
    return states[max(states)] if states else None


def _clear(out: Path, identity: Mapping[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    record = run.read_record(out)
    if record is not None:
        run.check_same(out, record, identity)
    run.write_record(out, identity, complete=False)
    newest = max(_states(out), default=-1)
    for folder in [*out.glob("checkpoint-*"), *out.glob(".checkpoint-*.tmp")]:
        if folder.suffix == ".tmp" or _step(folder) > newest:
            shutil.rmtree(folder)
    keep_until(out / run.LOG, newest)


def _states(out: Path) -> dict[int, Path]:
    """Folders a run can be resumed from, by step."""
    return {_step(folder): folder for folder in (out / run.SCRATCH).glob("step-*")}


def finished(out: Path, identity: Mapping[str, Any]) -> bool:
    """Whether ``out`` already holds this run, complete. Raises InputError where it holds another."""
    record = run.read_record(out)
    if record is None or not record["complete"]:
        return False
    run.check_same(out, record, identity)
    shutil.rmtree(out / run.SCRATCH, ignore_errors=True)  # a kill in the middle of deleting it leaves a part
    return True


def _step(folder: Path) -> int:
    return int(folder.name.rsplit("-", 1)[1])


def load(model: str | Path, tokenizer: Any = None) -> "Subject":
    """Load the base model with float32 weights, and a tokenizer that can render chats: ``tokenizer``, or its own.

    Its generation config names every stop token, so that TRL and whoever loads a checkpoint stop where a turn ends.
    Raises InputError as ``load_model`` does, and where there is no tokenizer or no chat template.
    """
    from headscope.models import load_model

    subject = load_model(model)
    if tokenizer is not None:
        subject = replace(subject, tokenizer=tokenizer)
    if subject.tokenizer is None:
        raise InputError(f"model {model} has no tokenizer; training needs one beside the weights")
    if not subject.tokenizer.chat_template:
        raise InputError(
            f"the tokenizer of {model} has no chat template to render prompts through; give base.chat_template"
        )
    generation = subject.model.generation_config
    generation.eos_token_id = list(stop_tokens(subject.tokenizer, generation))
    return subject


def vllm_sampling(vllm: bool, stops: Sequence[int]) -> dict[str, Any] | None:
    """TRL's ``generation_kwargs``: its vLLM engine serves the base's folder, whose files may not name every stop."""
    return {"stop_token_ids": list(stops)} if vllm else None


def tell(out: Path, rendered: str) -> None:
    """Write down what is trained on, beside the settings."""
    if processes.leads():
        (out / run.RENDERED).write_text(rendered, encoding="utf-8")


def check_fills(rows: int, key: str, wanted: int) -> None:
    """Raise InputError where there are fewer prompts than a step takes."""
    if rows < wanted:
        raise InputError(f"{rows} prompts cannot fill a step of {key} {wanted}")


def check_vllm(wanted: bool) -> None:
    """Raise InputError where vLLM is to sample and is not installed."""
    if wanted and importlib.util.find_spec("vllm") is None:
        raise InputError("vllm: true needs vLLM, which is not installed: pip install 'headscope[vllm]'")


def arguments(config: Optimisation, out: Path, sequences: int) -> dict[str, Any]:
    """TRL's settings for ``sequences`` per step, with all that would write, print or phone home off."""
    import torch

    cuda = torch.cuda.is_available()
    micro = micro_batch(config, sequences, cuda=cuda)
    return {
        "output_dir": str(out),
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "warmup_steps": config.warmup,
        "lr_scheduler_type": config.schedule,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": sequences // micro // processes.count(),
        "save_strategy": "steps",
        "save_steps": config.save_every,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # Trainer would replace a NaN loss by the running mean
        "use_cpu": not cuda,
        "bf16": cuda and torch.cuda.is_bf16_supported() if config.bf16 is None else config.bf16,
        "gradient_checkpointing": cuda if config.gradient_checkpointing is None else config.gradient_checkpointing,
        "dataloader_pin_memory": cuda,
        "seed": config.seed,
        "report_to": "none",
        "disable_tqdm": True,
    }


def micro_batch(config: Optimisation, sequences: int, *, cuda: bool) -> int:
    """Sequences per forward pass and process: the config's, or the largest divisor that suits the device.

    Raises InputError where the step's sequences cannot be split that way.
    """
    share, rest = divmod(sequences, processes.count())
    if rest:
        raise InputError(f"{sequences} sequences per step cannot be split over {processes.count()} processes")
    if config.micro_batch is None:
        limit = 8 if cuda else CPU_MICRO_BATCH
        return max(size for size in range(1, min(limit, share) + 1) if share % size == 0)
    if share % config.micro_batch:
        raise InputError(
            f"micro_batch {config.micro_batch} does not divide the {share} sequences a process has per step"
        )
    return config.micro_batch


def drive(trainer: Any, resume: Path | None, progress: Progress, identity: Mapping[str, Any]) -> run.TrainingRun:
    """Train to the end and return the finished run."""
    from transformers.trainer_callback import PrinterCallback

    from headscope.training.reporter import Reporter

    out = Path(trainer.args.output_dir)
    trainer.remove_callback(PrinterCallback)
    reporter = Reporter(out / run.LOG, progress, identity["method"])
    trainer.add_callback(reporter)
    main = trainer.is_world_process_zero()
    if main and resume is None:
        trainer.save_weights()
    if main:
        (out / run.ARGUMENTS).write_text(json.dumps(trainer.args.to_dict(), indent=1, default=str))
    try:
        if resume is None or not _at_end(resume):
            with _each_row_by_its_length(trainer):
                trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    finally:
        reporter.close()
    if main:
        run.write_record(out, identity, complete=True)
        shutil.rmtree(out / run.SCRATCH, ignore_errors=True)  # sharded runs have none
    trainer.accelerator.wait_for_everyone()
    return run.TrainingRun.load(out)


@contextmanager
def _each_row_by_its_length(trainer: Any) -> Iterator[None]:
    """Rows of a batch are padded to the longest; none of a trainer's models turns them by that length."""
    from headscope.models.rotary import positions_from_mask

    with ExitStack() as stack:
        for name in ("model", "teacher_model", "ref_model"):
            if (model := getattr(trainer, name, None)) is not None:
                stack.enter_context(positions_from_mask(trainer.accelerator.unwrap_model(model)))
        yield


def _at_end(resume: Path) -> bool:
    """Killed between the last save and the mark of completion: Trainer would train one step too many."""
    state = json.loads((resume / "trainer_state.json").read_text())
    return bool(state["global_step"] >= state["max_steps"])


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the bars and messages of transformers, datasets and TRL; errors still show."""
    import datasets
    from transformers.utils import logging as messages

    trl = logging.getLogger("trl")
    levels, bars = (
        (messages.get_verbosity(), trl.level),
        (messages.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()),
    )
    messages.set_verbosity_error()
    trl.setLevel(logging.ERROR)
    messages.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        messages.set_verbosity(levels[0])
        trl.setLevel(levels[1])
        if bars[0]:
            messages.enable_progress_bar()
        if not bars[1]:
            datasets.enable_progress_bars()


def as_dataset(rows: Any, columns: Sequence[str]) -> Any:
    """A ``datasets.Dataset`` from itself or from a list of dictionaries.

    Raises InputError where it is empty, a row lacks one of ``columns``, or the prompts are no messages: TRL would train
    on plain text, and the model is asked through its chat template.
    """
    from datasets import Dataset

    dataset = rows if isinstance(rows, Dataset) else None
    if len(rows) == 0:
        raise InputError("the training data is empty; at least one row is needed")
    names = [dataset.column_names] if dataset is not None else (list(row) for row in rows)
    for at, found in enumerate(names):
        missing = [column for column in columns if column not in found]
        if missing:
            raise InputError(f"row {at} of the training data has no {missing[0]!r}, only {', '.join(found)}")
    if isinstance(rows[0]["prompt"], str):
        raise InputError(
            f"the prompts of the training data are plain text, the first is {rows[0]['prompt'][:60]!r}; give messages, "
            "[{'role': 'user', 'content': …}], which the chat template renders as it does when the model is asked"
        )
    return Dataset.from_list(list(rows)) if dataset is None else dataset
