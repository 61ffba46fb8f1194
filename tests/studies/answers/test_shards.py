"""Answers drawn by several units: those of one unit, whoever draws them, and a lost shard alone is drawn again."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.studies.bench import Bench
from tests.studies.costs.test_cost import RATES

from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.runs import RunDirectory, Unit
from headscope.runs.coverage import coverage
from headscope.studies.costs.estimate import estimate, models_of
from headscope.studies.costs.workloads import unit_workload
from headscope.studies.plan import plan
from headscope.studies.reading import read_study
from headscope.studies.recompute import recompute

PROBLEMS = 7
LENGTHS = (f"eval.problems={PROBLEMS}", "eval.samples=3", "eval.max_new_tokens=24", "eval.forbid=wait")
JOINED = ("samples", "measures", "traces", "transitions")


def result_bytes(run: Path) -> dict[str, bytes]:
    """The bytes of every result that is made of all answers, by kind, variant, marker and file."""
    directory = RunDirectory.open(run)
    contents = {}
    for kind in JOINED:
        for record in directory.find(kind):
            place = f"{kind} {record.labels['variant']} {record.labels.get('forbid')}"
            for file in record.folder.iterdir():
                if file.name not in ("unit.json", "DONE"):
                    contents[f"{place} {file.name}"] = file.read_bytes()
    return contents


def repeated_task(bench: Bench) -> str:
    """A task whose question is asked again by the last problem."""
    rows = [f'{{"question": "E0={number};?E0", "answer": "{number}"}}\n' for number in (*range(PROBLEMS - 1), 0)]
    return f"tasks=[{{file: '{bench.file('again.jsonl', ''.join(rows))}', kind: exact}}]"


WORKERS = "{kind: processes, workers: 2}"


@pytest.mark.parametrize(
    ("executor", "size", "shards"),
    [
        ("local", 4, 2),
        pytest.param("local", 3, 3, marks=pytest.mark.slow),
        ("local", PROBLEMS, 0),
        pytest.param(WORKERS, 3, 3, marks=pytest.mark.slow),
    ],
)
def test_shards_hold_the_answers_of_one_unit(bench: Bench, executor: str, size: int, shards: int) -> None:
    settings = (*LENGTHS, repeated_task(bench))
    assert bench.call("eval", *settings)[0] == 0
    one = result_bytes(bench.out)
    assert {
        f"samples {variant} {forbid} samples.parquet" for variant in ["base", "a"] for forbid in (None, "wait")
    } < set(one)
    out = bench.out.with_name("sharded")
    code, message = bench.call("eval", *settings, f"eval.shard_problems={size}", f"executor={executor}", out=out)
    assert code == 0, message
    assert result_bytes(out) == one
    run = RunDirectory.open(out)
    assert len(run.find("samples_shard")) == 4 * shards  # of base and variant, with and without the marker
    # The question that is asked again has other random numbers than the first time, in a shard of its own too.
    table = run.results(Samples, variant="a", forbid=None)[0].whole.table
    assert table["seed"].is_unique
    recomputed = list(recompute(run, ["samples"]))
    assert len(recomputed) == 4
    assert all(unit.is_same for unit in recomputed)


def evaluation(bench: Bench, run: Path, *settings: str) -> list[Unit]:
    return plan(read_study(str(bench.study), [*LENGTHS, *settings]), RunDirectory(run), "eval")


def test_the_plan_counts_shards_and_their_cost_and_joining_loads_no_model(bench: Bench) -> None:
    whole = evaluation(bench, bench.out)
    units = evaluation(bench, bench.out, "eval.shard_problems=3")
    shards = [unit for unit in units if unit.kind == "samples_shard"]
    assert [unit.labels["shard"] for unit in shards] == ["1/3", "2/3", "3/3"] * 4
    assert [(unit.config.first, unit.config.end) for unit in shards[:3]] == [(0, 3), (3, 6), (6, 7)]
    assert len(units) == len(whole) + len(shards)
    plain, joined = ([unit for unit in plan if unit.kind == "samples"] for plan in (whole, units))
    assert {unit.address for unit in plain}.isdisjoint(unit.address for unit in joined)
    answers = "generated tokens"
    loads = [unit_workload(unit, RATES.facts).drivers[answers] for unit in plain]
    assert sum(unit_workload(unit, RATES.facts).drivers[answers] for unit in shards) == sum(loads) > 0
    assert not any(unit_workload(unit, RATES.facts).drivers for unit in joined)
    assert [models_of(unit) for unit in (shards[0], joined[0])] == [{("base", 0)}, set()]
    cost = estimate(units, RunDirectory(bench.out), RATES)
    assert not cost.unmeasured
    without = {unit.address for unit in evaluation(bench, bench.out, "eval.shard_problems=null")}
    assert without == {unit.address for unit in whole}


def test_a_killed_run_draws_the_missing_shards_alone(bench: Bench) -> None:
    settings = (*LENGTHS, "variants=[]", "eval.forbid=[]", "eval.max_new_tokens=100")
    assert bench.call("eval", *settings)[0] == 0
    out = bench.out.with_name("killed")
    sharded = (*settings, "eval.shard_problems=1")
    options = [part for setting in sharded for part in ("--set", setting)]
    command = [sys.executable, "-m", "headscope", "eval", str(bench.study), "--out", str(out), *options]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
    ) as process:
        while not list(out.glob("units/samples_shard/[!.]*/DONE")):
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
    records = {path: path.read_bytes() for path in out.glob("units/samples_shard/[!.]*/unit.json")}
    assert 0 < len(records) < PROBLEMS
    code, message = bench.call("eval", *sharded, out=out)
    assert code == 0, message
    assert all(path.read_bytes() == record for path, record in records.items())
    assert result_bytes(out) == result_bytes(bench.out)
    assert coverage(RunDirectory(out), check_files=True).complete


ABLATED = (
    *("eval.samples=1", "eval.max_new_tokens=12", "ablate.problems=10", "ablate.samples=2", "ablate.texts=2"),
    *("ablate.generated=[zero, mean, resample, revert]", "ablate.generated_scales=[1.3]", "ablate.controls=1"),
    *("ablate.named=[L0H1, L1H2]", "ablate.heads=[named]", "ablate.operators=[zero]"),
)


def edited_bytes(run: Path) -> dict[str, bytes]:
    """The bytes of all results that are made of edited models' answers, by kind, labels and file."""
    contents = {}
    for kind in ("ablated", "verdict", "failures", "evidence"):
        for record in RunDirectory.open(run).find(kind):
            for file in record.folder.iterdir():
                if file.name not in ("unit.json", "DONE"):
                    contents[f"{kind} {record.labels} {file.name}"] = file.read_bytes()
    return contents


@pytest.mark.parametrize("executor", ["local", pytest.param(WORKERS, marks=pytest.mark.slow)])
def test_shards_of_an_edited_model_hold_the_answers_of_one_unit(bench: Bench, executor: str) -> None:
    code, message = bench.call("ablate", *ABLATED)
    assert code == 0, message
    one, out = edited_bytes(bench.out), bench.out.with_name("sharded")
    code, message = bench.call("ablate", *ABLATED, "ablate.shard_problems=5", f"executor={executor}", out=out)
    assert code == 0, message
    assert edited_bytes(out) == one
    run = RunDirectory.open(out)
    ablated, shards = run.find("ablated"), run.find("ablated_shard")
    operators = {record.labels["operator"] for record in ablated}
    assert operators == {"none", "zero", "mean", "resample", "revert", "x1.3"}
    assert len(shards) == 2 * len(ablated)
    recomputed = list(recompute(run, ["ablated"]))
    assert len(recomputed) == len(ablated)
    assert all(unit.is_same for unit in recomputed)


def test_a_random_set_that_does_not_exist_has_no_shards_either(bench: Bench) -> None:
    few = ("ablate.generated=zero", "ablate.generated_scales=[]", "ablate.controls=9", "ablate.named=L0H1")
    settings = (*ABLATED, *few, "eval.max_new_tokens=2", "ablate.problems=4", "ablate.shard_problems=2")
    code, message = bench.call("ablate", *settings)
    assert code == 0, message
    run = RunDirectory.open(bench.out)
    for kind, count in (("ablated", 2), ("ablated_shard", 4)):  # there are seven other heads
        results = [finished.result for finished in run.results(Samples, kind)]
        reasons = [result.reason for result in results if isinstance(result, NotRun)]
        assert len(reasons) == count, reasons
        assert all("only 7 match these heads" in reason for reason in reasons)


def test_the_plan_of_edited_models_without_shards_is_that_of_before(bench: Bench) -> None:
    run = RunDirectory(bench.out)
    whole, of_all, shared = (
        plan(read_study(str(bench.study), [*ABLATED, f"ablate.shard_problems={size}"]), run, "ablate")
        for size in ("null", 10, 4)
    )
    assert [unit.address for unit in whole] == [unit.address for unit in of_all]
    shards = [unit for unit in shared if unit.kind == "ablated_shard"]
    assert [(unit.config.first, unit.config.end) for unit in shards[:3]] == [(0, 4), (4, 8), (8, 10)]
    plain, joined = ([unit for unit in units if unit.kind == "ablated"] for units in (whole, shared))
    assert len(shards) == 3 * len(plain) == 3 * len(joined)
    answers = "generated tokens"
    loads = [unit_workload(unit, RATES.facts).drivers[answers] for unit in plain]
    assert sum(unit_workload(unit, RATES.facts).drivers[answers] for unit in shards) == sum(loads) > 0
    assert not any(unit_workload(unit, RATES.facts).drivers for unit in joined)
    assert not any(models_of(unit) for unit in joined)
    assert not estimate(shared, run, RATES).unmeasured


@pytest.mark.parametrize("size", ["0", "-3", "1.5", "two"])
def test_a_shard_holds_a_whole_number_of_problems(bench: Bench, size: str) -> None:
    sentence = bench.refused("validate", f"eval.shard_problems={size}")
    assert "eval.shard_problems is " in sentence
