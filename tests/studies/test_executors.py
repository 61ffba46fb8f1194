"""A study by several workers: the bytes of one process; another study in the same directory waits its turn."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.studies.bench import Bench

from headscope.errors import MachineError
from headscope.runs import RunDirectory, writer_lock
from headscope.runs.pool import Pool
from headscope.runs.processes import Processes
from headscope.runs.records import contents_of
from headscope.studies import run as study_runs
from headscope.studies.plan import plan
from headscope.studies.reading import read_study
from headscope.studies.run import run_study

SETTINGS = ("variants=[]", "eval.problems=4", "eval.samples=2")


@pytest.mark.parametrize("kind", ["processes", "ray"])
def test_workers_write_the_bytes_of_one_process(
    bench: Bench, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "ray":
        monkeypatch.setenv("RAY_ADDRESS", request.getfixturevalue("ray_address"))
    assert bench.call("eval", *SETTINGS)[0] == 0
    local = _results(bench)
    pool = bench.out.with_name("pool")
    assert bench.call("eval", *SETTINGS, f"executor={{kind: {kind}, workers: 2}}", out=pool)[0] == 0
    assert _results(bench, pool) == local
    assert "executor" not in RunDirectory(pool).lock()["study"]
    records = {path: path.read_bytes() for path in pool.glob("units/*/*/unit.json")}
    assert bench.call("eval", *SETTINGS, "executor=local", out=pool)[0] == 0  # what computes makes no other study
    assert {path: path.read_bytes() for path in pool.glob("units/*/*/unit.json")} == records


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", "ray"])
def test_every_unit_of_a_study_has_the_bytes_of_one_process(
    toy_study: Path,
    toy_run: Path,
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trainings, answers, circuits, comparisons, ablations: what their readers depend on (``records.contents_of``)."""
    if kind == "ray":
        monkeypatch.setenv("RAY_ADDRESS", request.getfixturevalue("ray_address"))
    study = read_study(str(toy_study), [f"executor={{kind: {kind}, workers: 2}}"])
    run, outcome = run_study(study, tmp_path / "run")
    assert outcome.failed == {}
    units = plan(study, RunDirectory(toy_run))
    assert {unit.kind for unit in units} > {"train", "samples", "scores", "comparison", "ablated", "forced", "evidence"}
    assert [unit.address for unit in plan(study, run)] == [unit.address for unit in units]
    contents = {unit.address: contents_of(run.folder(unit)) for unit in units}
    assert all(contents.values())
    assert contents == {unit.address: contents_of(RunDirectory(toy_run).folder(unit)) for unit in units}


def _results(bench: Bench, out: Path | None = None) -> dict[str, bytes]:
    run = out or bench.out
    files = [path for path in run.glob("units/**/*") if path.is_file() and path.name not in ("unit.json", "DONE")]
    assert files
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("executor=proceses", "executor.kind is 'proceses'"),
        ("executor={kind: local, workers: 2}", "workers needs the executor processes or ray, and this one is local"),
        ("executor={kind: processes, address: auto}", "address needs the executor ray, and this one is processes"),
        ("executor={kind: ray, address: 'ray://head:10001'}", "which is for Ray's client"),
        ("executor={kind: processes, workers: 0}", "executor.workers is 0"),
    ],
)
def test_an_executor_that_is_none(bench: Bench, setting: str, words: str) -> None:
    assert words in bench.refused("eval", setting)


def test_ray_absent_names_the_extra(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headscope.runs.ray_workers.find_spec", lambda name: None)
    for verb in ("eval", "validate"):
        assert "pip install 'headscope[ray]'" in bench.refused(verb, "executor=ray")


def test_a_cluster_that_is_not_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: make ray installs it")

    def init(address: str, **options: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", init)  # a real one may run on this machine
    sentence = bench.refused("eval", *SETTINGS, "executor={kind: ray, address: auto}")
    assert "no Ray cluster answers at address auto: Could not find any running Ray instance." in sentence


class SlowCluster(Processes):
    """Stands for a Ray cluster. Another process writes its study while it is being connected to."""

    closed = 0

    def __init__(self, out: Path) -> None:
        with writer_lock.exclusive(RunDirectory(out)):
            super().__init__(1, 1)

    def close(self) -> None:
        SlowCluster.closed += 1


@pytest.mark.slow
def test_a_cluster_is_waited_for_without_the_lock_and_closed_whatever_happens(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_workers = Pool._stop

    def stop(pool: Pool) -> None:
        end_workers(pool)
        raise MachineError("a node is gone")

    monkeypatch.setattr(writer_lock, "PATIENCE", 0.1)
    monkeypatch.setattr(study_runs, "check_installed", lambda: None)  # the cluster stands for Ray
    monkeypatch.setattr(study_runs, "RayCluster", lambda *arguments: SlowCluster(bench.out))
    monkeypatch.setattr(Pool, "_stop", stop)
    code, said = bench.call("eval", *SETTINGS, "executor=ray")
    assert (code, SlowCluster.closed) == (1, 1), said
    assert "a node is gone" in said
    assert not list(bench.out.glob(".workers/*"))


def test_another_study_is_refused_while_someone_is_at_work(bench: Bench) -> None:
    bench.out.mkdir()
    code = (
        "import sys; from pathlib import Path; from headscope.runs.presence import Presence\n"
        "with Presence(Path(sys.argv[1]), plan='another'):\n print('here', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(bench.out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said = bench.refused("eval", *SETTINGS)
        other.kill()
    assert f"is in use by process {other.pid} on " in said
    assert "which does another study or verb there" in said
    assert bench.call("eval", *SETTINGS)[0] == 0
