"""The settings every method shares: step size, length, checkpoints, precision."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Optimisation(BaseModel):
    """Steps with a warm-up and a schedule.

    learning_rate: of the schedule's peak.
    schedule: how it falls; under ``warmup_stable_decay`` not before the last fifth of the steps, then in a line to 0.
    epochs: passes over the data.
    max_steps: optimiser steps; if given, ``epochs`` does not count.
    warmup: a fraction of all steps below 1, a number of steps from 1 on.
    save_every: steps between checkpoints; step 0 (the base) and the last step are always saved.
    optimizer: ``adamw``, or ``muon`` for the matrices inside the blocks and AdamW for the rest.
    weight_decay: the optimiser's; under ``muon`` of the matrices alone. max_grad_norm: what gradients are clipped to.
    micro_batch: sequences per forward pass, or None to derive it from the device; it changes memory and speed, not the
        gradient. It divides the step's sequences.
    bf16: mixed precision with float32 weights; None means on a GPU that has it.
    gradient_checkpointing: recompute activations in the backward pass; None means on a GPU.
    seed: of the data's order and of sampling.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    learning_rate: float = Field(ge=0)
    epochs: float = Field(default=1.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    warmup: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine", "warmup_stable_decay"] = "linear"
    save_every: int = Field(default=100, ge=1)
    # Left out of a dump if it is the default, so that runs from before there was a choice keep their digests.
    optimizer: Literal["adamw", "muon"] = Field(default="adamw", exclude_if=lambda name: name == "adamw")
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    micro_batch: int | None = Field(default=None, ge=1)
    bf16: bool | None = None
    gradient_checkpointing: bool | None = None
    seed: int = Field(default=0, ge=0)
