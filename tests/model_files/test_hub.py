"""Without a reachable hub, only files on this machine are looked for, and refusals are plain sentences."""

import socket
from typing import Any

import datasets
import pytest

from headscope.errors import InputError
from headscope.model_files import hub
from headscope.models import load_model


def _no_address(*_: Any) -> Any:
    raise socket.gaierror("Name or service not known")


def test_without_an_address_only_local_files_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "getproxies", lambda: {"no": "localhost"})
    monkeypatch.setattr(socket, "getaddrinfo", _no_address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    offline_flags: list[bool] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: offline_flags.append(datasets.config.HF_HUB_OFFLINE))
    assert not hub.is_reachable()
    hub.load_dataset("some/set", split="train")
    assert offline_flags == [True]
    assert not datasets.config.HF_HUB_OFFLINE


def test_a_data_set_never_loaded_before_is_refused_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    with pytest.raises(ConnectionError, match="the hub has no address here, and this was never loaded before"):
        hub.load_dataset("nobody/nothing", split="train")


def test_models_are_looked_for_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def load(_name: str, **options: Any) -> Any:
        asked.update(options)
        raise OSError("not there")

    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    monkeypatch.setattr(hub, "check_model_exists", lambda _model, _revision: None)  # as if it had been fetched
    monkeypatch.setattr("headscope.models.loading.AutoModelForCausalLM.from_pretrained", load)
    with pytest.raises(InputError, match="not there"):
        load_model("some/model")
    assert asked["local_files_only"]


def test_behind_a_proxy_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "proxy:3128"})
    monkeypatch.setattr(socket, "getaddrinfo", _no_address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert hub.is_reachable()
