"""Run directories that cannot be written or read: exit code 2, one sentence, left as they are."""

import subprocess
import sys

import pytest
from tests.studies.bench import STUDY, Bench

from headscope.cli.main import main
from headscope.runs import writer_lock


def test_an_out_that_cannot_be_written(bench: Bench) -> None:
    for out in (bench.study, bench.study / "below"):
        said = bench.refused("eval", out=out)
        assert f"run directory {out} cannot be written" in said
        assert "--out" in said
    assert bench.study.read_text() == STUDY.format(base=bench.base)


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        ('{"schema_version": 99}', "study.lock.json has schema_version 99, this headscope reads up to 1"),
        ("{", "study.lock.json is not whole JSON"),
        ("[]", "study.lock.json holds a list; a JSON object is needed"),
        ("{}", "study.lock.json has schema_version None"),
        ('{"schema_version": true}', "study.lock.json has schema_version True"),
        ('{"schema_version": 0}', "study.lock.json has schema_version 0"),
        ('{"schema_version": "1"}', "study.lock.json has schema_version '1'"),
    ],
)
@pytest.mark.parametrize("verb", ["eval", "plan", "status", "report"])
def test_a_directory_this_version_cannot_read_is_left_as_it_is(bench: Bench, lock: str, words: str, verb: str) -> None:
    bench.out.mkdir()
    (bench.out / "study.lock.json").write_text(lock)
    if verb in ("status", "report"):
        assert main([verb, str(bench.out)]) == 2
        said = bench.capture.readouterr().err
    else:
        said = bench.refused(verb)
    assert words in said
    assert said.count("\n") <= 1
    assert [path.name for path in bench.out.iterdir()] == ["study.lock.json"]
    assert (bench.out / "study.lock.json").read_text() == lock


def test_two_runs_in_one_directory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_lock, "PATIENCE", 0.5)
    hold = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'a+'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "import os; file.write(str(os.getpid())); file.flush(); print('held', flush=True); sys.stdin.read()"
    )
    bench.out.mkdir()
    command = [sys.executable, "-c", hold, str(bench.out / ".writer")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said = bench.refused("eval", "variants=[]")
        other.kill()
    assert f"is in use by process {other.pid}; wait for it or name another with --out" in said
    assert [path.name for path in bench.out.iterdir()] == [".writer"]
    assert bench.call("eval", "variants=[]")[0] == 0


def test_another_study_does_not_take_a_run_directory_over(bench: Bench) -> None:
    assert bench.call("eval", "variants=[]")[0] == 0
    lock = (bench.out / "study.lock.json").read_bytes()
    for verb in ("plan", "eval", "eval --retry"):
        said = bench.refused(verb, "variants=[]", "name=other")
        assert "is that of study bad, and this study is other" in said
        assert said.endswith("name another with --out, or go on with --set name=bad")
    assert (bench.out / "study.lock.json").read_bytes() == lock
    assert bench.call("eval", "variants=[]", "name=other", "name=bad")[0] == 0
