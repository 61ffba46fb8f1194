"""The examples run as they stand, and do what the documents say of them."""

import os
import subprocess
import sys
from pathlib import Path

from headscope.report import render
from headscope.runs import RunDirectory

ROOT = Path(__file__).parents[1]


def test_a_plain_trainer_with_a_tracker_leaves_a_run_that_opens(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples/track_heads.py"), str(tmp_path / "tracked"), "3"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'heads/new'" in done.stdout  # among what the trainer itself prints
    run = RunDirectory.open(tmp_path / "tracked")
    assert [record.labels["step"] for record in run.find("scores", pairs="main")] == [0, 3]
    assert "L0H0" in render(run).read_text(encoding="utf-8")
