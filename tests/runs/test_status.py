"""What a run directory says of itself while processes are at work in it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runs.jobs import job
from tests.runs.test_leases import SLOW, python, wait_for_tries
from tests.runs.toys import write_lock

from headscope.cli.main import main
from headscope.runs import RunDirectory
from headscope.runs.coverage import Coverage, KindCoverage, Running
from headscope.runs.presence import Worker


def test_status_says_what_is_done_where_and_how_long_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(tmp_path / "run")
    write_lock(run, [job(number, tmp_path, seconds=1.0) for number in range(9)])
    worker = python(SLOW, tmp_path, 1.0, 9)
    wait_for_tries(tmp_path, 3)
    assert main(["status", str(run.path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    (row,) = content["coverage"]
    assert (row["planned"], row["running"], row["failed"]) == (9, 1, 0)
    assert row["done"] >= 2
    assert row["done"] + row["missing"] == 8
    (running,) = content["running"]
    assert running["process"] == worker.pid
    assert running["unit"].startswith("job ")
    assert content["seconds_left"] >= 0.9 * (9 - row["done"])
    assert main(["status", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert f"is being computed by process {worker.pid} on " in said
    assert "left, by what finished units of each kind took" in said
    worker.kill()
    worker.communicate()
    assert main(["status", str(run.path), "--watch"]) == 0  # nobody is at work, so that it ends
    said = capsys.readouterr().out
    assert "is being computed by" not in said
    assert "running" not in said


def test_kinds_of_which_none_is_finished_make_the_time_left_a_bound() -> None:
    worker = Worker("w", "host", 1, "m", "0", 0.0)
    running = Running("train sft", worker, 0.0)
    train = KindCoverage("train", 4, 2, (), (), (running,), 60.0)
    coverage = Coverage((train, KindCoverage("scores", 8, 0, (), ())))
    assert (coverage.seconds_left, coverage.unmeasured) == (120.0, ("scores",))
    assert Coverage((train,)).unmeasured == ()
    assert Coverage((replace(train, done=0, seconds=None),)).seconds_left is None
