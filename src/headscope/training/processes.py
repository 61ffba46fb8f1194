"""The processes of one training, as ``accelerate launch`` and ``torchrun`` start them. No torch until they wait."""

import os


def count() -> int:
    """How many train together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this is the first process, the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def wait() -> None:
    """Until every process is here. Returns at once where there is only one."""
    if count() == 1:
        return
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()
