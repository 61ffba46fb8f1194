"""Find the models, tokenizers and chat templates that a study names, and tell whether they have changed since."""

from pathlib import Path

from headscope.errors import InputError
from headscope.model_files import hub, named_models
from headscope.model_files.folder import adapter_base
from headscope.runs.digests import folder_digest


def model_path(model: str) -> str:
    """Return a model's folder or hub id; a built-in name becomes its folder.

    Raises InputError for a path that does not exist.
    """
    builtin = named_models.named_model(model)
    if builtin is not None:
        return builtin
    # A hub id has one slash at most: two are a path.
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    path = Path(model).expanduser()
    if looks_local and not path.is_dir():
        raise InputError(f"model folder {model} does not exist")
    return str(path) if path.is_dir() else model


def template_path(source: str) -> str:
    """Return where the chat template a study names lies: a file, a folder, a shipped name or a hub id."""
    return named_models.named_model(source) or source


def local_files(model: str, revision: str | None) -> Path | None:
    """Return the folder on this machine that holds a model's own files; None for a hub model not yet fetched."""
    return Path(model) if Path(model).is_dir() else hub.cached_snapshot(model, revision)


def has_tokenizer(folder: Path) -> bool:
    """Return whether a model's folder holds a tokenizer of its own."""
    return any(file for name in ("tokenizer*", "vocab.json") for file in folder.glob(name))


def content_key(folder: str, revision: str | None) -> str:
    """Return what tells two models or tokenizers apart: a folder's digest (an adapter's with its base's), or a hub id
    with its revision."""
    if Path(folder).is_dir():
        key = folder_digest(Path(folder))
        base = adapter_base(folder)
    else:
        key = f"{folder}@{revision or 'main'}"
        snapshot = hub.cached_snapshot(folder, revision)
        base = None if snapshot is None else adapter_base(snapshot)
    return key if base is None else f"{key} on {content_key(base, None)}"


def check_unchanged(kind: str, folder: str, revision: str | None, key: str) -> None:
    """Raise InputError unless ``content_key`` of a folder on this machine still is ``key``.

    A hub id with its revision is not looked at again. A process reads files that do not change once.

    kind: what the folder holds, for the message.
    """
    if _is_hub_key(key):
        return
    try:
        is_changed = content_key(folder, revision) != key
    except FileNotFoundError:  # replaced while they were read
        is_changed = True
    if is_changed:
        raise changed_error(kind, folder)


def changed_error(kind: str, name: str) -> InputError:
    """Return the error that says that a file or folder is no longer what the study was planned with."""
    return InputError(f"{kind} {name} changed after the study was planned; run it again")


def _is_hub_key(key: str) -> bool:
    return "@" in key.split(" on ")[0]
