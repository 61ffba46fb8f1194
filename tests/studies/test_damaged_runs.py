"""A run whose files changed on disk: the sentence names unit and file, ``--retry`` ends with the bytes of before."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runs.toys import finish_again, flip_byte, overwrite

from headscope.cli.main import main
from headscope.runs import RunDirectory
from headscope.runs.coverage import coverage
from headscope.runs.records import find_unit_damage
from headscope.runs.units import unit_name

Change = Callable[[Path, Path], None]


def flip(path: Path, other: Path) -> None:
    flip_byte(path)


def cut(path: Path, other: Path) -> None:
    overwrite(path, path.read_bytes()[:-20])


def swap(path: Path, other: Path) -> None:
    content = path.read_bytes()
    overwrite(path, other.read_bytes())
    overwrite(other, content)


@pytest.fixture
def damaged(toy_run: Path, tmp_path: Path) -> RunDirectory:
    """A copy of the finished run, to be damaged."""
    return RunDirectory.open(shutil.copytree(toy_run, tmp_path / "run"))


def file_bytes(run: RunDirectory) -> dict[str, bytes]:
    """Every result's bytes; records and logs hold times."""
    files = [path for path in run.path.glob("units/**/*") if path.is_file()]
    timed = ("unit.json", "DONE", "log.jsonl", "training_args.json", "run.json")
    return {str(path.relative_to(run.path)): path.read_bytes() for path in files if path.name not in timed}


@pytest.mark.parametrize("change", [flip, cut, swap])
def test_every_file_of_every_kind_of_unit_is_told(damaged: RunDirectory, change: Change) -> None:
    rows = damaged.rows()
    kinds = set()
    files = 0
    for row in rows:
        kind, folder = row["kind"], damaged.path / "units" / row["kind"] / row["digest"]
        if kind in kinds:
            continue
        kinds.add(kind)
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            # Swapped with the next file of another unit that has other bytes.
            others = [other for other in sorted(damaged.path.glob("units/*/*/*")) if other.is_file()]
            other = next(file for file in others if folder not in file.parents and file.name != "DONE")
            if not path.is_file() or path.read_bytes() == other.read_bytes():
                continue
            before, before_other = path.read_bytes(), other.read_bytes()
            change(path, other)
            assert path.name in find_unit_damage(folder), (kind, name)
            overwrite(path, before)
            overwrite(other, before_other)
            files += 1
        assert find_unit_damage(folder) == "", kind
    assert kinds == {row["kind"] for row in rows}
    assert files > 60
    assert coverage(damaged, check_files=True).complete


def test_status_says_damaged_and_not_done(damaged: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(damaged.path), "--check"]) == 0
    (record, *_) = damaged.find("ablated")
    flip_byte(record.folder / "samples.parquet")
    assert main(["status", str(damaged.path)]) == 0  # files are read when it is asked for
    capsys.readouterr()
    assert main(["status", str(damaged.path), "--check"]) == 1
    said = capsys.readouterr().out
    planned = sum(row["kind"] == "ablated" for row in damaged.rows())
    (row,) = [line for line in said.split("\n") if line.startswith("| ablated ")]
    assert row.split() == ["|", "ablated", *f"| {planned} | {planned - 1} | 1 | 0 | 0 |".split()]
    name = unit_name("ablated", record.labels)
    assert f"{name} is damaged: samples.parquet has other bytes than it was written with; run the study" in said


@pytest.mark.parametrize(
    ("kind", "name", "verb"),
    [("scores", "scores.safetensors", "compare"), ("samples", "samples.parquet", "eval")],
)
def test_a_reader_names_it_and_retry_does_it_again(
    damaged: RunDirectory, toy_study: Path, kind: str, name: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = file_bytes(damaged)
    record = damaged.find(kind)[0]
    flip_byte(record.folder / name)
    for reader in ("comparison", "measures"):
        for finished in damaged.find(reader):
            shutil.rmtree(finished.folder)
    command = [verb, str(toy_study), "--out", str(damaged.path)]
    capsys.readouterr()
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"failed: {unit_name(kind, record.labels)}: {name} has other bytes" in said
    assert "--retry" in said
    assert main([*command, "--retry"]) == 0
    after = file_bytes(damaged)
    assert str((record.folder / name).relative_to(damaged.path)) in after
    assert after == {file: before[file] for file in after}


@pytest.mark.parametrize("change", [flip, cut])
def test_a_damaged_checkpoint_is_trained_again(
    damaged: RunDirectory, toy_study: Path, change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    before = file_bytes(damaged)
    (record,) = damaged.find("train", variant="sft")
    change(record.folder / "checkpoint-4" / "model.safetensors", record.folder)
    changed = ["--set", "discover.pairs=6", "--out", str(damaged.path)]
    assert main(["discover", str(toy_study), *changed]) == 2
    said = capsys.readouterr().err
    assert "train sft" in said
    assert "checkpoint-4/model.safetensors has other bytes" in said
    if change is cut:
        assert main(["train", str(toy_study), "--out", str(damaged.path), "--retry"]) == 0
        assert file_bytes(damaged) == before


def test_the_report_and_the_claims_name_what_they_read(
    damaged: RunDirectory, toy_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_byte(damaged.find("comparison")[0].folder / "comparison.json")
    for command in (["report"], ["run", str(toy_study), "--out"], ["compare", str(toy_study), "--claims", "--out"]):
        capsys.readouterr()
        assert main([*command, str(damaged.path)]) == 2
        said = capsys.readouterr().err
        assert "comparison sft is damaged: comparison.json has other bytes" in said
        assert said.count("headscope: ") == 1


@pytest.mark.parametrize("line", ["{", '{"step"', "[]", '{"loss": 1}', "[" * 100_000, "\ud800"])
def test_a_log_that_is_no_log_is_one_sentence(
    damaged: RunDirectory, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = damaged.find("train", variant="sft")
    with (record.folder / "log.jsonl").open("ab") as log:
        log.write(line.encode("utf-8", "surrogatepass") + b"\n")
    finish_again(record.folder)
    assert main(["report", str(damaged.path)]) == 2
    assert "log.jsonl" in capsys.readouterr().err
