"""A result's two files: what is written, and what is refused with which sentence."""

import json
import os
import random
import subprocess
import sys
import time
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


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.save(tmp_path, "thing", 3, {"x": np.zeros(2)}, {"note": 0})

    def full(_arrays: object, path: Path, **_options: object) -> None:
        path.write_bytes(b"half of")
        raise OSError("No space left on device")

    monkeypatch.setattr(storage, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        storage.save(tmp_path, "thing", 3, {"x": np.ones(2)}, {"note": 1})
    about, arrays = load(tmp_path)
    assert (about["note"], arrays["x"].tolist()) == (0, [0, 0])
    assert {path.name for path in tmp_path.iterdir()} == {"thing.json", "thing.safetensors"}


def test_a_folder_that_cannot_be_replaced_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkpoint-5"

    def replace(text: str) -> None:
        with storage.replacing_folder(folder) as partial:
            (partial / "weights").write_text(text)

    def fail(*_paths: Path) -> None:
        raise OSError("No space left on device")

    for text in ("one", "two"):
        replace(text)
        assert (folder / "weights").read_text() == text
        assert list(tmp_path.iterdir()) == [folder]
    for step in ("sync_folder", "rename_synced"):
        with monkeypatch.context() as patch:
            patch.setattr(storage, step, fail)
            with pytest.raises(OSError, match="No space left"):
                replace("three")
        assert (folder / "weights").read_text() == "two"


def test_stopped_between_the_two_files_nothing_half_new_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.save(tmp_path, "thing", 3, {"x": np.zeros(2)}, {"note": 0})
    replace = Path.replace

    def stop(self: Path, target: Path) -> Path:
        if target.suffix == ".json":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        storage.save(tmp_path, "thing", 3, {"x": np.ones(2)}, {"note": 1})
    with pytest.raises(InputError, match=r"thing\.json is missing"):
        load(tmp_path)


def test_what_is_written_is_synced_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    storage.write_json(tmp_path / "note.json", {})
    assert synced == [(tmp_path / "note.json").stat().st_ino, tmp_path.stat().st_ino]
    synced.clear()
    with storage.replacing_folder(tmp_path / "unit") as folder:
        (folder / "result.txt").touch()
    unit = tmp_path / "unit"
    assert synced == [path.stat().st_ino for path in (unit / "result.txt", unit, tmp_path)]


def test_what_a_killed_process_left_of_a_shared_file_goes_once_it_is_old(tmp_path: Path) -> None:
    names = (
        ".report[1].html.0123abcd.partial",
        ".report[1].html.89abcdef.partial",
        ".report[1].html.partial",
        ".other",
    )
    for name in names:
        (tmp_path / name).touch()
    hours_ago = time.time() - 2 * 3600
    for name in set(names) - {names[1]}:  # that one is being written
        os.utime(tmp_path / name, (hours_ago, hours_ago))
    storage.write_text(tmp_path / "report[1].html", "whole", shared=True)
    assert {path.name for path in tmp_path.iterdir()} == {"report[1].html", *names[1:]}


SAVING = """
import sys
from itertools import count
import numpy as np
from headscope import storage
for turn in count():
    storage.save(sys.argv[1], "thing", 3, {"x": np.full(200_000, turn)}, {"note": turn})
    print(turn, flush=True)
"""


def test_killed_at_any_moment_a_result_is_whole_or_does_not_load(tmp_path: Path) -> None:
    draw = random.Random(0)
    for _ in range(4):
        saving = subprocess.Popen([sys.executable, "-c", SAVING, str(tmp_path)], stdout=subprocess.PIPE)
        assert saving.stdout is not None
        saving.stdout.readline()
        time.sleep(draw.uniform(0, 0.05))
        saving.kill()
        saving.communicate()
        try:
            about, arrays = load(tmp_path)
        except InputError as error:
            assert "is missing" in str(error)  # noqa: PT017
        else:
            assert len(arrays["x"]) == 200_000
            assert set(arrays["x"].tolist()) == {about["note"]}


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
        ("thing.safetensors", None, r"thing\.safetensors is missing next to its JSON"),
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
