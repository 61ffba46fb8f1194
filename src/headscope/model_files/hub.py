"""The Hugging Face hub, if it can be reached at all; if not, only files on this machine are looked for."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from headscope.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_PATIENCE = 20
"""Seconds the hub has to say whether a model is there."""


def is_reachable() -> bool:
    """Tell whether the hub's name has an address; behind a proxy only the proxy knows, and the answer is True.

    Without an address, every request would be tried again for half a minute, in vain.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies().keys() & {"http", "https", "all"}:
        return True
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def cached_snapshot(model: str, revision: str | None = None) -> Path | None:
    """Return the folder on this machine that holds a hub model's files; None if not even its config was fetched."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for name in ("config.json", "adapter_config.json"):
        try:
            config = try_to_load_from_cache(model, name, revision=revision)
        except HFValidationError:  # not a hub id
            return None
        if isinstance(config, str):
            return Path(config).parent
    return None


def check_model_exists(model: str, revision: str | None = None) -> None:
    """Raise InputError if a model's revision is neither on this machine nor on the hub, as far as that answers."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    if cached_snapshot(model, revision) is not None:
        return
    name = f"model {model}" if revision is None else f"revision {revision} of model {model}"
    if not is_reachable():
        raise InputError(f"{name} is not on this machine, and the hub cannot be reached; fetch it with hf download")
    try:
        HfApi().model_info(model, revision=revision, timeout=_PATIENCE)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        raise InputError(f"{name} does not exist on the hub; correct its name, or log in if it is private") from None
    except (HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{name} is not on this machine, and the hub does not answer: {reason}") from None


def has_model(model: str) -> bool:
    """Tell whether a model is on this machine or on the hub, as far as that answers."""
    try:
        check_model_exists(model)
    except InputError:
        return False
    return True


def load_dataset(*names: str | None, **options: Any) -> "Dataset | DatasetDict":
    """Call ``datasets.load_dataset``; if the hub cannot be reached, a data set loaded before is read from this machine.

    Raises what it raises; ConnectionError if the data set was never loaded.
    """
    import datasets

    was_offline = datasets.config.HF_HUB_OFFLINE
    # The library reads the environment variable once, when it is imported, so that its own copy has to be set.
    datasets.config.HF_HUB_OFFLINE = was_offline or not is_reachable()
    try:
        return datasets.load_dataset(*names, **options)
    except ConnectionError as error:
        if was_offline or not datasets.config.HF_HUB_OFFLINE:
            raise
        raise ConnectionError("the hub has no address here, and this was never loaded before") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = was_offline
