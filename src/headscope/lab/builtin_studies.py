"""The study files that come along, by name; light, because the shell's completion asks for them."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "data" / "studies"


def builtin_studies() -> list[str]:
    """Return the names that ``headscope run`` takes instead of a file."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def builtin_study(name: str) -> Path:
    """Return the file of a built-in study."""
    return _FOLDER / f"{name}.yaml"
