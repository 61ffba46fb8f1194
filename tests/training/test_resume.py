"""A run killed at any moment ends, on the same call, with the bytes of a run that was never touched."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headscope.training import TrainingRun, launch

# Before which call of which function the process dies. Saves happen at steps 0, 2, 4, 6, 7.
MOMENTS = {
    "before the base is saved": [["headscope.training.durable_trainer:_require_finite", 1]],
    "in the middle of writing weights": [["headscope.storage:_sync", 10]],
    "between weights and optimiser": [["headscope.training.durable_trainer:save_optimizer", 3]],
    "before the old state is deleted": [["headscope.training.durable_trainer:shutil.rmtree", 6]],
    "between saves, an epoch later": [["headscope.training.reporter:Reporter.on_step_begin", 6]],
    "twice": [
        ["headscope.training.reporter:Reporter.on_log", 4],
        ["headscope.training.reporter:Reporter.on_log", 2],
    ],
    "after the last save": [["headscope.training.launch:write_record", 2]],
}


def _files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


# All save through the same code; what differs is the order of the data and what is sampled.
CASES = [("sft", moment) for moment in MOMENTS] + [
    (method, "between saves, an epoch later") for method in ("lora", "muon", "distill", "grpo")
]
CASES.append(("grpo", "between weights and optimiser"))
UNTOUCHED = [("sft", "never"), ("lora", "never"), ("muon", "never"), ("distill", "never"), ("grpo", "never")]
# Of each kind of moment one, and one of another method.
QUICK = [("sft", "in the middle of writing weights"), ("sft", "between weights and optimiser"), ("sft", "twice")]
QUICK += [("muon", "between saves, an epoch later"), ("muon", "never")]
QUICK += [("grpo", "between weights and optimiser"), ("sft", "never"), ("grpo", "never")]


def parametrize(cases: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """Cases, those slow that are not ``QUICK``."""
    marked = [pytest.param(*case, marks=[pytest.mark.slow] * (case not in QUICK)) for case in cases]
    return pytest.mark.parametrize(("method", "moment"), marked)


pytestmark = pytest.mark.xdist_group("resume")  # one worker makes what its tests share


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Path]:
    """Directories of the runs by ``<method> <moment>``; the untouched ones under the moment ``never``."""
    root = tmp_path_factory.mktemp("killed")
    jobs = {
        f"{method} {moment}": {"method": method, "model": str(tiny_model), "kills": MOMENTS.get(moment, [])}
        for method, moment in UNTOUCHED + CASES
        if request.config.getoption("--slow") or (method, moment) in QUICK
    }
    for name, job in jobs.items():
        job["out"] = str(root / name.replace(" ", "-"))
        job["teacher"] = str(root / "sft-never" / "checkpoint-7")  # trained before any distillation begins
    program = Path(__file__).with_name("killed_runs.py")
    source = Path(__file__).parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, str(program), json.dumps(list(jobs.values()))],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for (name, job), ends in zip(jobs.items(), json.loads(result.stdout), strict=True):
        assert ends == [signal.SIGKILL] * len(job["kills"]) + [0], (name, result.stderr)
    return {name: Path(str(job["out"])) for name, job in jobs.items()}


@parametrize(CASES)
def test_killed_run_equals_untouched_run(runs: dict[str, Path], method: str, moment: str) -> None:
    untouched, killed = (TrainingRun.load(runs[f"{method} {when}"]) for when in ("never", moment))
    assert [point.step for point in killed.checkpoints] == [0, 2, 4, 6, 7]
    for expected, actual in zip(untouched.checkpoints, killed.checkpoints, strict=True):
        assert _files(expected.path) == _files(actual.path), actual.path.name
    assert [(e.step, e.loss, e.grad_norm, e.reward) for e in killed.log] == [
        (e.step, e.loss, e.grad_norm, e.reward) for e in untouched.log
    ]


@parametrize(UNTOUCHED + CASES)
def test_finished_run_holds_no_pickle_and_no_scratch(runs: dict[str, Path], method: str, moment: str) -> None:
    files = _files(runs[f"{method} {moment}"])
    assert {Path(name).suffix for name in files} == {".json", ".jsonl", ".safetensors", ".jinja", ".txt"}
    assert not [name for name in files if ".resume" in name or ".tmp" in name]


def test_what_a_kill_left_of_the_scratch_goes_with_the_next_call(runs: dict[str, Path], tmp_path: Path) -> None:
    out = Path(shutil.copytree(runs["sft never"], tmp_path / "run"))
    (out / ".resume" / "step-7").mkdir(parents=True)
    (out / ".resume" / "step-7" / "optimizer.safetensors").touch()
    record = json.loads((out / "run.json").read_text())
    assert launch.is_complete(out, record)
    assert _files(out) == _files(runs["sft never"])


def test_training_moved_the_weights(runs: dict[str, Path]) -> None:
    for name in [name for name in runs if name.endswith(" never")]:
        run = TrainingRun.load(runs[name])
        weights = [next(point.path.glob("*.safetensors")).read_bytes() for point in run.checkpoints]
        assert len(set(weights)) == len(weights)
