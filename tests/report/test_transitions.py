"""Transitions, traces and sentences: what is said rests on the numbers, and is not said where there are too few."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headscope.report import RunResults, answer_pairs
from headscope.report.answer_pairs import choose_answer_pairs
from headscope.report.figures.failures import failures_over_steps
from headscope.report.sentences import make_sentences
from headscope.report.tables.accuracy import accuracy
from headscope.report.tables.traces import traces
from headscope.report.tables.transitions import failure_changes, transitions
from headscope.results.measures import McNemar
from headscope.results.table import display_text
from headscope.results.traces import SplitAccuracy, TraceSummary
from headscope.results.transitions import Transitions
from headscope.runs import RunDirectory

from .runs import RunWriter, add_samples, estimate, samples


@pytest.fixture(scope="module")
def results(run: RunDirectory) -> RunResults:
    return RunResults(run)


def texts(row: Any) -> list[str]:
    return [display_text(value) for value in row.values()]


def test_the_four_cells_and_the_exact_test(results: RunResults) -> None:
    sft, grpo = (texts(row) for row in transitions(results).rows)
    assert sft[:7] == ["T1", "sft", "60", "0", "4", "4", "4"]
    assert sft[7] == "1.000"
    assert grpo[3:8] == ["4", "4", "0", "4", "0.125"]
    assert grpo[8].startswith("+0.33 [")
    assert sft[-1] == "–"  # one answer each: no problem can have changed for sure


def test_failures_of_newly_wrong_answers_stand_next_to_those_wrong_in_both(results: RunResults) -> None:
    rows = [texts(row) for row in failure_changes(results).rows]
    assert rows == [
        ["T1", "sft", "60", "over-thinking", "4 of 4 (100%)", "4 of 4 (100%)"],
        ["T1", "grpo", "60", "over-thinking", "–", "4 of 4 (100%)"],
    ]


def test_accuracy_has_the_rates_of_read_answers_and_dashes_for_others(results: RunResults) -> None:
    rows = [row for row in accuracy(results).rows if row["model"] == "sft"]
    columns = ("lost", "loop", "slip", "efficiency")
    assert [[display_text(row[name]) for name in columns] for row in rows] == [
        ["66.7%", "66.7%", "0.0%", "100.0%"],
        ["–", "–", "–", "–"],
    ]


def test_reasons_over_steps_are_drawn_for_variants_with_several(results: RunResults, tmp_path: Path) -> None:
    base = results.trace_summaries[0].whole
    writer = RunWriter(tmp_path / "run", variants=("sft", "grpo"))
    for variant, step, failures in (
        ("base", 0, {"calculation": 90}),
        ("sft", 2, {"calculation": 40, "loop": 10}),
        ("sft", 4, {"loop": 20}),
        ("grpo", 4, {"other": 5}),
    ):
        writer.save(summary(base, failures=failures), variant=variant, step=step, task="T1")
    units = RunResults(writer.close()).trace_summaries
    figure = failures_over_steps(units, ("sft", "grpo"))
    (panel,) = figure.panels
    assert panel.title == "sft on T1 · n 100 × 2"
    lines = {line["name"]: (list(line["x"]), list(line["y"])) for line in panel.plot.to_plotly_json()["data"]}
    assert lines == {"calculation": ([0, 2, 4], [0.45, 0.2, 0.0]), "loop": ([0, 2, 4], [0.0, 0.05, 0.1])}
    assert len(figure.table.rows) == 5


def test_traces_name_the_most_frequent_failures(results: RunResults) -> None:
    summary = results.trace_summaries[0].whole
    many = replace(summary, failures={"loop": 9, "slip": 5, "other": 2, "no answer": 1})
    (row,) = traces([({"task": "T", "variant": "a", "step": 1}, many)]).rows
    assert display_text(row["failures"]) == "loop 9, slip 5, other 2"


def test_pairs_show_the_answers_that_changed_within_their_budget(results: RunResults) -> None:
    pairs = choose_answer_pairs(results, count=3)
    assert pairs is not None
    sft, grpo = pairs.groups
    assert (len(sft["flips"]), len(grpo["flips"]), pairs.left_out) == (8, 4, 6)
    chosen = [flip["change"] for flip in sft["flips"] if "sides" in flip]
    assert sorted(chosen) == ["newly right", "newly wrong", "newly wrong"]  # in turn, newly wrong first
    for flip in sft["flips"]:
        if "sides" in flip:
            before, after = flip["sides"]
            assert (before["verdict"] == "correct", after["verdict"] == "correct") == (
                not flip["gained"],
                flip["gained"],
            )
    small = choose_answer_pairs(results, budget=1500)
    assert small is not None
    assert 0 < small.left_out < 12
    assert len(small.table.rows) == 12


def test_many_comparisons_share_the_answers_of_a_page(results: RunResults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_pairs, "MOST_PAIRS", 8)
    shared = choose_answer_pairs(results)  # two comparisons with 8 and 4 changed problems
    assert shared is not None
    assert [sum("sides" in flip for flip in group["flips"]) for group in shared.groups] == [4, 4]
    assert shared.left_out == 4
    monkeypatch.setattr(answer_pairs, "MOST_PAIRS", 2)
    monkeypatch.setattr(answer_pairs, "FEWEST_PAIRS", 3)
    least = choose_answer_pairs(results)
    assert least is not None
    assert [sum("sides" in flip for flip in group["flips"]) for group in least.groups] == [3, 3]


def test_answers_drawn_with_a_word_forbidden_are_in_no_plain_row(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    add_samples(run, "sft", 0, "T1", samples("T1", {"p": "6"}), 0.3)
    masked = samples("T1", {"p": "masked"})
    labels = {"variant": "sft", "step": 0, "task": "T1", "forbid": "wait"}
    run.save(masked, **labels)
    run.save(RunResults(run.close()).evaluations[0].whole, **labels)
    results = RunResults(run.close())
    assert len(results.evaluations) == len(results.last_evaluations) == 1
    plain = results.responses({"variant": "sft", "step": 0, "task": "T1"})
    assert plain is not None
    assert [response["response"] for response in plain] == ["6"]


def summary(base: TraceSummary, **changes: Any) -> TraceSummary:
    quiet = {"lost": estimate(0.0, 0.0), "recheck_difference": None, "failures": {}}
    return replace(base, **(quiet | {"problems": 100, "samples": 2, "right": 136} | changes))


def test_sentences_say_what_is_clear_and_that_the_rest_could_be_chance(results: RunResults) -> None:
    base, compared = results.trace_summaries[0].whole, results.transitions[0].whole
    clear = replace(compared, flips=McNemar(40, 3, 100, 1e-9), newly_wrong={"loop": 8, "calculation": 4})
    clear = replace(clear, wrong_in_both={"calculation": 30, "loop": 10})
    lost = summary(
        base,
        lost=estimate(0.16, 0.02),
        rechecks=(SplitAccuracy("", 12, 50, 124, 150),),
        recheck_difference=estimate(-0.6, 0.1),
    )
    sentences = make_sentences(
        [({"variant": "sft", "task": "t1"}, lost), ({"variant": "sft", "task": "t2"}, summary(base))],
        [({"variant": "sft", "task": "t1"}, clear), ({"variant": "sft", "task": "t2"}, compared)],
    )
    assert sentences == (
        "sft: against the base, problems became right (+) and wrong (−): +40 −3 of t1 (p = 2e−09); what changed on t2 "
        "could be chance (first answers; p adjusted for 2 tasks).",
        "sft: 32 of its 64 wrong answers on t1 had stated the right one; answers with a re-check are right "
        "in 12 of 50, those without in 124 of 150 (−0.60 [−0.70, −0.50] within tiers; an association).",
        "sft: on problems that the base answers right more often its wrong answers fail most often by looping (8 of "
        "16; 10 of 44 on problems that neither answers).",
    )


def test_what_masking_a_marker_does_is_said_where_it_is_clear(results: RunResults) -> None:
    base, measured = summary(results.trace_summaries[0].whole), results.evaluations[0].whole
    masked = []
    for task, value, half in (("t1", 0.12, 0.05), ("t2", 0.25, 0.06), ("t3", 0.01, 0.04)):
        labels = {"variant": "sft", "task": task, "forbid": "wait"}
        masked.append((labels, replace(measured, change=estimate(value, half))))
    plain = ({"variant": "sft", "task": "t1"}, base)
    hidden = ({"variant": "sft", "task": "t1", "forbid": "wait"}, summary(base, failures={"loop": 60}))
    assert make_sentences([plain, hidden], masked=masked) == (
        'sft: kept from writing "wait", its pass@1 changes by +0.12 [+0.07, +0.17] on t1 and +0.25 [+0.19, +0.31] '
        "on t2, same problems and seeds: the ban raises it.",
    )
    assert make_sentences([plain, hidden], masked=masked[2:]) == ()


def test_what_rests_on_few_answers_is_not_said(results: RunResults) -> None:
    base = results.trace_summaries[0].whole
    few = summary(base, failures={"loop": 3}, recheck_difference=estimate(-0.6, 0.1))
    assert make_sentences([({"variant": "base", "task": "t"}, replace(few, rechecks=()))]) == ()
    nine_wrong = summary(base, right=191, lost=estimate(0.02, 0.01))
    assert make_sentences([({"variant": "base", "task": "t"}, nine_wrong)]) == ()
    unclear = replace(few, rechecks=(SplitAccuracy("", 9, 30, 9, 30),), recheck_difference=estimate(0.0, 0.1))
    assert make_sentences([({"variant": "base", "task": "t"}, unclear)]) == ()
    many = replace(few, rechecks=(), failures={"loop": 30, "other": 10})
    assert make_sentences([({"variant": "base", "task": "t"}, many)]) == (
        "base: its wrong answers fail most often by looping (30 of 40).",
    )


def test_a_change_that_could_be_chance_is_no_finding(results: RunResults) -> None:
    compared: Transitions = replace(results.transitions[0].whole, newly_wrong={}, wrong_in_both={})
    base = summary(results.trace_summaries[0].whole)
    labels = {"variant": "sft", "task": "t"}
    assert make_sentences([(labels, base)], [(labels, compared)]) == (
        "sft: what changed against the base could be chance on t (first answers).",
    )
