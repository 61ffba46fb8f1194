"""``headscope export --answers``: a model's correct answers, as another model's training records."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from tests.report.runs import RunWriter

from headscope.cli.main import main
from headscope.results.samples import Samples
from headscope.runs import RunDirectory
from headscope.studies.data.sources import TaskSource, training_records

TASK = TaskSource.from_ref("lab-t1", None, 3)
PROBLEMS = TASK.task().problems


def answers(*verdicts: str) -> Samples:
    """Two answers to each of three problems, with these verdicts."""
    rows: list[dict[str, Any]] = []
    for index, verdict in enumerate(verdicts):
        problem = PROBLEMS[index // 2]
        row = {"problem": problem.id, "group": "T1", "sample": index % 2, "seed": 0, "response": f"<ans> {index} é\n"}
        row |= {"tokens": 3, "finish": "stop", "verdict": verdict, "answer": "", "gold": problem.answer}
        rows.append(row)
    return Samples.from_records(rows, model="m", task="lab-t1")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    writer = RunWriter(tmp_path / "run", variants=("sft",))
    of_step = {0: answers(*["wrong"] * 6), 10: answers("correct", *["wrong"] * 5)}
    of_step[20] = answers("correct", "wrong", "wrong", "unfinished", "correct", "correct")
    places: list[tuple[Samples, dict[str, Any]]] = []
    for step, samples in of_step.items():
        places.append((samples, {"variant": "sft" if step else "base", "step": step}))
    places.append((answers(*["correct"] * 6), {"variant": "sft", "step": 20, "forbid": "wait"}))
    for samples, labels in places:
        folder = writer.unit("samples", task="lab-t1", **labels)
        samples.save(folder)
        (folder / "unit.json").write_text(json.dumps({"config": {"task": TASK.model_dump(mode="json")}}))
    return writer.close()


def export(run: RunDirectory, *more: str) -> list[str]:
    return ["export", "--answers", str(run.path), "--out", str(run.path.parent / "out.jsonl"), *more]


def test_correct_answers_become_records(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(export(run, "--variant", "sft", "--task", "lab-t1")) == 0
    sentence, path = capsys.readouterr().out.splitlines()
    assert sentence == "sft at step 20 on lab-t1: 3 of 6 answers are correct, to 2 of 3 problems; 3 different ones"
    records = training_records(path)
    assert [record["prompt"][-1]["content"] for record in records] == [
        PROBLEMS[0].prompt,
        PROBLEMS[2].prompt,
        PROBLEMS[2].prompt,
    ]
    assert [record["completion"][0]["content"] for record in records] == ["<ans> 0 é\n", "<ans> 4 é\n", "<ans> 5 é\n"]
    # TRL's own way of reading it.
    rows = load_dataset("json", data_files=path, split="train")
    assert rows["completion"] == [record["completion"][0]["content"] for record in records]


def test_all_answers_of_another_checkpoint(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(export(run, "--variant", "base", "--step", "0", "--task", "lab-t1", "--all", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["records"], told["answers"], told["model"]) == (6, 6, "base at step 0")
    lines = [json.loads(line) for line in Path(told["open"]).read_text(encoding="utf-8").splitlines()]
    assert [line["verdict"] for line in lines] == ["wrong"] * 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--variant sft", "--answers needs --task too"),
        ("--task lab-t1", "--answers needs --variant too"),
        ("--variant sfd --task lab-t1", "has no answers of variant 'sfd' (did you mean 'sft'?)"),
        ("--variant sft --task lab-t2", "has no answers of task 'lab-t2' (did you mean 'lab-t1'?)"),
        ("--variant sft --task lab-t1 --step 15", "sft has no answers to lab-t1 at step 15; allowed: 10, 20"),
        ("--variant base --task lab-t1", "base has no correct answer to lab-t1 among 6"),
        ("--variant sft --task lab-t1 --out x.json", "--out x.json does not end in .jsonl"),
        ("--variant sft --task lab-t1 --out no/x.jsonl", "--out no/x.jsonl lies in no, which does not exist"),
    ],
)
def test_what_cannot_be_exported(
    words: str, sentence: str, run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(export(run, *words.split())) == 2
    assert sentence in capsys.readouterr().err
    assert not (run.path.parent / "out.jsonl").exists()
