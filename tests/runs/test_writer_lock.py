"""The lock of whoever writes a run directory's study and plan."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headscope.errors import InputError
from headscope.runs import RunDirectory, writer_lock
from headscope.runs.writer_lock import exclusive


def test_two_writers_at_once_are_refused_and_a_killed_one_frees_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_lock, "PATIENCE", 0.5)
    hold = (
        "import sys; from pathlib import Path; from headscope.runs import RunDirectory, writer_lock\n"
        "with writer_lock.exclusive(RunDirectory(Path(sys.argv[1]))):\n print('held', flush=True); sys.stdin.read()"
    )
    run = RunDirectory(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"in use by process {other.pid}"), exclusive(run):
            pass
        other.kill()
    with exclusive(run):
        assert (tmp_path / ".writer").read_text() == str(os.getpid())


def test_many_jobs_that_start_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_lock, "PATIENCE", 0.6)
    take_turns = (
        "import sys, time; from pathlib import Path; from headscope.runs import RunDirectory, writer_lock\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "with writer_lock.exclusive(RunDirectory(Path(sys.argv[1]))):\n time.sleep(0.4)"
    )
    command = [sys.executable, "-c", take_turns, str(tmp_path)]
    jobs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for job in jobs:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
    for job in jobs:
        assert job.stdin is not None
        job.stdin.write("\n")
        job.stdin.flush()
    time.sleep(0.1)
    start = time.monotonic()
    with exclusive(RunDirectory(tmp_path)):
        waited = time.monotonic() - start
    for job in jobs:
        job.communicate()
        assert job.returncode == 0
    assert waited < 3 * 0.4 + 1.0
