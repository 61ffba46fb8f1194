"""``traces``: the table, every step as JSON, one problem's answers next to each other, and sentences for bad input."""

import json
from pathlib import Path

import pytest
from tests.report.runs import RunWriter, add_read, add_samples, t1_answers

from headscope.cli.main import main
from headscope.runs import RunDirectory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Answers of two models to T1 that were read, and of the base to T2 that were not."""
    writer = RunWriter(tmp_path_factory.mktemp("traces") / "run", variants=("sft",))
    answers = {variant: t1_answers(variant) for variant in ("base", "sft")}
    for variant, samples in answers.items():
        add_samples(writer, variant, 0, "T1", samples, 0.5)
    add_read(writer, answers, {"base": 0, "sft": 0}, "T1")
    add_samples(writer, "base", 0, "T2", t1_answers("base"), 0.5)
    folder = writer.path / "units" / "samples" / writer.rows[-2]["digest"]
    (folder / "unit.json").write_text('{"inputs": {}, "config": {}}')
    return writer.close()


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_a_row_per_model_and_task_also_of_answers_nobody_read(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headscope.report.sentences.FEWEST", 5)
    content = json.loads(call(capsys, "traces", str(run.path), "--json"))
    assert [(row["task"], row["model"], row["answers"]) for row in content["traces"]] == [
        ("T1", "base", 12),
        ("T1", "sft", 12),
        ("T2", "base", 12),
    ]
    assert content["traces"][1]["lost"]["value"] == pytest.approx(8 / 12)
    assert content["traces"][1]["failures"] == {"over-thinking": 8}
    assert any("the problems cannot be read" in note for note in content["notes"])
    printed = call(capsys, "traces", str(run.path), "--variant", "sft").splitlines()
    blank = printed.index("")
    assert "sft: 8 of its 8 wrong answers on T1 had stated the right one" in "".join(printed[:blank])
    assert printed[blank + 1].startswith("| task | model | step | answers | right | lost")
    assert printed[-1] == str(run.path)


def test_every_step_is_a_line_of_json(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    out = call(capsys, "traces", str(run.path), "--jsonl", "--task", "T1", "--variant", "sft", "--problem", "T1-0")
    steps = [json.loads(line) for line in out.splitlines()]
    assert [step["index"] for step in steps] == list(range(len(steps)))
    first = steps[0]
    assert (first["model"], first["step"], first["task"], first["problem"]) == ("sft", 0, "T1", "T1-0")
    text = t1_answers("sft").table["response"][0]
    assert text[slice(*first["characters"])] == "<think>😀 0\u200b+4=8."
    assert (first["slip"], first["repaired"], first["marks"]) == ("calculation", True, [])
    assert steps[1]["marks"] == ["verification"]


def test_answers_stand_next_to_each_other_or_below_in_a_narrow_terminal(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show = ("traces", str(run.path), "--problem", "T1-0", "--task", "T1")
    monkeypatch.setenv("COLUMNS", "120")
    wide = call(capsys, *show)
    assert "\x1b" not in wide
    heading = wide.splitlines()[2]
    assert "base, step 0, sample 0: correct, " in heading
    assert " │ sft, step 0, sample 0: wrong (over-thinking), " in heading
    assert "✓   Ans 6." in wide
    assert "∞   loop. [loop, every 5 tokens]" in wide
    assert "✎ repaired slip: " in wide
    monkeypatch.setenv("COLUMNS", "60")
    narrow = call(capsys, *show).splitlines()
    assert narrow.index(next(line for line in narrow if line.startswith("sft, step 0"))) > 8
    assert max(map(len, narrow[2:-8])) <= 60
    (first, second) = json.loads(call(capsys, *show, "--json"))["answers"]
    assert (first["model"], second["model"], second["failure"]) == ("base", "sft", "over-thinking")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--problem", "T1-99"], "no answers to problem 'T1-99' (did you mean 'T1-9'?)"),
        (["--problem", "zzz"], "no answers to problem 'zzz' (there are 12, as 'T1-0' and 'T1-11')"),
        (["--problem", "T1-0", "--sample", "3"], "--sample 3 does not exist: problem 'T1-0' has the samples 0-0"),
        (["--variant", "stf"], "no answers of variant 'stf' (did you mean 'sft'?)"),
        (["--task", "T9"], "no answers to task 'T9' (allowed: T1, T2)"),
        (["--task", "T2", "--variant", "sft"], "no answers of sft to T2"),
        (["--json", "--jsonl"], "give one of them"),
    ],
)
def test_bad_input_is_one_sentence(
    run: RunDirectory, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = call(capsys, "traces", str(run.path), *arguments, code=2)
    assert sentence in said
    assert said.count("\n") == 1


def test_a_run_without_answers_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = RunWriter(tmp_path / "run").close().path
    assert "has no answers yet: headscope eval draws them" in call(capsys, "traces", str(path), code=2)
