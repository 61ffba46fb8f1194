"""A Trainer whose checkpoints are plain Hugging Face folders and whose runs can be killed at any moment.

At every save, in this order, each step in one rename:
1. ``out/checkpoint-<step>``: config, safetensors, tokenizer; never weights that are not finite. Weights that are
   sharded over processes (FSDP, DeepSpeed) are gathered first. Of a model with an adapter, the adapter alone.
2. ``out/.resume/step-<step>``: optimiser, schedule, random state, Trainer's own counters.
3. Older folders in ``.resume`` are deleted.
A kill between 1 and 2 leaves a checkpoint that is deleted on resume and made again, bit for bit the same. Sharded
optimisers are not written: such a run starts again from the base.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file
from transformers import SchedulerType, Trainer

from headscope.errors import InputError
from headscope.model_files.folder import ADAPTER_WEIGHTS
from headscope.models.adapters import is_peft_model
from headscope.models.muon import MuonWithAdamW
from headscope.storage import replacing_folder
from headscope.training.resume_state import (
    load_optimizer,
    random_state,
    restore_random_state,
    save_optimizer,
    write_digests,
)
from headscope.training.run_record import SCRATCH

DECAY = 0.2
"""The part of a run's steps over which ``warmup_stable_decay`` falls (Hägele et al. 2024, arXiv 2405.18392)."""


class DurableTrainer(Trainer):  # type: ignore[misc]  # transformers is Any at the border
    """Mixed in before a TRL trainer; ``train(resume_from_checkpoint=…)`` takes a folder of ``.resume``."""

    optimizer: Any  # transformers is Any at the border
    optimizer_name = "adamw"
    """``Optimisation.optimizer``; set before training."""

    def create_optimizer(self, *arguments: Any, **options: Any) -> torch.optim.Optimizer:
        """Return Trainer's AdamW, or what ``optimizer_name`` says.

        Raises InputError for Muon on sharded weights.
        """
        if self.optimizer_name == "muon" and self.optimizer is None:
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                raise InputError("optimizer muon needs whole weights, and these are sharded over processes; take adamw")
            self.optimizer = MuonWithAdamW(self.model, self.args.learning_rate, self.args.weight_decay)
        optimizer: torch.optim.Optimizer = super().create_optimizer(*arguments, **options)
        return optimizer

    def create_scheduler(self, num_training_steps: int, *arguments: Any, **options: Any) -> Any:
        """Return Trainer's schedule; it is told the length of a decay, which it has no default for."""
        if self.args.lr_scheduler_type == SchedulerType.WARMUP_STABLE_DECAY:
            decay = {"num_decay_steps": round(DECAY * num_training_steps), "decay_type": "linear"}
            self.args.lr_scheduler_kwargs = decay
        return super().create_scheduler(num_training_steps, *arguments, **options)

    def save_weights(self, weights: dict[str, torch.Tensor] | None = None) -> None:
        """Write ``checkpoint-<step>``, from ``weights`` if the model's own are sharded.

        Raises InputError if a weight is NaN or infinite.
        """
        step = self.state.global_step
        _require_finite(weights or dict(self.model.named_parameters()), step)
        with replacing_folder(Path(self.args.output_dir) / f"checkpoint-{step}") as folder:
            if is_peft_model(self.model):
                # Embeddings are not trained; left to itself, PEFT may ask the hub whether they are.
                self.model.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
                (folder / "README.md").unlink()
            else:
                self.model.save_pretrained(folder, state_dict=weights)
            self.processing_class.save_pretrained(folder)

    def _save_checkpoint(self, model: object, trial: object) -> None:
        random_states = gather_object([random_state()])  # of all processes, so before all but the first return
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        weights = self.accelerator.get_state_dict(self.model_wrapped) if sharded else None
        if not self.args.should_save:
            return
        self.save_weights(weights)
        if sharded:
            return  # every process holds a part of the optimiser, and no part alone can be resumed from
        scratch = Path(self.args.output_dir) / SCRATCH
        newest = scratch / f"step-{self.state.global_step}"
        with replacing_folder(newest) as folder:
            save_optimizer(folder, self.optimizer, self.lr_scheduler)
            (folder / "random.json").write_text(json.dumps(random_states))
            self.state.save_to_json(str(folder / "trainer_state.json"))
            write_digests(folder, Path(self.args.output_dir))
        # Only now: until the newest state is whole, the one before it is what a killed run resumes from.
        for folder in scratch.iterdir():
            if folder != newest:
                shutil.rmtree(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: object = None) -> None:
        step = Path(resume_from_checkpoint).name.removeprefix("step-")
        weights = Path(self.args.output_dir) / f"checkpoint-{step}"
        # By state dict: optimiser and TRL's wrappers hold these parameters, which must stay the same objects.
        if is_peft_model(self.model):
            from peft import set_peft_model_state_dict

            set_peft_model_state_dict(self.model, load_file(weights / ADAPTER_WEIGHTS))
            return
        trained = type(self.model).from_pretrained(weights, dtype=self.model.dtype, use_safetensors=True)
        self.model.load_state_dict(trained.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            states = json.loads((Path(checkpoint) / "random.json").read_text())
            restore_random_state(states[self.args.process_index])

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Write no model card: TRL's would lie next to the checkpoints after every save."""

    def _send_telemetry(self) -> None:
        """Send nothing: TRL reports every run to the hub, headscope uses the hub only when asked."""


def _require_finite(weights: dict[str, torch.Tensor], step: int) -> None:
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise InputError(f"training diverged: {name} holds NaN or infinity at step {step}; lower learning_rate")
