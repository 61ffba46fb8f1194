"""What is evaluated: answers without a marker next to plain ones, checkpoints on the way, and old units as before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.studies.bench import Bench
from tests.studies.costs.test_cost import RATES

from headscope.evaluation import Sampling
from headscope.report import RunResults
from headscope.report.tables.accuracy import accuracy
from headscope.results.measures import Measures
from headscope.results.samples import Samples
from headscope.results.table import display_text
from headscope.runs import RunDirectory, Unit
from headscope.studies.answers.evaluate import SamplesConfig, measure_masked
from headscope.studies.claims import study_results
from headscope.studies.costs.estimate import estimate
from headscope.studies.costs.small_study import LARGE_MODEL_SIZES, shrink
from headscope.studies.plan import plan
from headscope.studies.reading import read_study

LENGTHS = ("eval.problems=6", "eval.samples=2", "eval.max_new_tokens=16")


def planned(study_file: Path, run: Path, *settings: str) -> list[Unit]:
    """The plan of a study's evaluation."""
    return plan(read_study(str(study_file), list(settings)), RunDirectory(run), "eval")


def test_answers_without_a_marker_are_paired_with_the_plain_ones_and_never_taken_for_them(bench: Bench) -> None:
    assert bench.call("eval", *LENGTHS)[0] == 0
    plain = {unit.address for unit in planned(bench.study, bench.out, *LENGTHS)}
    settings = (*LENGTHS, "eval.forbid=wait")
    todo = [unit for unit in planned(bench.study, bench.out, *settings) if unit.address not in plain]
    # Base and variant have the same weights here, and are two models all the same.
    assert [(unit.kind, unit.labels["variant"], unit.labels["forbid"]) for unit in todo] == [
        (kind, variant, "wait") for variant in ("base", "a") for kind in ("samples", "measures", "traces")
    ]
    code, said = bench.call("eval", *settings)
    assert code == 0, said
    run = RunDirectory.open(bench.out)
    results = RunResults(run)
    rows = [{name: display_text(value) for name, value in row.items()} for row in accuracy(results).rows]
    assert [row["model"] for row in rows] == ["base", 'base without "wait"', "a", 'a without "wait"']
    assert [row["Δ against base"] == "–" for row in rows] == [True, True, False, True]
    assert [row["Δ by masking"] == "–" for row in rows] == [True, False, True, False]
    for found in (run.results(Samples, forbid=None), results.evaluations, results.last_evaluations):
        assert [(unit.labels["variant"], unit.labels.get("forbid")) for unit in found] == [("base", None), ("a", None)]
    judged = study_results(read_study(str(bench.study), list(settings)), run)
    (plain_samples,) = run.results(Samples, variant="a", forbid=None)
    (masked_samples,) = run.results(Samples, variant="a", forbid="wait")
    assert [answers.variant for answers in judged.answers] == ["a"]
    np.testing.assert_array_equal(judged.answers[0].post, plain_samples.whole.correct)
    before, after = plain_samples.whole.table, masked_samples.whole.table
    assert list(before["seed"]) == list(after["seed"])
    assert before["response"].str.contains("wait").any()
    assert not after["response"].str.contains("wait").any()
    measures = run.results(Measures, variant="a", forbid="wait")[0].whole
    again = measure_masked(masked_samples.whole, plain_samples.whole, (1,), 0)
    assert (measures.change, measures.flips, measures.tokens_change) == (again.change, again.flips, again.tokens_change)
    assert measures.tokens_change is not None
    longer = masked_samples.whole.lengths.mean() - plain_samples.whole.lengths.mean()
    assert measures.tokens_change.value == pytest.approx(longer)


@pytest.mark.parametrize(
    ("forbid", "words"),
    [
        ("[wait, ño]", "base cannot be sampled: forbid holds 'ño', which no tokens of the model's vocabulary write"),
        ("['<|im_end|>']", "base cannot be sampled: forbid holds '<|im_end|>', with which the model ends its answers"),
        ("['']", "a marker is a word or words on one line"),
    ],
)
def test_a_marker_that_cannot_or_must_be_written_is_refused(bench: Bench, forbid: str, words: str) -> None:
    assert words in bench.refused("validate --resolve", f"eval.forbid={forbid}")


def test_units_without_a_marker_are_those_of_older_runs(toy_study: Path, toy_run: Path) -> None:
    study, run = read_study(str(toy_study), ["eval.forbid=[wait]", "eval.every=1"]), RunDirectory(toy_run)
    units = plan(study, run)
    sampled = {"samples": 4, "ablated": 2}
    for unit in units:
        if unit.kind in sampled and "forbid" not in unit.labels:
            drawn = {"samples": sampled[unit.kind], "max_new_tokens": 12, "temperature": 1.0, "top_p": 1.0, "seed": 0}
            assert unit.settings["sampling"] == drawn
    assert {unit.address for unit in plan(read_study(str(toy_study)), run)} < {unit.address for unit in units}
    record = run.find("samples")[0].unit["config"]
    assert SamplesConfig.model_validate(record).sampling == Sampling(4, 12, 1.0, 1.0, 0)
    masked = next(unit for unit in units if unit.kind == "samples" and "forbid" in unit.labels)
    assert type(masked.config).model_validate(masked.settings) == masked.config
    content = Measures.load(run.find("measures")[0].folder).as_dict()
    assert "tokens_change" not in content


def test_limits_on_the_tokens_are_in_the_units_that_use_them(toy_study: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    plain = {unit.address for unit in plan(read_study(str(toy_study)), run)}
    assert {unit.address for unit in plan(read_study(str(toy_study), ["eval.min_p=0"]), run)} == plain
    for unit in plan(read_study(str(toy_study), ["eval.top_k=20", "eval.min_p=0.1"]), run):
        if unit.kind in ("samples", "ablated"):
            assert unit.address not in plain
            sampling = unit.settings["sampling"]
            assert (sampling["top_k"], sampling["min_p"]) == (20, 0.1)
            assert type(unit.config).model_validate(unit.settings) == unit.config


def steps_of(units: list[Unit], variant: str, task: str = "lab-t1") -> list[Any]:
    """The evaluated steps of a variant."""
    labels = {"variant": variant, "task": task}
    measures = [unit for unit in units if unit.kind == "measures" and labels.items() <= unit.labels.items()]
    return sorted(unit.labels["step"] for unit in measures)


def test_every_so_manieth_checkpoint_and_always_the_last(toy_study: Path, tmp_path: Path) -> None:
    save = "variants.sft.train.save_every=1"
    expected = {None: [4], 1: [1, 2, 3, 4], 2: [2, 4], 3: [3, 4], 4: [4], 9: [4]}
    for every, steps in expected.items():
        units = planned(toy_study, tmp_path, save, *([] if every is None else [f"eval.every={every}"]))
        assert (steps_of(units, "sft"), steps_of(units, "sft", "lab-k")) == (steps, steps)
        assert (steps_of(units, "base"), steps_of(units, "grpo")) == ([0], [1, 2] if every == 1 else [2])
    # A model's tasks follow each other, so that it is loaded once.
    units = planned(toy_study, tmp_path, save, "eval.every=1")
    order = [unit.labels["step"] for unit in units if unit.kind == "samples"]
    assert order[-8:] == [1, 1, 2, 2, 3, 3, 1, 1]


def test_the_cost_counts_checkpoints_and_masked_answers(toy_study: Path, tmp_path: Path) -> None:
    nothing = RunDirectory(tmp_path)
    more = ("eval.every=1", "eval.forbid=[wait]")
    costs = [estimate(planned(toy_study, tmp_path, *settings), nothing, RATES) for settings in ((), more)]
    counts = [sum(cost.unit.kind == "samples" for cost in of_study.units) for of_study in costs]
    # Two tasks: base, sft, grpo; then also step 2 of sft and 1 of grpo, and three models without the marker.
    assert counts == [2 * 3, 2 * (3 + 2 + 3)]
    assert costs[1].seconds.keys() > costs[0].seconds.keys()
    study = read_study(str(toy_study), list(more))
    small = plan(shrink(study, LARGE_MODEL_SIZES[0], nothing), nothing, "eval")
    assert not [unit for unit in small if "forbid" in unit.labels]
