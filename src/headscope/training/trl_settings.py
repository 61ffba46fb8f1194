"""TRL's settings that all methods share, the ones that follow from the device and the number of processes included."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.training import processes
from headscope.training.optimisation import Optimisation

CPU_MICRO_BATCH = 32
"""Sequences per forward pass on a CPU: larger ones fall out of its caches, smaller ones pay per call."""


def trl_arguments(config: Optimisation, out: Path, sequences: int) -> dict[str, Any]:
    """Return TRL's settings for ``sequences`` per step, without files, messages and telemetry of its own."""
    import torch

    # TRL switches bf16 and gradient checkpointing on by default, on a CPU too; here both follow the device.
    cuda = torch.cuda.is_available()
    micro = micro_batch(config, sequences, cuda=cuda)
    return {
        "output_dir": str(out),
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,  # -1: as many as the epochs take
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
    """Return the sequences per forward pass and process: the config's, or the largest divisor that suits the device.

    Raises InputError if the step's sequences cannot be split that way.
    """
    share, rest = divmod(sequences, processes.count())  # of one process
    if rest:
        raise InputError(f"{sequences} sequences per step cannot be split over {processes.count()} processes")
    if (smaller := processes.micro_batch()) is not None:
        return smaller
    if config.micro_batch is None:
        limit = 8 if cuda else CPU_MICRO_BATCH
        return max(size for size in range(1, min(limit, share) + 1) if share % size == 0)
    if share % config.micro_batch:
        raise InputError(
            f"micro_batch {config.micro_batch} does not divide the {share} sequences a process has per step"
        )
    return config.micro_batch


def check_vllm(vllm: bool) -> None:
    """Raise InputError if vLLM is to sample and is not installed."""
    if vllm and importlib.util.find_spec("vllm") is None:
        raise InputError("vllm: true needs vLLM, which is not installed: pip install 'headscope[vllm]'")


def vllm_sampling(vllm: bool, stops: Sequence[int]) -> dict[str, list[int]] | None:
    """Return TRL's ``generation_kwargs``: its vLLM serves the base's folder, whose files may not name every stop."""
    return {"stop_token_ids": list(stops)} if vllm else None
