"""Save and load what a resumed run needs next to the weights, as safetensors and JSON instead of Trainer's pickles.

optimizer.safetensors holds Adam's moments under ``<parameter index>.<name>``; optimizer.json the groups and the
schedule; random.json the random generators of every process. JSON keeps every float exactly. files.json holds the
SHA-256 of these files and of all checkpoints so far: a run goes on from what it wrote, or not at all.
"""

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from headscope.contents import DamagedError, describe_files, find_damage
from headscope.errors import InputError
from headscope.storage import check_keys, read_object, write_json

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

_DIGESTS = "files.json"


def save_optimizer(folder: Path, optimizer: "Optimizer", scheduler: "LRScheduler") -> None:
    """Write the state of an Adam-like optimiser (per-parameter tensors) and of its schedule."""
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    for index, moments in state["state"].items():
        for name, moment in moments.items():
            tensors[f"{index}.{name}"] = moment.detach().cpu().contiguous()
    save_file(tensors, folder / "optimizer.safetensors")
    settings = {"groups": state["param_groups"], "schedule": scheduler.state_dict()}
    (folder / "optimizer.json").write_text(json.dumps(settings))


def load_optimizer(folder: Path, optimizer: "Optimizer", scheduler: "LRScheduler") -> None:
    """Load the state that ``save_optimizer`` wrote into the optimiser and its schedule."""
    per_parameter: dict[int, dict[str, torch.Tensor]] = {}
    for key, moment in load_file(folder / "optimizer.safetensors").items():
        index, name = key.split(".", 1)
        per_parameter.setdefault(int(index), {})[name] = moment
    settings = json.loads((folder / "optimizer.json").read_text())
    optimizer.load_state_dict({"state": per_parameter, "param_groups": settings["groups"]})
    scheduler.load_state_dict(settings["schedule"])


def write_digests(folder: Path, out: Path) -> None:
    """Write down the bytes of a state's files and of the checkpoints in ``out``."""
    state = describe_files(folder, folder.iterdir())
    checkpoints = describe_files(out, out.glob("checkpoint-*/**/*"))
    write_json(folder / _DIGESTS, {"state": state, "checkpoints": checkpoints})


def check_digests(folder: Path, out: Path) -> None:
    """Raise DamagedError if a file has other bytes than ``write_digests`` saw; older states wrote nothing down."""
    path = folder / _DIGESTS
    if not path.exists():
        return
    try:
        digests = read_object(path)
        check_keys(digests, ("state", "checkpoints"), path)
        problem = find_damage(folder, digests["state"]) or find_damage(out, digests["checkpoints"])
    except InputError as error:
        problem = str(error)
    if problem:
        raise DamagedError(
            f"the training in {out} cannot go on from {folder.name}: {problem}; with --retry it starts again"
        )


def random_state() -> dict[str, Any]:
    """Return the state of Python's, NumPy's and torch's generators in this process, as plain JSON values."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "torch": _hex(torch.get_rng_state()),
        "cuda": _hex(torch.cuda.get_rng_state()) if torch.cuda.is_available() else None,
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Set the generators to what ``random_state`` returned."""
    # JSON made lists of the tuples, and only tuples are taken back.
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(_bytes(state["cuda"]))


# Torch's generators have states of a few thousand bytes, tensors of dtype uint8.
def _hex(state: torch.Tensor) -> str:
    return bytes(state.tolist()).hex()


def _bytes(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)
