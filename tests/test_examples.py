"""The examples run as they stand, and do what the documents say of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headscope.model_files.named_models import named_model
from headscope.report import render
from headscope.runs import RunDirectory

ROOT = Path(__file__).parents[1]


def run_example(name: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_readme_shows_the_circuit_example_and_what_it_prints() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / "examples/circuit.py").read_text(encoding="utf-8").split('"""\n\n', 1)[1] in readme
    printed = run_example("circuit.py")
    whole, without = printed.splitlines()[-2:]
    assert whole in readme
    assert without in readme
    # Rounding may differ between machines; which results there are, and of what, may not.
    for line in printed.splitlines()[:-2]:
        assert line.split(";")[0] in readme


@pytest.mark.slow
def test_a_plain_trainer_with_a_tracker_leaves_a_run_that_opens(tmp_path: Path) -> None:
    printed = run_example("track_heads.py", str(tmp_path / "tracked"), "3")
    assert "'heads/new'" in printed  # among what the trainer itself prints
    run = RunDirectory.open(tmp_path / "tracked")
    assert [record.labels["step"] for record in run.find("scores", pairs="main")] == [0, 3]
    assert "L0H0" in render(run).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_skill_is_taught_and_leaves_a_tracked_run_and_its_weights(tmp_path: Path) -> None:
    printed = run_example("learn_skill.py", str(named_model("lab-s-plain")), str(tmp_path / "skill"), "1")
    assert "'heads/new_null'" in printed
    run = RunDirectory.open(tmp_path / "skill")
    assert [record.labels["step"] for record in run.find("scores", pairs="main")] == [0, 1]
    assert (tmp_path / "skill-weights" / "model.safetensors").is_file()


def test_answers_of_another_program_are_read() -> None:
    printed = run_example("read_answers.py")
    assert "2 problems × 2; 2 correct, 2 wrong" in printed
    assert "over-thinking" in printed
    assert "2 right, 2 wrong (1 calculation, 1 over-thinking)" in printed
    shown = (ROOT / "docs" / "traces.md").read_text(encoding="utf-8")
    assert (ROOT / "examples/read_answers.py").read_text(encoding="utf-8").split('"""\n\n', 1)[1] in shown
