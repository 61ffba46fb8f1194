"""A result's two files: what is written, and what is refused with which sentence."""

import json
from pathlib import Path

import numpy as np
import pytest

from headscope import __version__, storage
from headscope.errors import InputError


def load(folder: Path) -> tuple[dict[str, object], storage.Arrays]:
    return storage.load(folder, "thing", 3, keys=("note",), arrays=("x",))


def test_what_was_saved_is_read_with_its_versions(tmp_path: Path) -> None:
    storage.save(tmp_path / "deep" / "folder", "thing", 3, {"x": np.arange(6).reshape(2, 3).T}, {"note": "é"})
    about, arrays = load(tmp_path / "deep" / "folder")
    assert about == {"schema_version": 3, "headscope": __version__, "note": "é"}
    assert arrays["x"].tolist() == [[0, 3], [1, 4], [2, 5]]  # a transposed view is written as it reads


def test_what_is_no_json_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        storage.save(tmp_path, "thing", 3, {"x": np.zeros(1)}, {"note": object()})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("thing.json", None, r"no thing at .*: thing\.json is missing"),
        ("thing.json", b"{", "not whole JSON"),
        ("thing.json", b"\xff\xfe\x00", "not whole JSON"),
        ("thing.json", b"3", "holds a int; a JSON object is needed"),
        ("thing.json", b"{}", "schema_version None; a whole number from 1 to 3"),
        ("thing.json", json.dumps({"schema_version": 4}).encode(), "schema_version 4, this headscope reads up to 3"),
        ("thing.json", json.dumps({"schema_version": 3}).encode(), "lacks note; it is damaged or not headscope's"),
        ("thing.safetensors", None, r"thing\.safetensors is missing beside its JSON"),
        ("thing.safetensors", b"", "not a whole safetensors file"),
        ("thing.safetensors", b"\x80\x02}q\x00.", "not a whole safetensors file"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    storage.save(tmp_path, "thing", 3, {"x": np.zeros(1)}, {"note": ""})
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        load(tmp_path)
