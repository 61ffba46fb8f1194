"""What a plan costs: by numbers made up, by a pilot of a study at toy size, and budgets that do not hold a unit."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.runs import toys
from tests.studies.bench import Bench
from tests.studies.toy import STUDY

from headscope.cli.main import main
from headscope.cli.options import parse_duration
from headscope.errors import InputError
from headscope.progress import Bar
from headscope.runs import RunDirectory, Unit
from headscope.studies.costs import pilot
from headscope.studies.costs.estimate import (
    Budget,
    Rates,
    StudyCost,
    UnitCost,
    estimate,
    with_measured_steps,
    workload_seconds,
)
from headscope.studies.costs.pilot_record import fit
from headscope.studies.costs.small_study import SMALL_MODEL_SIZES, shrink
from headscope.studies.costs.table import clock_sentence, cost_table
from headscope.studies.costs.workloads import FORWARD, Facts, Workload, unit_workload
from headscope.studies.plan import KINDS, plan
from headscope.studies.reading import read_study
from headscope.studies.run import run_study
from headscope.studies.study_file.study import Study

FACTS = Facts(
    prompt_tokens={"lab-t1": 10.0, "lab-k": 20.0},
    answer_tokens={"base lab-t1": 5.0, "base lab-k": 6.0, "sft lab-t1": 9.0},
    longest_answer={"base lab-t1": 12.0, "base lab-k": 12.0},
    correct={"base lab-t1": 0.5, "base lab-k": 0.5},
    pair_tokens=30.0,
    nodes=4.0,
    batch_rows=8,
    threads=2,
    steps={"sft": 100},
    step_tokens={"sft": 1000.0, "grpo": 2000.0},
    heads=8,
    weight_bytes=1e6,
    resident_bytes=1e9,
    free_bytes=4e9,
)
PER_UNIT = {kind: {"once": 2.0} for kind in KINDS}
RATES = Rates(FACTS, 3.0, 1.0, PER_UNIT, {}, {kind: {"size": 10.0} for kind in KINDS})


@pytest.fixture
def study(toy_study: Path) -> Study:
    return read_study(str(toy_study))


def test_done_units_cost_nothing_and_the_first_ones_load_the_models(
    study: Study, toy_run: Path, tmp_path: Path
) -> None:
    nothing = RunDirectory(tmp_path / "run")
    units = plan(study, nothing)
    cost = estimate(units, nothing, RATES)
    loaded = len({(name, step) for name in ("sft",) for step in (2, 4)} | {("grpo", 1), ("grpo", 2), ("base", 0)})
    assert sum(unit.seconds for unit in cost.units) == pytest.approx(2 * len(units) + 3 + loaded)
    assert cost.units[0].seconds == 5  # a training, which loads its base itself
    done = RunDirectory(toy_run)
    finished = estimate(plan(study, done), done, RATES)
    assert finished.units == ()
    assert finished.longest_unit is None
    rows = cost_table(finished).rows
    assert (rows[-1]["units"], rows[-1]["done"]) == (0, len(plan(study, done)))


def test_workers_shorten_a_study_down_to_its_longest_chain(study: Study, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    units = plan(study, run)
    seconds = {unit.address: 1.0 + index % 5 for index, unit in enumerate(units)}
    cost = StudyCost(tuple(UnitCost(unit, seconds[unit.address], 0.0, {}, 0.0, 0.0) for unit in units))

    def chain(unit: Unit) -> float:
        return seconds[unit.address] + max((chain(needed) for needed in unit.inputs.values()), default=0.0)

    total, longest = sum(seconds.values()), max(map(chain, units))
    assert cost.clock(1) == total
    assert cost.clock(None) == cost.clock(len(units)) == longest
    for workers in (2, 4):  # Graham's bounds of list scheduling
        assert max(total / workers, longest) <= cost.clock(workers) <= total / workers + longest * (1 - 1 / workers)
    # Two trainings of 4 and 2 seconds, and a unit of 3 that reads the second: side by side 5, in turn 9.
    trainings = [unit for unit in units if unit.kind == "train"]
    reader = next(unit for unit in units if [*unit.inputs.values()] == [trainings[1]])
    few = zip((*trainings, reader), (4.0, 2.0, 3.0), strict=True)
    by_hand = StudyCost(tuple(UnitCost(unit, length, 0.0, {}, 0.0, 0.0) for unit, length in few))
    assert [by_hand.clock(workers) for workers in (1, 2, None)] == [9, 5, 5]
    assert clock_sentence(by_hand).startswith(
        "by one worker 9.0 s, by two 5.0 s, by four 5.0 s, and never less than 5.0"
    )
    assert not clock_sentence(StudyCost(()))


def test_a_training_on_several_devices_occupies_as_many_workers() -> None:
    training, single = toys.unit("train", a=1), toys.unit(a=2)
    reader = toys.unit("read", inputs={"one": single}, b=3)

    def clocks(costs: dict[Unit, tuple[float, int]], *workers: int | None) -> list[float]:
        cost = StudyCost(
            tuple(UnitCost(unit, length, 0.0, {}, 0.0, 0.0, count) for unit, (length, count) in costs.items())
        )
        return [cost.clock(count) for count in workers]

    # 4 s on two devices; 2 s, and 3 s that read these: two workers do one after the other, three all side by side.
    assert clocks({training: (4.0, 2), single: (2.0, 1), reader: (3.0, 1)}, 1, 2, 3, None) == [9, 9, 5, 5]
    # It goes first though it comes last, and the worker that is free from 1 s on waits for the other, until 3 s.
    early, late = toys.unit(a=4), toys.unit(a=5)
    learns = toys.unit("train", inputs={"one": single}, b=6)
    plan_of_four = {single: (1.0, 1), early: (3.0, 1), late: (1.0, 1), learns: (2.0, 2)}
    assert clocks(plan_of_four, 1, 2, 3, None) == [7, 6, 3, 3]


@pytest.mark.parametrize(
    ("devices", "measured", "begins", "ends"),
    [
        (
            2,
            2,
            "in one process 9.0 s, by two workers 9.0 s, by four 5.0 s, and never less than 5.0 s",
            "a training on 2 devices occupies 2 workers, for as long as 2 devices of this machine took, and its memory "
            "is not measured",
        ),
        (
            8,
            1,
            "in one process 9.0 s, by 8 workers 9.0 s, and never less than 5.0 s",
            "a training on 8 devices occupies 8 workers, for as long as one device of this machine took: nothing "
            "is assumed of what the others save",
        ),
    ],
)
def test_the_sentence_says_what_is_assumed_of_several_devices(
    devices: int, measured: int, begins: str, ends: str
) -> None:
    single = toys.unit(a=2)
    cost = StudyCost(
        (
            UnitCost(toys.unit("train", a=1), 4.0, 0.0, {}, 0.0, 0.0, devices, measured),
            UnitCost(single, 2.0, 0.0, {}, 0.0, 0.0),
            UnitCost(toys.unit("read", inputs={"one": single}, b=3), 3.0, 0.0, {}, 0.0, 0.0),
        )
    )
    sentence = clock_sentence(cost)
    assert sentence.startswith(begins)
    assert sentence.endswith(f"(--executor processes --workers N); {ends}")


def test_the_steps_of_each_training_have_a_length_of_their_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    train = "{preset: lab-sft, dataset: lab-traces-64, max_steps: 10, save_every: 5, batch_size: 16%s}"
    trainings = [f"{{name: t{count}, train: {train % f', devices: {count}'}}}" for count in (1, 2)]
    study, run = read_study(str(bench.study), [f"variants=[{', '.join(trainings)}]"]), RunDirectory(bench.out)
    units = plan(study, run, "train")
    train_rates = {"steps of t1": 4.0, "steps of t2": 2.5}
    alone = replace(FACTS, steps={"t1": 10, "t2": 10})
    measured = replace(
        RATES, facts=replace(alone, devices={"t2": 2}), seconds={"train": train_rates}, import_seconds=0.0
    )
    assert [(cost.seconds, cost.measured_devices) for cost in estimate(units, run, measured).units] == [
        (40, 1),
        (25, 2),
    ]
    # Where nobody measured them together, nothing is assumed of what the second saves.
    costs = estimate(units, run, replace(measured, facts=alone)).units
    assert [(cost.devices, cost.measured_devices) for cost in costs] == [(1, 1), (2, 1)]
    # One that could not be measured takes as long as the one whose steps are the largest.
    only_one = replace(alone, steps={"t1": 10}, step_tokens={"t1": 100.0})
    costs = estimate(units, run, replace(measured, facts=only_one)).units
    assert [cost.seconds for cost in costs] == [40, 40]
    for gpus, expected in (("a,b", [1, 2]), ("a", [1, 1]), ("", [1, 2])):  # without GPUs these are processes
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        small = shrink(study, SMALL_MODEL_SIZES[0], run)
        assert [variant.train.devices for variant in small.variants if variant.train is not None] == expected


def test_loads_by_hand(study: Study, tmp_path: Path) -> None:
    units = plan(study, RunDirectory(tmp_path))
    first = {}
    for unit in units:
        first.setdefault((unit.kind, unit.labels.get("variant")), unit)
    samples = unit_workload(first["samples", "base"], FACTS)
    # 10 problems with 4 samples, eight at a time on two threads; the longest of each batch sets its steps.
    expected = {"decoding steps": 5 * 12, "generated tokens": 40 * 5, FORWARD: 40 * 10}
    assert (samples.drivers, samples.parallel) == (expected, 2)
    train = unit_workload(first["train", "grpo"], FACTS)
    assert train.drivers == {"steps of grpo": 2, "checkpoints": 3, "backward tokens": 4000}
    assert unit_workload(first["scores", "sft"], FACTS).drivers == {"backward tokens": 8 * 4 * 30}
    forced = first["forced", "sft"]
    most, least = unit_workload(forced, FACTS), unit_workload(forced, FACTS, early=True)
    # Of 6 problems with two answers each, three quarters are answered; all controls fit into the first look.
    edits = 2 + 5 + 2 * 3 + 2 + 1
    assert most.drivers[FORWARD] == least.drivers[FORWARD] == pytest.approx(4.5 * edits * (10 + 9))
    # Whole, without the set, and without each of three random sets: 6 problems with 2 answers.
    assert unit_workload(first["failures", "sft"], FACTS).drivers == {"answers read": 6 * 2 * 5}
    # The whole model and each of eight heads.
    assert unit_workload(first["head_roles", "sft"], FACTS).drivers == {FORWARD: pytest.approx(2 * 10 * (10 + 9))}
    assert unit_workload(first["role_losses", "sft"], FACTS).drivers == {FORWARD: pytest.approx(4.5 * 9 * (10 + 9))}
    assert workload_seconds(Workload({"step": 10.0}, parallel=2), {"once": 1.0, "step": 2.0}) == 11


def test_rates_are_found_again() -> None:
    points = []
    for rows, steps in ((4, 10), (40, 20), (80, 5), (10, 90)):
        points.append(({"rows": rows, "steps": steps}, 0.5 + 0.02 * rows + 0.1 * steps))
    assert fit(points) == pytest.approx({"once": 0.5, "rows": 0.02, "steps": 0.1})
    assert fit([({}, 2.0), ({}, 2.0)]) == pytest.approx({"once": 2.0})
    # Nothing tells the two apart, and what grows is the safer guess.
    assert fit([({"size": 4.0}, 8.0), ({"size": 4.0}, 8.0)]) == pytest.approx({"once": 0.0, "size": 2.0})


def test_rates_survive_json() -> None:
    assert Rates.from_dict(json.loads(json.dumps(RATES.as_dict())), "cache") == RATES


def test_a_budget_below_one_unit_is_refused_and_names_it(study: Study, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    cost = estimate(plan(study, run), run, RATES)
    cost.check_budget(5.0)
    with pytest.raises(InputError) as refused:
        cost.check_budget(4.0)
    assert str(refused.value).startswith("a budget of 4.0 s does not hold train sft, which takes about 5.0 s by itself")


def test_lengths_of_time() -> None:
    assert [parse_duration(text) for text in ("90s", "1.5 h", "10min", "2d")] == [90, 5400, 600, 172800]
    for text in ("2", "h", "-1h", "0h", "soon"):
        with pytest.raises(InputError, match="is no length of time"):
            parse_duration(text)


class Counts:
    """Progress that keeps label, total and count of every bar of units."""

    def __init__(self) -> None:
        self.bars: list[list[int]] = []

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Iterator[Bar]:
        counts = [total, start]

        class Counting:
            def advance(self, steps: int = 1, note: str = "") -> None:
                counts[1] += steps

        if label == "units":
            self.bars.append(counts)
        yield Counting()


@pytest.mark.slow
def test_one_count_of_all_units_and_a_budget_ends_between_two(toy_base: Path, tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(STUDY.format(base=toy_base))
    study, run = read_study(str(path)), tmp_path / "run"
    total = len(plan(study, RunDirectory(run), "discover"))
    progress = Counts()
    # Everything takes two seconds by these rates, so that none is begun.
    _, outcome = run_study(study, run, goal="discover", progress=progress, budget=Budget(1.0, RATES))
    assert (outcome.done, outcome.stopped, outcome.exit_code) == (0, "train sft", 0)
    assert progress.bars.pop() == [total, 0]
    _, outcome = run_study(study, run, goal="discover", progress=progress)
    assert (outcome.done, outcome.reused, outcome.failed) == (total, 0, {})
    assert progress.bars.pop() == [total, total]
    _, outcome = run_study(study, run, goal="discover", progress=progress)
    assert (outcome.done, outcome.reused) == (0, total)
    assert progress.bars == [[total, total]]


def stop_before(call: int | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stop a pilot, as Ctrl-C does, in the unit of this number; return the addresses of those it began."""
    begun, run = [], pilot._Pilot._run

    def run_or_stop(self: Any, unit: Unit, folder: Path) -> None:
        begun.append(unit.address)
        if len(begun) == call:
            folder.mkdir(parents=True)  # half a unit
            raise KeyboardInterrupt
        run(self, unit, folder)

    monkeypatch.setattr(pilot._Pilot, "_run", run_or_stop)
    return begun


def test_plan_measures_once_and_says_what_it_costs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADSCOPE_CACHE", str(tmp_path))
    words = ["plan", str(bench.study), "--out", str(bench.out)]
    assert main(words) == 0
    assert "plan --cost measures" in bench.capture.readouterr().out
    stopped = stop_before(5, monkeypatch)
    assert main([*words, "--cost"]) == 130
    monkeypatch.undo()
    monkeypatch.setenv("HEADSCOPE_CACHE", str(tmp_path))
    again = stop_before(None, monkeypatch)
    assert main([*words, "--cost"]) == 0
    assert len(stopped) == 5
    assert again[0] == stopped[-1]
    assert not set(again) & set(stopped[:-1])
    assert not [path for path in (tmp_path / "costs").iterdir() if path.is_dir()]
    assert "| forced " in bench.capture.readouterr().out
    assert main([*words, "--json"]) == 0
    said = json.loads(bench.capture.readouterr().out)
    kinds = {row["kind"]: row for row in said["cost"]}
    assert set(kinds) == {unit["kind"] for unit in said["units"]} | {"all"}
    assert kinds["all"]["units"] == len(said["units"])
    assert kinds["samples"]["time"]["most"] > 0
    assert kinds["all"]["peak memory"] > kinds["all"]["disk"] > 0
    assert main(["eval", *words[1:], "--budget", "0.001s"]) == 2
    # The longest unit is named, which on a busy machine need not be the same each time.
    refusal = bench.capture.readouterr().err
    assert re.search(r"a budget of 0.0 s does not hold \w+ .+, which takes about [\d.]+ s by itself", refusal)


def test_a_base_is_measured_as_a_variant_is_and_trainings_alike_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSCOPE_CACHE", str(bench.folder / "cache"))
    train = "preset: lab-sft, dataset: lab-traces-64, batch_size: 16"
    trained = bench.study.read_text().replace(
        "}\nvariants", f", train: {{{train}, epochs: 3, save_every: 4, max_steps: null}}}}\nvariants"
    )
    study = bench.file("trained.yaml", trained)
    variants = [f"{{name: {name}, train: {{{train}, max_steps: {steps}}}}}" for name, steps in (("a", 10), ("b", 1000))]
    settings = [f"variants=[{', '.join(variants)}]"]
    assert main(["plan", str(study), "--set", settings[0], "--cost", "--json"]) == 0
    rows = {row["kind"]: row for row in json.loads(bench.capture.readouterr().out)["cost"]}
    assert rows["train"]["units"] == 3
    rates = pilot.cached_rates(read_study(str(study), settings))
    assert rates is not None
    assert rates.facts.steps["base"] == 12  # 64 records, 16 a step, three times
    # In small numbers the two variants are one training; each is as long as it is.
    lengths = rates.seconds["train"]
    assert lengths["steps of a"] == lengths["steps of b"] > 0
    assert rows["train"]["time"]["most"] > 1000 * lengths["steps of b"]


def test_epochs_count_as_the_steps_that_the_pilot_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    train = "{preset: lab-sft, dataset: lab-traces-64, batch_size: 16, save_every: 4%s}"
    by_epochs, by_steps = (
        [f"variants=[{{name: t, train: {train % more}}}]"]
        for more in (", epochs: 3, max_steps: null", ", max_steps: 12")
    )
    assert main(["plan", str(bench.study), "--out", str(bench.out), "--set", by_epochs[0]]) == 0
    assert "one checkpoint is counted of t: plan --cost finds out" in bench.capture.readouterr().out
    study, run = read_study(str(bench.study), by_epochs), RunDirectory(bench.out)
    known = with_measured_steps(study, run, replace(FACTS, steps={"t": 12}, step_tokens={"t": 100.0}))
    kinds = [unit.kind for unit in plan(known, run)]
    assert kinds == [unit.kind for unit in plan(read_study(str(bench.study), by_steps), run)]
    assert kinds.count("scores") > [unit.kind for unit in plan(study, run)].count("scores")


@pytest.mark.slow
def test_a_training_on_two_devices_is_measured_on_two(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSCOPE_CACHE", str(bench.folder / "cache"))
    train = "{preset: lab-sft, dataset: lab-traces-64, max_steps: 8, save_every: 4, batch_size: 16, devices: 2}"
    setting = f"variants=[{{name: sft, train: {train}}}]"
    assert main(["plan", str(bench.study), "--set", setting, "--cost"]) == 0
    assert "occupies 2 workers, for as long as 2 devices of this machine took" in bench.capture.readouterr().out
    rates = pilot.cached_rates(read_study(str(bench.study), [setting]))
    assert rates is not None
    assert rates.facts.devices == {"sft": 2}
    assert rates.seconds["train"]["steps of sft"] > 0
