"""Saved answers: the teacher's planted slips, answers in running text, and what is said of what cannot be read."""

import random
from typing import Any

import pytest

from headscope.errors import InputError
from headscope.lab import chains
from headscope.lab.labels import symbols
from headscope.results.frames import records
from headscope.results.samples import Samples
from headscope.results.traces import Traces, TraceSummary
from headscope.studies.answers.traces import trace_samples
from headscope.traces.summary import summarise
from headscope.traces.transitions import compare_answers

ITEMS = chains.draw_items("T1", "train", 60, seed=1)
PROMPTS = {item.id: item.prompt for item in ITEMS}


def lab_answers(recheck: float, slip: float, samples: int = 2) -> Samples:
    """The teacher's answers; a planted slip that is not the last word makes them wrong."""
    rng = random.Random(0)
    rows: list[dict[str, Any]] = []
    for item in ITEMS:
        for sample in range(samples):
            text = chains.thinking_turn(item, recheck=recheck, slip=slip, rng=rng)
            answer = text[-1]
            row = {"problem": item.id, "group": item.tier, "sample": sample, "seed": 0, "response": text, "end": 2}
            row |= {"tokens": len(symbols(text)), "token_ids": [sum(map(ord, symbol)) for symbol in symbols(text)]}
            row |= {"finish": "stop", "answer": answer, "gold": str(item.answer), "kind": "exact"}
            rows.append(row | {"verdict": "correct" if answer == str(item.answer) else "wrong"})
    return Samples.from_records(rows, model="teacher", task="lab-t1")


def text_answers(*responses: tuple[str, str], gold: str = "42") -> Samples:
    """One answer to each of several problems, with its verdict."""
    rows = []
    for index, (text, verdict) in enumerate(responses):
        row = {"problem": f"p{index}", "group": "", "sample": 0, "seed": 0, "response": text, "tokens": len(text)}
        row |= {"finish": "stop", "verdict": verdict, "answer": "", "gold": gold, "kind": "math"}
        rows.append(row | {"token_ids": [ord(letter) % 1000 for letter in text]})
    return Samples.from_records(rows, model="m", task="t", settings={})


def test_planted_overthinking_is_what_the_summary_says() -> None:
    summary = summarise(trace_samples(lab_answers(0.3, 0.7), PROMPTS))
    assert (summary.reader, summary.problems, summary.samples, summary.notes) == ("lab", 60, 2, ())
    (split,) = summary.rechecks
    assert split.right_without == split.answers_without > 0  # without a re-check the teacher is flawless
    assert summary.wrong == split.answers_with - split.right_with > 0
    # The last fold computed again and spoilt is an answer that was right and is lost; earlier folds only spoil it.
    assert set(summary.failures) == {"over-thinking", "calculation"}
    assert summary.failures["over-thinking"] == round(summary.lost.value * summary.answers)
    # Counted by problem: two answers to one are not independent.
    assert summary.lost_of_wrong.n < summary.wrong
    assert summary.lost_of_wrong.n <= summary.problems
    (group,) = summary.groups
    assert (group.group, group.answers, group.right) == ("T1", 120, summary.right)
    assert group.slip == summary.wrong
    assert set(summary.slips) == {"calculation"}
    assert summary.recheck_difference is not None
    assert summary.recheck_difference.high < 0
    assert summary.efficiency is not None
    assert 0.5 < summary.efficiency.value < 1


def test_a_flawless_teacher_has_nothing_against_it() -> None:
    summary = summarise(trace_samples(lab_answers(0.3, 0.0), PROMPTS))
    assert (summary.wrong, summary.failures, summary.slips) == (0, {}, {})
    assert summary.lost.value == summary.loop.value == summary.slip.value == 0
    assert summary.recheck_difference is not None
    assert summary.recheck_difference.value == 0


def test_running_text() -> None:
    answers = text_answers(
        ("6 * 7 = 42. The answer is 42. Wait, let me check. The answer is 41.", "wrong"),
        ("6 * 7 = 42. The answer is 42.", "correct"),
        ("6 * 7 = 48. \\boxed{48}", "wrong"),
    )
    traces = trace_samples(answers, decode=lambda tokens: "".join(map(chr, tokens)))
    assert list(traces.answers["failure"]) == ["over-thinking", "", "calculation"]
    assert list(traces.answers["lost"]) == [True, False, False]
    step = traces.steps.query("problem == 'p0' and step == 1").iloc[0]
    assert (step["first_token"], step["last_token"]) == (step["start"], step["end"])  # a token is a letter
    assert step["right"]
    summary = summarise(traces)
    assert {use.mark: use.per_1000 > 0 for use in summary.marks}["verification"]
    assert summary.abandoned_tokens is not None


def test_what_cannot_be_read_is_said_and_the_rest_is_read() -> None:
    answers = text_answers(("The answer is 42.", "correct"), ("6 * 7 = 41.", "wrong"))
    bare = Samples(answers.table.drop(columns="token_ids").assign(gold=["", "42"]), "m", "t")
    traces = trace_samples(bare, decode=lambda tokens: "")
    assert traces.notes == (
        "2 of 2 answers were saved without token ids: no loop is looked for in their tokens",
        "1 of 2 answers have no gold answer: none of them can be called lost",
    )
    assert list(traces.answers["slip"]) == ["", "calculation"]
    assert "do not decode piece by piece" in trace_samples(answers, decode=lambda tokens: "?" * len(tokens)).notes[0]
    unplaced = trace_samples(answers)
    assert "no tokenizer was at hand" in unplaced.notes[0]
    assert summarise(unplaced).abandoned_tokens is None


def test_saving_and_loading_is_the_identity(tmp_path: Any) -> None:
    traces = trace_samples(lab_answers(0.3, 0.7), PROMPTS)
    summary = summarise(traces)
    traces.save(tmp_path)
    summary.save(tmp_path)
    assert Traces.load(tmp_path) == traces
    assert TraceSummary.load(tmp_path).as_dict() == summary.as_dict()
    problems = list(traces.answers["problem"].drop_duplicates()[1:3])
    answers, steps = rows = Traces.load_rows(tmp_path, problems)
    assert rows == traces.rows_on(problems)
    assert {row["problem"] for row in answers} == {row["problem"] for row in steps} == set(problems)
    assert [row["model"] for row in records(traces)] == [traces.model] * len(traces.answers)  # a row per answer
    assert Traces.load_rows(tmp_path, []) == traces.rows_on([]) == ([], [])
    (tmp_path / "steps.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"steps.parquet is not a whole table"):
        Traces.load(tmp_path)


def test_transitions_by_hand() -> None:
    before = text_answers(("The answer is 42.", "correct"), ("\\boxed{1}", "wrong"), ("\\boxed{42}", "correct"))
    after = text_answers(("The answer is 41.", "wrong"), ("\\boxed{42}", "correct"), ("\\boxed{42}", "correct"))
    moved = compare_answers(before, after, trace_samples(before), trace_samples(after))
    assert (moved.flips.gained, moved.flips.lost, moved.both_right, moved.both_wrong) == (1, 1, 1, 0)
    assert moved.newly_wrong == {"guess": 1}
    assert [problem.problem for problem in moved.newly_right] == ["p1"]
    assert [problem.divergence for problem in moved.problems] == [len("The answer is 4"), len("\\boxed{"), None]
    assert moved.problems[0].p_value is None  # one answer each


def test_a_problem_that_flips_in_all_samples_is_found_among_many() -> None:
    before, after = lab_answers(0.0, 0.0, samples=8), lab_answers(0.0, 0.0, samples=8)
    table = after.table.copy()
    table.loc[table["problem"] == ITEMS[7].id, "verdict"] = "wrong"
    after = Samples(table, "m", "lab-t1")
    read = trace_samples(before, PROMPTS), trace_samples(after, PROMPTS)
    moved = compare_answers(before, after, *read)
    found = [problem.problem for problem in moved.problems if (problem.q_value or 1) <= 0.05]
    assert found == [ITEMS[7].id]


def test_runs_with_other_problems() -> None:
    before, after = text_answers(("\\boxed{42}", "correct"), ("\\boxed{1}", "wrong")), text_answers(("1", "wrong"))
    moved = compare_answers(before, after, trace_samples(before), trace_samples(after))
    assert moved.notes == ("1 problems that only one of the two was asked are left out; 1 are compared",)
    other = Samples(after.table.assign(problem="elsewhere"), "m", "t")
    with pytest.raises(InputError, match="were asked different problems of t; transitions need the same"):
        compare_answers(before, other, trace_samples(before), trace_samples(other))
