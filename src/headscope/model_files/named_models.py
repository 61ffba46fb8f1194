"""Models that have a name: the lab's, which are shipped, and SmolLM2-135M, which anyone can install."""

from importlib import resources
from pathlib import Path

from headscope.errors import InputError, suggestion
from headscope.model_files import smollm2

LAB_FOLDERS = {"lab-m": "base-m", "lab-s": "base-s", "lab-s-plain": "base-s-plain"}
NAMES = (*LAB_FOLDERS, smollm2.NAME)


def named_model(name: str) -> str | None:
    """Return the folder or hub id behind a name; None if ``name`` is not the name of a model.

    Raises InputError for a name of the lab that does not exist, and for a model that is neither on the hub nor
    installed.
    """
    if name == smollm2.NAME:
        return smollm2.model_source()
    if not name.startswith("lab-"):
        return None
    if name not in LAB_FOLDERS:
        raise InputError(f"built-in model {name!r} does not exist{suggestion(name, NAMES)}")
    return str(_lab_folder(name))


def model_title(path_or_id: str | Path) -> str:
    """Return what a model is called in results and on pages: its name if it has one, else its path or hub id."""
    path = Path(path_or_id)
    for name in LAB_FOLDERS:
        if path == _lab_folder(name):
            return name
    if path.name.startswith(f"{smollm2.NAME}-q4_1-"):
        return smollm2.DEQUANTISED
    return str(path_or_id)


def _lab_folder(name: str) -> Path:
    return Path(str(resources.files("headscope.lab") / "data" / LAB_FOLDERS[name]))
