"""Folders of LoRA adapters: their base is found and fits, everything else is refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from headscope.errors import InputError
from headscope.model_files import hub
from headscope.model_files.folder import adapter_base, check_weights, whole_model_folder
from headscope.model_files.named_models import named_model
from headscope.models import load_model

peft = pytest.importorskip("peft")


@pytest.fixture(params=["qwen3", "gpt2"])
def folders(request: pytest.FixtureRequest, tiny_model: Any, tmp_path: Path) -> tuple[Path, Path]:
    """Folders of a base and of an adapter of it, as peft saves it; GPT-2's weights are transposed."""
    model = tiny_model(request.param)
    model.save_pretrained(tmp_path / "base")
    model.config.name_or_path = str(tmp_path / "base")
    modules = ["c_attn", "c_proj"] if request.param == "gpt2" else ["q_proj", "down_proj"]
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=modules, task_type="CAUSAL_LM"))
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "base", tmp_path / "adapter"


def rewrite(adapter: Path, **changes: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_adapter_of_a_base_that_is_there_passes(folders: tuple[Path, Path]) -> None:
    base, adapter = folders
    check_weights(adapter)
    assert adapter_base(adapter) == str(base)
    assert adapter_base(base) is None
    assert whole_model_folder(adapter) == whole_model_folder(base) == base


def test_a_base_may_have_a_name_that_headscope_lists(tmp_path: Path) -> None:
    model = load_model("lab-s").model
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    ).eval()
    adapted.peft_config["default"].base_model_name_or_path = "lab-s"
    adapted.save_pretrained(tmp_path)
    check_weights(tmp_path)
    assert whole_model_folder(tmp_path) == Path(str(named_model("lab-s")))
    ids = torch.arange(3, 15)[None]
    assert torch.allclose(load_model(tmp_path).model(ids).logits, adapted(ids).logits, atol=1e-4)
    rewrite(tmp_path, base_model_name_or_path="lab-z")
    with pytest.raises(InputError, match="built-in model 'lab-z' does not exist"):
        check_weights(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "IA3"}, "of type IA3, and only LoRA is read; call merge_and_unload"),
        ({"base_model_name_or_path": None}, "adapter_config.json names no base model"),
        (
            {"base_model_name_or_path": "nobody/nothing"},
            "the base model nobody/nothing of adapter .* is neither a folder",
        ),
    ],
)
def test_what_is_no_lora_of_a_known_base_is_refused(
    folders: tuple[Path, Path], changes: dict[str, Any], words: str
) -> None:
    rewrite(folders[1], **changes)
    with pytest.raises(InputError, match=words):
        check_weights(folders[1])


def test_a_base_that_can_be_fetched_passes(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(folders[1], base_model_name_or_path="nobody/nothing")
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    check_weights(folders[1])
    assert whole_model_folder(folders[1]) is None


@pytest.mark.parametrize("shape", [(2, 33), (3, 2)])
def test_another_width_than_the_bases_is_refused(folders: tuple[Path, Path], shape: tuple[int, int]) -> None:
    path = folders[1] / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if ".lora_A." in name and "down_proj" not in name)
    tensors[name] = torch.zeros(shape)
    save_file(tensors, path)
    with pytest.raises(
        InputError, match=r"does not fit its base .*lora_A.weight is \[.*correct base_model_name_or_path"
    ):
        check_weights(folders[1])


def test_a_layer_the_base_has_not_is_refused(folders: tuple[Path, Path]) -> None:
    path = folders[1] / "adapter_model.safetensors"
    tensors = load_file(path)
    first = next(name for name in tensors if ".1." in name)
    save_file(tensors | {first.replace(".1.", ".5."): tensors[first].clone()}, path)
    with pytest.raises(InputError, match=r"\.5\..* is there and the base has 2 layers"):
        check_weights(folders[1])


def test_a_cut_or_pickled_adapter_is_refused(folders: tuple[Path, Path]) -> None:
    path = folders[1] / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"half-written: adapter_model\.safetensors"):
        check_weights(folders[1])
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(InputError, match=r"has no adapter_model\.safetensors; save it again"):
        check_weights(folders[1])
