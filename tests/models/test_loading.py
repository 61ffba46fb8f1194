"""Loading: what comes back, and one sentence for everything that cannot be loaded."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import MptConfig, MptForCausalLM, PreTrainedTokenizerFast

from headscope.errors import InputError
from headscope.models import as_model, load_model


@pytest.fixture
def folder(tiny_model: Any, tmp_path: Path) -> Path:
    tiny_model("qwen3").save_pretrained(tmp_path)
    return tmp_path


def test_a_folder_without_a_tokenizer_loads(folder: Path, tiny_model: Any, capfd: pytest.CaptureFixture[str]) -> None:
    subject = load_model(folder)
    assert (subject.tokenizer, subject.name, subject.revision) == (None, str(folder), None)
    assert not subject.model.training
    saved, loaded = tiny_model("qwen3").state_dict(), subject.model.state_dict()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(value, loaded[name]) for name, value in saved.items())
    assert as_model(subject) is subject.model
    assert capfd.readouterr().out == ""


def test_the_tokenizer_and_dtype_are_as_asked(folder: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    subject = load_model(str(folder), dtype="bfloat16", device="cpu")
    assert subject.tokenizer.convert_tokens_to_ids("b") == 1
    assert subject.model.dtype == torch.bfloat16


def test_pickled_weights_are_refused_with_the_conversion(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights; safetensors are needed"):
        load_model(folder)
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"only pytorch_model\.bin.*save_pretrained"):
        load_model(folder)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json is missing"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        load_model(tmp_path / "gone")
    with pytest.raises(InputError, match="dtype 'float8' is unknown"):
        load_model(tmp_path, dtype="float8")


def test_nan_weights_name_their_tensor(tiny_model: Any, tmp_path: Path) -> None:
    model = tiny_model("qwen3")
    model.model.layers[1].self_attn.o_proj.weight.data[3, 4] = float("nan")
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"1 NaN or infinite weight in model\.layers\.1\.self_attn\.o_proj\.weight"):
        load_model(tmp_path)


def test_an_architecture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    MptForCausalLM(MptConfig(vocab_size=20, d_model=16, n_layers=1, n_heads=2)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"architecture 'mpt' is unknown.*MptBlock has no module called"):
        load_model(tmp_path)


def test_only_models_are_models(tiny_model: Any) -> None:
    with pytest.raises(InputError, match="model is a str"):
        as_model("qwen")
    with pytest.raises(InputError, match="training mode"):
        as_model(tiny_model("gpt2").train())


@torch.no_grad()
def test_a_config_that_calls_differing_embeddings_tied_is_corrected(tiny_model: Any, tmp_path: Path) -> None:
    """transformers leaves them as they are in the file, but an edit that ties again would make another model."""
    model = tiny_model("llama")
    model.config.tie_word_embeddings = True
    model.save_pretrained(tmp_path / "untied")
    assert not load_model(tmp_path / "untied").model.config.tie_word_embeddings
    tiny_model("llama", tie_word_embeddings=True).save_pretrained(tmp_path / "tied")
    assert load_model(tmp_path / "tied").model.config.tie_word_embeddings


def test_weights_without_a_place_are_refused_and_not_called_ignorable(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"score.weight": torch.zeros(2, 32)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"has 1 weight without a place in Qwen3ForCausalLM, the first is score\.weight"
    ):
        load_model(folder)
    assert "ignored" not in caplog.text


def test_a_name_that_is_not_on_this_machine_is_refused_without_asking_a_hub_that_has_no_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def send(*_args: object, **_keywords: object) -> None:
        raise AssertionError("each request would be tried again for half a minute")

    monkeypatch.setattr("headscope.model_files.hub.is_reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.utils._http._http_backoff_base", send)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^model nowhere is not on this machine, and the hub cannot be reached"):
        load_model("nowhere")
