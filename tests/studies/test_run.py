"""A whole study at toy size: every station runs, resumes after kill -9 with the same results, and refuses bad input."""

import json
import runpy
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.precision import HALF_THE_BITS, relative
from tests.studies.bench import Bench

from headscope.cli.main import main
from headscope.errors import InputError
from headscope.report.run_results import RunResults
from headscope.report.tables.accuracy import accuracy
from headscope.report.tables.circuits import circuits
from headscope.report.tables.heads import checkpoints
from headscope.report.tables.verdicts import verdicts
from headscope.results.comparison import Comparison
from headscope.results.edges import EdgeScores
from headscope.runs import RunDirectory
from headscope.runs.coverage import coverage
from headscope.studies.plan import plan
from headscope.studies.reading import read_study
from headscope.studies.run import run_study

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_station_ran(toy_run: Path) -> None:
    run = RunDirectory.open(toy_run)
    table = {each.kind: each for each in coverage(run).kinds}
    kinds = {"train", "pairs", "scores", "faithfulness", "comparison", "effects", "headsets", "samples"}
    kinds |= {"measures", "ablated", "verdict", "constants", "forced", "evidence"}
    kinds |= {"traces", "transitions", "failures", "role_losses", "head_roles"}
    kinds |= {"head_scores", "training_effects", "head_scaling", "head_revert", "reward_coupling", "attention"}
    assert kinds == set(table)
    assert all(len(row.failures) == row.missing == 0 for row in table.values())
    # Base on two sets of pairs and two checkpoints, for each of two variants.
    assert table["scores"].done == 2 * (2 + 2)
    results = RunResults(run)
    assert len(accuracy(results).rows) == 3 * 2
    assert len(checkpoints(results).rows) == 2 * 2
    assert len(circuits(results).rows) == 2 * 3
    assert len(verdicts(results).rows) == 2
    assert not list(toy_run.rglob("*.bin")) + list(toy_run.rglob("*.pt")) + list(toy_run.rglob("*.pkl"))


def test_the_lock_says_what_was_run(toy_run: Path) -> None:
    lock = RunDirectory.open(toy_run).lock()
    assert lock["schema_version"] == 1
    assert lock["study"]["discover"]["rule"] == "gauss"
    assert lock["provenance"]["versions"]["torch"] != "absent"
    assert (toy_run / "study.yaml").exists()


def test_the_untrained_checkpoint_of_a_run_is_the_base(toy_run: Path, toy_base: Path) -> None:
    (record,) = RunDirectory.open(toy_run).find("train", variant="sft")
    first, base = (
        load_file(record.folder / "checkpoint-0" / "model.safetensors"),
        load_file(toy_base / "model.safetensors"),
    )
    for key, value in base.items():
        np.testing.assert_array_equal(first[key], value)


def test_emergence_counts_have_their_null(toy_run: Path) -> None:
    (finished,) = RunDirectory.open(toy_run).results(Comparison, variant="sft")
    assert finished.whole.steps == (2, 4)
    result = finished.whole.final
    assert result.null_source == "fresh pairs"
    assert result.counts.kept.n == result.pairs == 8


def test_scores_of_a_checkpoint_are_those_of_its_model_on_its_pairs(toy_run: Path) -> None:
    from headscope.circuits import attribute
    from headscope.models import load_model
    from headscope.pairs import Pairs

    run = RunDirectory.open(toy_run)
    (train,) = run.find("train", variant="sft")
    (pairs,) = run.find("pairs", variant="sft", pairs="main")
    (scores,) = run.find("scores", variant="sft", step=4)
    again = attribute(load_model(train.folder / "checkpoint-4"), Pairs.load(pairs.folder), nodes=4)
    assert relative(EdgeScores.load(scores.folder).edges, again.edges) < HALF_THE_BITS


@pytest.mark.slow
def test_every_unit_is_computed_again_from_its_record_with_the_same_bytes(toy_run: Path) -> None:
    run = RunDirectory.open(toy_run)
    code = "import sys; from headscope.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "recompute", str(toy_run)]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    planned = coverage(run).planned
    assert f"{planned} of {planned} units the same, byte for byte" in again.stdout


def test_a_unit_that_comes_out_otherwise_is_named(
    toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = shutil.copytree(toy_run, tmp_path / "changed")
    record = RunDirectory.open(changed).find("measures")[0].folder / "measures.json"
    record.write_text(record.read_text().replace('"samples": 4', '"samples": 5'))
    assert main(["recompute", str(changed), "--kind", "measures"]) == 1
    told = capsys.readouterr()
    assert "| measures | 6        | 5    |" in told.out
    assert "5 of 6 units the same, byte for byte" in told.out
    assert "other bytes in measures.json" in told.err
    assert main(["recompute", str(changed), "--kind", "measure"]) == 2
    assert "has no units of kind 'measure' (did you mean 'measures'?)" in capsys.readouterr().err


def test_the_same_command_reuses_everything(toy_run: Path, toy_study: Path) -> None:
    _, outcome = run_study(read_study(str(toy_study)), toy_run)
    assert (outcome.done, outcome.failed) == (0, {})
    assert outcome.reused == len(plan(read_study(str(toy_study)), RunDirectory(toy_run)))


def test_another_threshold_trains_samples_and_attributes_nothing_again(toy_run: Path, toy_study: Path) -> None:
    changed = read_study(str(toy_study), ["discover.fraction=0.3", "ablate.heads=[lost]"])
    todo = [unit.kind for unit in plan(changed, RunDirectory(toy_run)) if not RunDirectory(toy_run).is_done(unit)]
    assert set(todo) == {
        *("faithfulness", "comparison", "effects", "headsets", "ablated", "verdict", "forced", "evidence"),
        *("failures", "role_losses", "head_scaling", "head_revert", "training_effects", "attention", "reward_coupling"),
    }


@pytest.mark.slow
def test_killed_at_any_moment_the_same_command_ends_with_the_same_bytes(toy_run: Path, toy_study: Path) -> None:
    seed = str(int(time.time()))
    program = [sys.executable, str(BENCHMARKS / "kills.py"), "--json", "--kills", "2", "--seed", seed]
    inputs = ["--study", str(toy_study), "--untouched", str(toy_run)]
    ended = subprocess.run([*program, *inputs], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, (seed, ended.stdout, ended.stderr)
    runs = json.loads(ended.stdout)
    assert sum(len(run["moments"]) for run in runs) == 2
    assert all(run["files"] > 100 for run in runs)


def test_bytes_that_differ_are_told(toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    compare_units = runpy.run_path(str(BENCHMARKS / "kills.py"))["compare_units"]
    other = Path(shutil.copytree(toy_run, tmp_path / "other"))
    assert compare_units(toy_run, other)[2] == []
    changed = next(other.glob("units/scores/*/scores.safetensors"))
    changed.write_bytes(b"")
    assert compare_units(toy_run, other)[2] == [str(changed.relative_to(other))]


def test_a_run_made_by_a_newer_schema_is_left_alone(toy_study: Path, tmp_path: Path) -> None:
    (tmp_path / "study.lock.json").write_text('{"schema_version": 99, "units": []}')
    with pytest.raises(InputError, match="schema_version 99, this headscope reads up to 1"):
        run_study(read_study(str(toy_study)), tmp_path)
    assert json.loads((tmp_path / "study.lock.json").read_text())["schema_version"] == 99


def test_no_pair_left_says_how_many_were_dropped_and_why(toy_study: Path, tmp_path: Path) -> None:
    # Greedy openings of one and the same model are all equal.
    same = ["discover.temperature=0", "variants=[{name: same, model: " + read_study(str(toy_study)).base.model + "}]"]
    _, outcome = run_study(read_study(str(toy_study), same), tmp_path, goal="discover")
    assert outcome.exit_code == 2
    assert "no pair is left of 32 candidates: 32 because of" in outcome.failed["pairs same main"]


def test_models_of_another_shape_are_refused_before_any_work(toy_study: Path, tmp_path: Path) -> None:
    other = read_study(str(toy_study), ["variants=[{name: big, model: lab-m}]"])
    with pytest.raises(InputError, match="variant big has 6 layers and base has 2"):
        run_study(other, tmp_path)
    assert not (tmp_path / "units").exists()


def test_missing_models_and_logs_are_named(toy_study: Path, tmp_path: Path) -> None:
    for override, sentence in (
        ("variants=[{name: x, model: ./nowhere}]", r"nowhere does not exist"),
        ("variants=[{name: x, model: lab-x}]", "built-in model 'lab-x' does not exist"),
        ("variants=[{name: x, model: lab-m, reward_log: no.jsonl}]", "layers|reward_log no.jsonl does not exist"),
        ("variants=[{name: x, checkpoints: nowhere/checkpoint-*}]", "nowhere.* holds no checkpoint"),
        ("tasks=[nowhere.jsonl]", "nowhere.jsonl"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_study(read_study(str(toy_study), [override]), tmp_path)


def test_a_narrower_verb_hides_no_result(bench: Bench) -> None:
    other = f"variants.a.model='{bench.model()}'"

    def listed() -> Counter[str]:
        return Counter(str(row["kind"]) for row in RunDirectory.open(bench.out).lock()["units"])

    assert bench.call("eval", other)[0] == 0
    answered = listed()
    assert answered["samples"] == 2
    assert bench.call("discover", other)[0] == 0
    assert listed() == answered + Counter(pairs=2, scores=3, faithfulness=2)
    assert bench.call("eval", other, "eval.samples=2")[0] == 0  # another study: what answers to neither is not its own
    assert listed()["samples"] == 2
