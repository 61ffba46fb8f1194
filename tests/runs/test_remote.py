"""Finished runs read from elsewhere: memory://, file:// and a web server without listings."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from tests.report.runs import RunWriter, whole_run

from headscope.cli.main import main
from headscope.errors import InputError
from headscope.report import RunResults, verb_tables
from headscope.runs import RunDirectory
from headscope.runs.coverage import coverage
from headscope.runs.failures import failure_file
from headscope.runs.records import mark_done, write_record
from headscope.runs.remote import is_url
from headscope.runs.unit_files import DONE
from headscope.runs.units import address_of
from headscope.runs.writer_lock import exclusive
from headscope.storage import write_json

URL = "memory://bucket/mine"


def seal(run: RunDirectory) -> RunDirectory:
    """Give the finished units of a run the records that units of today have, and their addresses."""
    lock = run.lock()
    for number, row in enumerate(lock["units"]):
        folder = run.path / "units" / row["kind"] / row["digest"]
        record = {"kind": row["kind"], "version": 1, "config": {"number": number}, "inputs": {}, "seconds": 1.0}
        row["digest"] = address_of(record).partition("/")[2]
        if folder.exists():
            write_record(folder, record, "*")
            mark_done(folder)
            folder.rename(folder.with_name(row["digest"]))
        elif failure_file(folder).exists():
            failure_file(folder).rename(failure_file(folder.with_name(row["digest"])))
    write_json(run.lock_file, lock)
    return RunDirectory.open(run.path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return seal(whole_run(tmp_path_factory.mktemp("here") / "mine"))


@pytest.fixture
def fetched(run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Put the run at ``URL``, and return the names of the files that are fetched from there."""
    monkeypatch.setenv("HEADSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    names: list[str] = []
    get_file = MemoryFileSystem.get_file

    def recorded(self: Any, path: str, *arguments: Any, **options: Any) -> None:
        get_file(self, path, *arguments, **options)
        names.append(path.partition("/mine/")[2])

    monkeypatch.setattr(MemoryFileSystem, "get_file", recorded)
    files = fsspec.filesystem("memory")
    files.put(f"{run.path}/", "/bucket/mine/", recursive=True)
    yield names
    files.rm("/bucket", recursive=True)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert main(arguments) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_the_report_of_a_bucket_is_that_of_the_folder(
    run: RunDirectory, fetched: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    here, _ = printed(capsys, "report", str(run.path))
    there, _ = printed(capsys, "report", URL)
    assert there == here.replace(str(run.report), "mine-report.html")
    assert (tmp_path / "mine-report.html").read_bytes() == run.report.read_bytes()
    assert len(fetched) == len(set(fetched)) > 50


def test_status_fetches_no_result_and_names_the_place(
    run: RunDirectory, fetched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    here, _ = printed(capsys, "status", str(run.path))
    there, _ = printed(capsys, "status", URL)
    assert there == here.replace(str(run.path), URL)
    assert {Path(name).name for name in fetched if not name.endswith(".failed.json")} == {"study.lock.json", DONE}
    assert json.loads(printed(capsys, "status", URL, "--json")[0])["run"] == URL


def test_frames_and_checks_are_those_of_the_folder(run: RunDirectory, fetched: list[str]) -> None:
    for kind in ("comparison", "measures", "verdict"):
        assert RunDirectory(URL).frame(kind).equals(run.frame(kind))
    assert coverage(RunDirectory(URL), check_files=True) == coverage(run, check_files=True)


def test_files_are_checked_of_a_run_that_is_not_finished(fetched: list[str]) -> None:
    place = RunDirectory(URL)
    before = coverage(place, check_files=True)
    (name,) = [row for row in place.rows() if row["kind"] == "measures"][:1]
    fsspec.filesystem("memory").rm(f"/bucket/mine/units/measures/{name['digest']}/{DONE}")
    after = coverage(RunDirectory(URL), check_files=True)
    assert (after.done, after.damages) == (before.done - 1, before.damages)


def test_what_was_fetched_is_used_until_the_unit_is_made_again(run: RunDirectory, fetched: list[str]) -> None:
    RunDirectory(URL).frame("comparison")
    fetched.clear()
    first = RunDirectory(URL).find("comparison")[0]
    assert {Path(name).name for name in fetched if name.startswith("units/comparison")} == {DONE}
    # A cut or damaged copy is no reason to call the run damaged.
    name = next(path.name for path in first.folder.iterdir() if path.name not in (DONE, "unit.json"))
    (first.folder / name).write_bytes(b"{")
    fetched.clear()
    assert RunDirectory(URL).find("comparison")[0].file(name).stat().st_size > 1
    assert f"units/comparison/{first.folder.name}/{name}" in fetched
    # Nor does a unit that is gone there stay here.
    fsspec.filesystem("memory").rm(f"/bucket/mine/units/comparison/{first.folder.name}/{DONE}")
    assert len(RunDirectory(URL).find("comparison")) == len(run.find("comparison")) - 1


def test_damage_there_is_told(run: RunDirectory, fetched: list[str]) -> None:
    folder = run.find("comparison")[0].folder
    name = next(path.name for path in folder.iterdir() if path.name not in (DONE, "unit.json"))
    fsspec.filesystem("memory").pipe(f"/bucket/mine/units/comparison/{folder.name}/{name}", b"{}")
    with pytest.raises(InputError, match=f"{name} has other bytes"):
        RunDirectory(URL).frame("comparison")


def test_a_lost_connection_is_a_sentence_and_the_next_call_goes_on(
    fetched: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = MemoryFileSystem.get_file

    def lost(self: Any, path: str, *arguments: Any, **options: Any) -> None:
        if len(fetched) > 40:
            raise RuntimeError("Connection reset\nby peer")  # of no known class, as libraries of clouds have it
        whole(self, path, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", lost)
    _, error = printed(capsys, "report", URL, code=2)
    assert error.count("\n") == 1
    assert f"{URL}/" in error
    assert "could not be read (Connection reset by peer); try again" in error
    done = {name for name in fetched if name.endswith("unit.json")}
    fetched.clear()
    monkeypatch.setattr(MemoryFileSystem, "get_file", whole)
    printed(capsys, "report", URL)
    assert not done & set(fetched)


@pytest.mark.parametrize("by_status", [True, False])
def test_a_bucket_that_may_not_be_listed_is_read(
    run: RunDirectory,
    fetched: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    by_status: bool,
) -> None:
    """Such a bucket answers 403 and not 404 to who asks for what is not there."""
    get_file = MemoryFileSystem.get_file

    class RefusedError(Exception):
        status = 403

    refusal = RefusedError if by_status else PermissionError

    def refused(self: Any, path: str, *arguments: Any, **options: Any) -> None:
        try:
            get_file(self, path, *arguments, **options)
        except FileNotFoundError:
            raise refusal("Forbidden") from None

    def not_listed(self: Any, path: str, **options: Any) -> list[str]:
        raise refusal("Access Denied")

    here, _ = printed(capsys, "status", str(run.path))
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "get_file", refused)
        patch.setattr(MemoryFileSystem, "find", not_listed)
        there, _ = printed(capsys, "status", URL)
        assert there == here.replace(str(run.path), URL)
        assert RunDirectory(URL).frame("comparison").equals(run.frame("comparison"))
        _, error = printed(capsys, "status", "memory://bucket/other", code=2)
    assert "other/study.lock.json is not there or may not be read (Forbidden)" in error
    assert "s3:GetObject" in error
    assert "s3:ListBucket" in error


def test_a_record_cannot_name_a_file_outside(fetched: list[str], tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "evil")
    writer.unit("pairs", variant="sft", pairs="main")
    folder = writer.close().find("pairs")[0].folder
    (folder / "unit.json").write_text('{"files": {"../../../../outside": "0"}}')
    with pytest.raises(InputError, match=r"names '[./]+outside', which is not below its unit"):
        RunDirectory(f"file://{tmp_path}/evil").find("pairs")


def test_units_without_digests_are_listed(fetched: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RunWriter(tmp_path / "old")
    writer.unit("pairs", variant="sft", pairs="main")
    folder = writer.close().find("pairs")[0].folder
    (folder / "pairs.json").write_text("{}")
    record = RunDirectory(f"file://{tmp_path}/old").find("pairs")[0]
    assert record.file("pairs.json").read_text() == "{}"

    def not_listed(self: Any, path: str, **options: Any) -> list[str]:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(LocalFileSystem, "find", not_listed)
    with pytest.raises(InputError, match=r"of an old version, whose files must be listed, .* \(s3:ListBucket"):
        RunDirectory(f"file://{tmp_path}/old").find("pairs")


def test_nothing_is_written_there(fetched: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["run", "lab", "--out", "s3://bucket/run"], ["recompute", "s3://bucket/run"]):
        _, error = printed(capsys, *arguments, code=2)
        assert error.startswith("headscope: s3://bucket/run is no folder of this machine, and runs are written")
    with pytest.raises(InputError, match="is no folder of this machine"), exclusive(RunDirectory(URL)):
        pass


def test_places_that_cannot_be_read_are_sentences(fetched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nowhere is not a run directory"):
        RunDirectory.open("memory://bucket/nowhere")
    with pytest.raises(InputError, match="Protocol not known: foo"):
        RunDirectory.open("foo://bucket/run")
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(InputError, match=r"reading s3:// needs the package s3fs, .* pip install s3fs"):
        RunDirectory.open("s3://bucket/run")


@pytest.mark.parametrize(
    ("path", "expected"),
    [("s3://b/x", True), (Path("s3://b/x"), True), ("C:/runs", False), ("runs/a:b", False), (Path("/a/b"), False)],
)
def test_which_paths_are_urls(path: str | Path, expected: bool) -> None:
    assert is_url(path) is expected


def test_a_web_server_without_listings_will_do(
    run: RunDirectory, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp", reason="fsspec reads http:// with aiohttp, which is not installed")

    class Unlisted(http.server.SimpleHTTPRequestHandler):
        def list_directory(self, path: Any) -> None:
            self.send_error(404)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Unlisted, directory=str(run.path.parent))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/mine"
    try:
        there = verb_tables("run", RunResults(RunDirectory.open(url)))
    finally:
        server.shutdown()
        server.server_close()
    assert [table.markdown() for table in there] == [table.markdown() for table in verb_tables("run", RunResults(run))]
