import socket
from collections.abc import Iterator
from typing import Any

import datasets
import pytest

from headscope import hub


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """The answer is kept for the process; not for the next test."""
    hub.reachable.cache_clear()
    yield
    hub.reachable.cache_clear()


def _no_address(*_: Any) -> Any:
    raise socket.gaierror("Name or service not known")


def test_without_an_address_only_local_files_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", _no_address)
    seen: list[bool] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: seen.append(datasets.config.HF_HUB_OFFLINE))
    before = datasets.config.HF_HUB_OFFLINE
    assert not hub.reachable()
    hub.load_dataset("some/set", split="train")
    assert seen == [True]
    assert before == datasets.config.HF_HUB_OFFLINE


def test_behind_a_proxy_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "proxy:3128"})
    monkeypatch.setattr(socket, "getaddrinfo", _no_address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert hub.reachable()
