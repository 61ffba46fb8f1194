"""Checkpoints: sorted by step, whole, without pickles, of one shape."""

import json
import struct
from pathlib import Path

import pytest

from headscope.errors import InputError
from headscope.model_folder import check_compatible
from headscope.training import list_checkpoints


def _safetensors(path: Path, *, missing: int = 0) -> None:
    """One float32 tensor of 4 numbers, ``missing`` bytes short."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16 - missing))


def _checkpoint(folder: Path, *, weights: str = "model.safetensors", missing: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    _safetensors(folder / weights, missing=missing)
    return folder


def test_steps_are_sorted_as_numbers(tmp_path: Path) -> None:
    for step in (100, 0, 20):
        _checkpoint(tmp_path / f"checkpoint-{step}")
    (tmp_path / ".checkpoint-30.tmp").mkdir()
    (tmp_path / "runs").mkdir()
    expected = [(0, "checkpoint-0"), (20, "checkpoint-20"), (100, "checkpoint-100")]
    for pattern in (tmp_path, str(tmp_path), f"{tmp_path}/checkpoint-*"):
        assert [(point.step, point.path.name) for point in list_checkpoints(pattern)] == expected


def test_one_checkpoint_is_a_list_of_one(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "global_step40")
    assert [(point.step, point.path) for point in list_checkpoints(folder)] == [(40, folder)]


def test_pickles_are_refused_with_the_command(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "checkpoint-5", weights="pytorch_model.bin")
    with pytest.raises(InputError, match=r"has only pytorch_model.bin.*python -c .*save_pretrained") as caught:
        list_checkpoints(tmp_path)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("missing", [1, 16])
def test_cut_weights_are_half_written(tmp_path: Path, missing: int) -> None:
    _checkpoint(tmp_path / "checkpoint-5", missing=missing)
    with pytest.raises(InputError, match=r"half-written: model.safetensors"):
        list_checkpoints(tmp_path)


def test_missing_shard_is_half_written(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "checkpoint-5", weights="model-1-of-2.safetensors")
    shards = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(InputError, match=r"half-written: model-2-of-2.safetensors"):
        list_checkpoints(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no checkpoint"):
        list_checkpoints(tmp_path / "nowhere" / "checkpoint-*")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("num_hidden_layers", 3, "post has 3 layers and base has 2"),
        ("num_attention_heads", 8, "post has 8 heads and base has 4"),
    ],
)
def test_other_shapes_are_refused(key: str, value: int, sentence: str) -> None:
    base = {"num_hidden_layers": 2, "num_attention_heads": 4}
    check_compatible(base, {"text_config": base})
    with pytest.raises(InputError, match=sentence):
        check_compatible(base, {**base, key: value}, variant_name="post")
