"""Train from a config to a finished run: the part that all methods share.

A method checks its rows, says what tells its run from others, and hands ``train`` a function that builds its trainer:

1. ``_prepare`` records the run and clears what a killed process left past its last whole state.
2. The method's function loads the base model (``load_base``) and builds the trainer with TRL's settings
   (``trl_settings.trl_arguments``), those it derives from the device included.
3. ``_train_to_end`` saves step 0, trains or resumes, marks the run complete and deletes the scratch folder.
4. If memory runs out, 1 to 3 again from the last whole state, with at most half the sequences per forward pass and as
   many per step.
"""

import gc
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headscope.errors import InputError, OutOfMemoryError, is_out_of_memory
from headscope.model_files.chat_templates import stop_tokens
from headscope.progress import Progress
from headscope.storage import TRAINING_LOG, replacing
from headscope.training import processes
from headscope.training.log import truncate_log
from headscope.training.optimisation import Optimisation
from headscope.training.run_record import (
    ARGUMENTS,
    RENDERED,
    SCRATCH,
    Identity,
    TrainingRun,
    check_same,
    read_record,
    write_record,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from headscope.models import Subject
    from headscope.training.durable_trainer import DurableTrainer

AnyConfig = TypeVar("AnyConfig", bound=Optimisation)


def train(
    out: Path,
    identity: Identity,
    config: AnyConfig,
    build_trainer: Callable[[AnyConfig], "DurableTrainer"],
    progress: Progress,
) -> TrainingRun:
    """Return the run in ``out``, after training whatever of it is missing.

    build_trainer: of the config, or of one that differs in ``micro_batch`` alone after memory ran out.

    Raises InputError if ``out`` holds another run, and if training diverges; OutOfMemoryError if memory does not hold
    one sequence at a time.
    """
    if is_complete(out, identity):
        return TrainingRun.load(out)
    while True:
        resume = _prepare(out, identity)
        trainer = build_trainer(config)
        trainer.optimizer_name = config.optimizer
        try:
            return _train_to_end(trainer, resume, progress, identity)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            config = config.model_copy(update={"micro_batch": _smaller_micro_batch(trainer, error)})
        # Past the handler: the error's traceback no longer holds what the failed step had made.
        del trainer
        _free_memory()


def _smaller_micro_batch(trainer: "DurableTrainer", error: BaseException) -> int:
    """Return the largest number of sequences per forward pass, at most half of the trainer's, that divides a process'
    share of a step.

    Raises OutOfMemoryError if the trainer already takes one at a time, or if other processes train with this one and
    would have to change with it.
    """
    micro = trainer.args.per_device_train_batch_size
    share = micro * trainer.args.gradient_accumulation_steps
    if micro == 1:
        raise OutOfMemoryError(
            "training ran out of memory with one sequence at a time; shorten the sequences, set "
            "gradient_checkpointing: true or lora_rank, or take a device with more memory"
        ) from error
    smaller = halve_micro_batch(micro, share)
    if processes.count() > 1:
        raise OutOfMemoryError(
            f"training ran out of memory with {micro} sequences at a time in each of {processes.count()} processes; "
            f"set micro_batch: {smaller}"
        ) from error
    return smaller


def halve_micro_batch(micro: int, share: int) -> int:
    """Return the largest divisor of ``share`` that is at most half of ``micro``."""
    return max(size for size in range(1, micro // 2 + 1) if share % size == 0)


def _free_memory() -> None:
    """Give back what a trainer that is no longer needed held."""
    import torch

    gc.collect()  # trainers, their callbacks and optimisers refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_complete(out: Path, identity: Identity) -> bool:
    """Return whether ``out`` already holds this run, complete. Raises InputError if it holds another."""
    record = read_record(out)
    if record is None or not record["complete"]:
        return False
    check_same(out, record, identity)
    shutil.rmtree(out / SCRATCH, ignore_errors=True)  # a kill in the middle of deleting it leaves a part
    return True


def _prepare(out: Path, identity: Identity) -> Path | None:
    """Return the folder to resume from, or None to start. Raises InputError if ``out`` holds another run.

    Whatever is newer than that folder, or half-written, is deleted: it is made again from the same random state. The
    first process does so, and the others read what it left.
    """
    if processes.is_first():
        _discard_unsaved(out, identity)
    processes.wait()
    states = _states(out)
    return states[max(states)] if states else None


def _discard_unsaved(out: Path, identity: Identity) -> None:
    """Record the run and delete what is newer than its last whole state."""
    out.mkdir(parents=True, exist_ok=True)
    record = read_record(out)
    if record is not None:
        check_same(out, record, identity)
    write_record(out, identity, complete=False)
    states = _states(out)
    newest = max(states, default=-1)
    if states:
        # Imported here: it needs torch, and a finished run is recognised without.
        from headscope.training.resume_state import check_digests

        check_digests(states[newest], out)
    # ``storage.replacing_folder`` writes into a ``.tmp`` next to the folder's final name.
    for folder in [*out.glob("checkpoint-*"), *out.glob(".checkpoint-*.tmp")]:
        if folder.suffix == ".tmp" or _step(folder) > newest:
            shutil.rmtree(folder)
    truncate_log(out / TRAINING_LOG, newest)


def _states(out: Path) -> dict[int, Path]:
    """Return the folders a run can be resumed from, by step."""
    return {_step(folder): folder for folder in (out / SCRATCH).glob("step-*")}


def _step(folder: Path) -> int:
    return int(folder.name.rsplit("-", 1)[1])


def load_base(model: str | Path, tokenizer: "PreTrainedTokenizerBase | None" = None) -> "Subject":
    """Load the base model with float32 weights, and a tokenizer that can render chats: ``tokenizer``, or its own.

    Its generation config names every stop token, so that TRL and whoever loads a checkpoint stop at the end of a turn.
    Raises InputError as ``load_model`` does, and if there is no tokenizer or no chat template.
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
    # Saved with every checkpoint.
    generation.eos_token_id = list(stop_tokens(subject.tokenizer, generation))
    return subject


def write_rendered(out: Path, text: str) -> None:
    """Write down what is trained on, next to the settings."""
    if processes.is_first():
        with replacing(out / RENDERED) as partial:
            partial.write_text(text, encoding="utf-8")


def _train_to_end(
    trainer: "DurableTrainer", resume: Path | None, progress: Progress, identity: Identity
) -> TrainingRun:
    """Train to the end and return the finished run."""
    from transformers.trainer_callback import PrinterCallback

    from headscope.models.threads import operation_threads
    from headscope.training.reporter import Reporter

    out = Path(trainer.args.output_dir)
    trainer.remove_callback(PrinterCallback)  # Trainer adds it when progress bars are off, and it prints
    reporter = Reporter(out / TRAINING_LOG, progress, identity["method"])
    trainer.add_callback(reporter)
    writes = trainer.is_world_process_zero()
    if writes and resume is None:
        trainer.save_weights()
    if writes:
        with replacing(out / ARGUMENTS) as partial:
            partial.write_text(json.dumps(trainer.args.to_dict(), indent=1, default=str))
    try:
        if resume is None or not _is_at_end(resume):
            with _rows_padded(trainer), operation_threads(_unwrapped(trainer, trainer.model)):
                trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    finally:
        reporter.close()
    if writes:
        write_record(out, identity, complete=True)
        shutil.rmtree(out / SCRATCH, ignore_errors=True)  # sharded runs have none
    trainer.accelerator.wait_for_everyone()
    return TrainingRun.load(out)


@contextmanager
def _rows_padded(trainer: "DurableTrainer") -> Iterator[None]:
    """Let all models of a trainer turn every row by its own length, not by that of the row it is padded to."""
    from headscope.models.rotary import positions_from_mask

    with ExitStack() as stack:
        for name in ("model", "teacher_model", "ref_model"):  # SFT has neither teacher nor reference
            if (model := getattr(trainer, name, None)) is not None:
                stack.enter_context(positions_from_mask(_unwrapped(trainer, model)))
        yield


def _unwrapped(trainer: "DurableTrainer", model: Any) -> "PreTrainedModel":
    """Return the Hugging Face model inside what accelerate and PEFT put around it."""
    from headscope.models.wrappers import inside_wrappers

    plain: PreTrainedModel = inside_wrappers(trainer.accelerator.unwrap_model(model))
    return plain


def _is_at_end(resume: Path) -> bool:
    """Return whether the run was killed between its last save and the mark of completion.

    Trainer would train one step too many.
    """
    state = json.loads((resume / "trainer_state.json").read_text())
    return bool(state["global_step"] >= state["max_steps"])


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the bars and messages of transformers, datasets and TRL; errors still show."""
    import datasets
    from transformers.utils import logging as messages

    trl = logging.getLogger("trl")
    transformers_level = messages.get_verbosity()
    trl_level = trl.level
    transformers_bars = messages.is_progress_bar_enabled()
    datasets_bars = not datasets.are_progress_bars_disabled()
    messages.set_verbosity_error()
    trl.setLevel(logging.ERROR)
    messages.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        messages.set_verbosity(transformers_level)
        trl.setLevel(trl_level)
        if transformers_bars:
            messages.enable_progress_bar()
        if datasets_bars:
            datasets.enable_progress_bars()
