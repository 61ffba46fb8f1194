"""The processes of one training, as ``accelerate launch`` and ``torchrun`` start them. No torch until they wait."""

import os

MICRO_BATCH = "HEADSCOPE_MICRO_BATCH"
"""Environment variable of processes that train together after memory ran out: sequences per forward pass of each."""


def count() -> int:
    """Count the processes that train together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def micro_batch() -> int | None:
    """Return how many sequences each process takes per forward pass if the config no longer says it, else None."""
    smaller = os.environ.get(MICRO_BATCH)
    return None if smaller is None else int(smaller)


def is_first() -> bool:
    """Return whether this is the first process, the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def wait() -> None:
    """Wait until every process is here; return at once if there is only one."""
    if count() == 1:
        return
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()
