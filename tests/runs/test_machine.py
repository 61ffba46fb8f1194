"""Which processes are certainly dead, whatever the system lets this one see."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headscope.runs import machine
from headscope.runs.machine import has_ended, process_start

NOBODY = 2**22 + 1


def test_a_process_that_ended_or_gave_its_number_away_has_ended() -> None:
    assert not has_ended(os.getpid(), process_start(os.getpid()))
    assert has_ended(os.getpid(), "1")
    assert has_ended(NOBODY, "1")


def test_a_killed_process_whose_parent_has_not_asked_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = process_start(child.pid)
    assert not has_ended(child.pid, born)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(child.pid, born)
    child.communicate()


def refuse(process: int, number: int) -> None:
    raise PermissionError


def test_a_process_that_cannot_be_seen_is_not_therefore_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_stat", lambda process: [])  # as with hidepid=2
    assert has_ended(NOBODY, "1")
    assert not has_ended(os.getpid(), "1")
    monkeypatch.setattr(os, "kill", refuse)  # another user's
    assert not has_ended(1, "1")


def test_ps_is_asked_in_one_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ps = tmp_path / "ps"
    ps.write_text('#!/bin/sh\necho "in $LC_ALL: $@"\n')
    ps.chmod(0o755)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert process_start(7) == "in C: -o lstart= -p 7"
