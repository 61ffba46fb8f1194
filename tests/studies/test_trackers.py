"""``report_to``: numbers of finished units reach the tracker, and change nothing else."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.report.runs import comparison, faithfulness, measures, series, verdict
from tests.runs.jobs import logged_steps
from tests.runs.toys import ToyConfig

from headscope.cli.main import main
from headscope.errors import InputError
from headscope.results.not_run import NotRun
from headscope.runs import Execution, RunDirectory, Unit, Work, execute
from headscope.runs.engines import LocalEngine
from headscope.runs.pool import Pool
from headscope.runs.presence import Presence
from headscope.runs.processes import Processes
from headscope.storage import Result
from headscope.studies import trackers
from headscope.studies.plan import plan
from headscope.studies.reading import read_study
from headscope.studies.trackers import check_tracker, open_tracker, send


class Calls:
    """Stands for a module or a run of a tracker: keeps what it is called with."""

    def __init__(self) -> None:
        self.made: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> "Calls":
            self.made.append((name, arguments, options))
            return self

        return call


def unit(result: Result, **labels: Any) -> Unit:
    def compute(config: ToyConfig, inputs: Any, progress: Any) -> Result:
        return result

    kind = "verdict" if isinstance(result, NotRun) else result.kind
    return Work(kind, ToyConfig, compute).unit(ToyConfig(a=len(labels)), labels)


def log_of(*units: Unit, path: Path) -> list[tuple[dict[str, float], int]]:
    """Return what is sent while the units are done, and after it, when they are there already."""
    sent: list[tuple[dict[str, float], int]] = []
    run = RunDirectory(path)
    tracker = SimpleNamespace(log=lambda numbers, step: sent.append((dict(numbers), step)), close=lambda: None)
    for _ in range(2):
        execute(units, run, Execution(on_done=lambda done: send(done, run, tracker)))
    return sent


def test_numbers_are_those_of_the_results_and_are_sent_once(tmp_path: Path) -> None:
    checkpoints = series(3, births=4)
    units = [
        unit(measures(0.5, is_base=True), variant="base", step=0, task="T1"),
        unit(comparison("sft", checkpoints), variant="sft"),
        unit(verdict(-0.1, "supported"), variant="sft", heads="kept", operator="zero", task="T1"),
        unit(NotRun("no heads"), variant="sft", heads="lost", operator="zero", task="T1", more=1),
    ]
    sent = log_of(*units, path=tmp_path)
    assert sent[0] == ({"measures/base/T1/pass_at_k_1": 0.5, "measures/base/T1/mean_tokens": 35.0}, 0)
    counted = [(numbers["comparison/sft/counts_new"], step) for numbers, step in sent[1:7]]
    steps = comparison("sft", checkpoints).steps
    assert counted == [(at.counts.new.value, step) for at, step in zip(checkpoints, steps, strict=True)]
    assert sent[7][0]["verdict/sft/kept/zero/T1/effect"] == -0.1
    assert len(sent) == 8


def test_a_number_of_the_whole_curve_is_sent_once(tmp_path: Path) -> None:
    curve = unit(faithfulness(0.9), variant="sft", model="sft", step=60, pairs="main")
    sent = log_of(curve, path=tmp_path)
    assert [(sorted(numbers), step) for numbers, step in sent] == [
        (["faithfulness/sft/cmd", "faithfulness/sft/cpr"], 60)
    ]


def test_a_tracker_that_cannot_be_imported_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trackio.py").write_text("import gradio_that_is_not_here")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pytest.raises(InputError, match=r"report_to is trackio, which cannot be imported: .*gradio_that_is_not_here"),
        open_tracker("trackio", "lab", RunDirectory(tmp_path / "run")),
    ):
        pass


def test_losses_of_a_training_are_sent_by_step(tmp_path: Path) -> None:
    def compute(config: ToyConfig, inputs: Any, progress: Any) -> tuple[Result, ...]:
        (inputs.scratch / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
        return ()

    training = Work("train", ToyConfig, compute).unit(ToyConfig(a=1), {"variant": "sft"})
    sent = log_of(training, path=tmp_path)
    assert sent == [({"train/sft/loss": 0.5}, 1), ({"train/sft/loss": 0.25}, 2)]


def test_losses_are_sent_while_the_training_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[dict[str, float], int]] = []
    tracker = SimpleNamespace(log=lambda numbers, step: sent.append((dict(numbers), step)), close=lambda: None)
    monkeypatch.setattr(trackers, "_Trackio", lambda study, folder: tracker)
    monkeypatch.setattr(trackers, "check_tracker", lambda name: None)
    monkeypatch.setattr(trackers, "LOG_SECONDS", 0.01)
    live: list[int] = []

    def wait_for(count: int) -> None:
        end = time.monotonic() + 30
        while len(sent) < count and time.monotonic() < end:
            time.sleep(0.01)
        live.append(len(sent))

    def compute(config: ToyConfig, inputs: Any, progress: Any) -> tuple[Result, ...]:
        log = inputs.scratch / "log.jsonl"
        log.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.2')  # the second line is being written
        wait_for(1)
        log.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
        wait_for(2)
        log.write_text('{"step": 1, "loss": 0.5}\n')  # cut, as a training that is resumed does
        time.sleep(0.05)
        log.write_text("".join(f'{{"step": {step}, "loss": {0.5 / step}}}\n' for step in (1, 2, 3)))
        return ()

    training = Work("train", ToyConfig, compute).unit(ToyConfig(a=1), {"variant": "sft"})
    run = RunDirectory(tmp_path)
    with open_tracker("trackio", "lab", run, [training]) as on_done:
        outcome = execute([training], run, Execution(on_done=on_done))
    assert (outcome.done, live) == (1, [1, 2])
    assert sent == [({"train/sft/loss": 0.5 / step}, step) for step in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["local", "processes"])
def test_of_two_commands_the_one_that_trains_sends_the_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    sent: dict[str, list[int]] = {"first": [], "second": []}

    def tracker(study: str, folder: Path) -> Any:
        return SimpleNamespace(log=lambda numbers, step: sent[study].append(step), close=lambda: None)

    monkeypatch.setattr(trackers, "_Trackio", tracker)
    monkeypatch.setattr(trackers, "check_tracker", lambda name: None)
    monkeypatch.setattr(trackers, "LOG_SECONDS", 0.01)
    run, training = RunDirectory(tmp_path / "run"), logged_steps(tmp_path)
    run.path.mkdir()
    engine = LocalEngine(run) if kind == "local" else Pool(run, Processes(1, 1))
    with (
        Presence(run.path) as other,
        engine,
        open_tracker("trackio", "second", run, [training], other),
        open_tracker("trackio", "first", run, [training], engine.presence) as on_done,
    ):
        outcome = execute([training], run, Execution(on_done=on_done, engine=engine))
    assert outcome.done == 1
    assert sent == {"first": [1, 2, 3], "second": []}


def test_a_log_that_cannot_be_read_is_said_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    tracker = SimpleNamespace(log=lambda numbers, step: sent.append(step), close=lambda: None)
    monkeypatch.setattr(trackers, "_Trackio", lambda study, folder: tracker)
    monkeypatch.setattr(trackers, "check_tracker", lambda name: None)

    def compute(config: ToyConfig, inputs: Any, progress: Any) -> tuple[Result, ...]:
        lines = ['{"step": 1, "loss": 0.5}', "{", '{"loss": 0.5}', '{"step": 2, "loss": 0.25}', ""]
        (inputs.scratch / "log.jsonl").write_text("\n".join(lines))
        return ()

    training = Work("train", ToyConfig, compute).unit(ToyConfig(a=1), {"variant": "sft"})
    unreadable = Work("train", ToyConfig, lambda *_: ()).unit(ToyConfig(a=2), {"variant": "grpo"})
    after = unit(measures(0.5, is_base=True), variant="base", step=0, task="T1")
    run = RunDirectory(tmp_path)
    (run.folder(unreadable) / "log.jsonl").mkdir(parents=True)

    def finish(on_done: Any) -> None:
        execute([training, after], run, Execution(on_done=on_done))
        on_done(unreadable)
        on_done(after)

    sentence = "trackio is not sent all of train .* losses"
    with open_tracker("trackio", "lab", run) as on_done, pytest.warns(UserWarning, match=sentence) as said:
        finish(on_done)
    assert sent == [1, 2, 0, 0]
    assert [str(warning.message).partition(" losses")[0].rpartition(" ")[2] for warning in said] == ["sft's", "grpo's"]


def test_a_tracker_that_fails_while_a_training_runs_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def refuse(numbers: Any, step: int) -> None:
        calls.append(step)
        raise ConnectionError("no network")

    monkeypatch.setattr(trackers, "_Trackio", lambda *_: SimpleNamespace(log=refuse, close=lambda: 1 / 0))
    monkeypatch.setattr(trackers, "check_tracker", lambda name: None)
    monkeypatch.setattr(trackers, "LOG_SECONDS", 0.01)

    def compute(config: ToyConfig, inputs: Any, progress: Any) -> tuple[Result, ...]:
        (inputs.scratch / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n')
        end = time.monotonic() + 30
        while not calls and time.monotonic() < end:
            time.sleep(0.01)
        return ()

    training = Work("train", ToyConfig, compute).unit(ToyConfig(a=1), {"variant": "sft"})
    run = RunDirectory(tmp_path)
    with (
        pytest.warns(UserWarning, match=r"trackio failed \(ConnectionError: no network\); the study goes on"),
        open_tracker("trackio", "lab", run, [training]) as on_done,
    ):
        outcome = execute([training], run, Execution(on_done=on_done))
    assert (outcome.done, calls) == (1, [1])


def test_trackio_and_wandb_are_called_as_they_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # trackio 0.43: init(project, name=…), log(metrics, step=…), finish(). wandb 0.31: init(project=…, name=…, dir=…)
    # returns a run with define_metric(name, step_metric=…), log(data) and finish().
    result = unit(measures(0.5, is_base=True), variant="base", step=0, task="T1")
    for name in ("trackio", "wandb"):
        calls = Calls()
        monkeypatch.setitem(sys.modules, name, calls)
        monkeypatch.setattr(trackers, "check_tracker", lambda name: None)
        run = RunDirectory(tmp_path / name)
        with open_tracker(name, "lab", run) as on_done:
            execute([result], run, Execution(on_done=on_done))
        made = {call: (arguments, options) for call, arguments, options in calls.made}
        assert made["init"][1] | {"project": "lab", "name": name} == made["init"][1]
        ((data,), _) = made["log"]
        assert data == {"measures/base/T1/pass_at_k_1": 0.5, "measures/base/T1/mean_tokens": 35.0, "step": 0}
        assert calls.made[-1][0] == "finish"


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    run = RunDirectory(tmp_path / "run")
    with open_tracker("tensorboard", "lab", run) as on_done:
        execute([unit(comparison("sft", series(3, births=4)), variant="sft")], run, Execution(on_done=on_done))
    read = events.EventAccumulator(str(run.path / "tensorboard"))
    read.Reload()
    scalars = read.Scalars("comparison/sft/counts_new")
    assert [scalar.step for scalar in scalars] == [10, 20, 30, 40, 50, 60]


def test_without_a_tracker_nothing_is_sent(tmp_path: Path) -> None:
    with open_tracker("none", "lab", RunDirectory(tmp_path)) as on_done:
        assert on_done is None


def test_one_that_is_not_installed_is_named_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    check_tracker("none")
    with pytest.raises(InputError, match=r"report_to is wandb, which is not installed: pip install wandb"):
        check_tracker("wandb")
    assert main(["validate", "lab", "--set", "report_to=trackio"]) == 2
    assert "report_to is trackio, which is not installed: pip install trackio" in capsys.readouterr().err
    assert main(["validate", "lab", "--set", "report_to=wandbb"]) == 2
    assert "it should be 'none', 'trackio', 'wandb' or 'tensorboard'" in capsys.readouterr().err


def test_addresses_do_not_know_of_it(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    plain, reported = (
        [unit.address for unit in plan(read_study("lab", settings), run)] for settings in ([], ["report_to=wandb"])
    )
    assert plain == reported
