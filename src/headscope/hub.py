"""Whether the Hugging Face hub can be reached at all; where it cannot, only what is on this machine is looked for."""

import socket
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies


def reachable() -> bool:
    """False where the hub's name has no address: asking it would be tried again for half a minute, in vain.

    Behind a proxy only the proxy knows, and the answer is True.
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


def serves(model: str) -> bool:
    """Tell whether a model's config can be had: the hub answers for it, or it was downloaded before."""
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(model, "config.json", local_files_only=not reachable())
    except Exception:  # refused, timed out, cut off: each has a type of its own, and each means no
        return False
    return True


def load_dataset(*what: Any, **options: Any) -> Any:
    """``datasets.load_dataset``; where the hub cannot be reached, of what was loaded before.

    Raises what it raises; ConnectionError where nothing was.
    """
    import datasets

    offline = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = offline or not reachable()  # from the environment, but read at its import alone
    try:
        return datasets.load_dataset(*what, **options)
    except ConnectionError as error:
        if offline or not datasets.config.HF_HUB_OFFLINE:
            raise
        raise ConnectionError("the hub has no address here, and this was never loaded before") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
