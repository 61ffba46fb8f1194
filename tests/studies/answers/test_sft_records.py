"""``headscope export --answers``: a model's correct answers, as another model's training records."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from tests.report.runs import RunWriter
from tests.tiny_models import tiny_model
from trl import SFTConfig, SFTTrainer

from headscope.cli.main import main
from headscope.evaluation import Chat, Sampling, evaluate, prompt_ids
from headscope.lab.builtin_data import t1_traces
from headscope.lab.tokenizer import CHAT_TEMPLATE, build_tokenizer
from headscope.model_files.chat_templates import local_template
from headscope.model_files.named_models import named_model
from headscope.results.samples import Samples
from headscope.runs import RunDirectory
from headscope.studies.answers.sft_records import export_answers
from headscope.studies.data.sources import TaskSource, training_records
from headscope.studies.models.study_stages import origin_stage
from headscope.studies.reading import read_study
from headscope.studies.study_file.training import SftTraining
from headscope.studies.training.train import sft_rows
from headscope.training import SftConfig
from headscope.training.dataset import as_dataset
from headscope.training.rendering import check_completions, render_row
from headscope.training.sft import build_trainer

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
        write_record(folder, "/gone/since")
    return writer.close()


def write_record(folder: Path, model: str, task: TaskSource = TASK) -> None:
    """Say in a unit's record which model answered."""
    source = origin_stage(read_study("lab")).source
    source = source.model_copy(update={"place": source.place.model_copy(update={"folder": model})})
    config = {"task": task.model_dump(mode="json"), "model": source.model_dump(mode="json")}
    (folder / "unit.json").write_text(json.dumps({"config": config, "inputs": {}}))


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
    assert [{name: row[name] for name in ("prompt", "completion")} for row in rows] == records


def test_all_answers_of_another_checkpoint(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(export(run, "--variant", "base", "--step", "0", "--task", "lab-t1", "--all", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["records"], told["answers"], told["model"]) == (6, 6, "base at step 0")
    lines = [json.loads(line) for line in Path(told["open"]).read_text(encoding="utf-8").splitlines()]
    assert [line["verdict"] for line in lines] == ["wrong"] * 6


def save_run(path: Path, samples: Samples, task: TaskSource = TASK) -> RunDirectory:
    """Write a run whose one unit holds these answers of its base."""
    writer = RunWriter(path)
    folder = writer.unit("samples", task=task.name, variant="base", step=0)
    samples.save(folder)
    write_record(folder, "/gone/since", task)
    return writer.close()


def draw(tokenizer: Any, chat: Chat) -> Samples:
    """Draw answers of an untrained model with these settings of the chat template."""
    model = tiny_model("qwen3", vocab_size=len(tokenizer))
    return evaluate(model, tokenizer, TASK.task(), Sampling(samples=2, max_new_tokens=4), chat=chat, name="base")


def lab_tokenizer(template: str = CHAT_TEMPLATE) -> Any:
    tokenizer = build_tokenizer()
    # The lab's tokenizer refuses words it does not know, and the shipped templates have some.
    tokenizer.add_tokens(["system", "User", "Assistant", "\n", "<｜end▁of▁sentence｜>", *"<>_▁｜"])
    tokenizer.backend_tokenizer.model.unk_token = "?"
    tokenizer.chat_template = template
    return tokenizer


ASKED_WITH = {
    "plain": Chat(),
    "system prompt": Chat(system="E1 to E2"),
    "thinking off": Chat(system="E1 to E2", enable_thinking=False),
    "thinking on": Chat(enable_thinking=True),
}


@pytest.mark.parametrize("chat", ASKED_WITH.values(), ids=ASKED_WITH)
@pytest.mark.parametrize("template", [CHAT_TEMPLATE, local_template("qwen3")], ids=["lab", "qwen3"])
def test_a_record_is_read_as_the_model_was_asked(template: str, chat: Chat, tmp_path: Path) -> None:
    """Token for token, by a student whose own chat has no settings, and as a row of a hybrid."""
    tokenizer = lab_tokenizer(template)
    samples = draw(tokenizer, chat)
    out = tmp_path / "out.jsonl"
    export_answers(save_run(tmp_path / "run", samples), "base", "lab-t1", out, correct=False)
    settings = SftTraining(method="sft", dataset=str(out), hybrid=chat.enable_thinking is not None)
    rows = sft_rows(settings, Chat(), None)
    check_completions(tokenizer, rows)
    for row, problem, response in zip(rows, samples.table["problem"], samples.table["response"], strict=True):
        question = next(item.prompt for item in PROBLEMS if item.id == problem)
        rendered = render_row(tokenizer, row)
        asked = tokenizer(rendered.asked, add_special_tokens=False)["input_ids"]
        assert asked == prompt_ids(tokenizer, question, chat)
        assert (rendered.prompt + rendered.answer).startswith(rendered.asked)
        assert response.strip() in (rendered.prompt + rendered.answer).removeprefix(rendered.asked)


def test_a_thought_that_the_prompt_opens_is_whole_in_the_record(tmp_path: Path) -> None:
    """R1's template writes ``<think>`` where it asks; its own drops thoughts, and TRL's for training keeps them."""
    chat = Chat()
    samples = draw(lab_tokenizer(local_template("deepseek_r1_distill")), chat)
    out = tmp_path / "out.jsonl"
    export_answers(save_run(tmp_path / "run", samples), "base", "lab-t1", out, correct=False)
    rows = training_records(str(out))
    for row, response in zip(rows, samples.table["response"], strict=True):
        assert row["completion"][0]["content"] == f"<think>\n{response}"
    check_completions(lab_tokenizer(local_template("deepseek_r1_distill_training")), rows)


def test_answers_of_before_openings_were_kept_get_the_thought_their_prompt_opened(tmp_path: Path) -> None:
    samples = replace(answers(*["correct"] * 6), settings={"thought_opened": True})
    out = tmp_path / "out.jsonl"
    export_answers(save_run(tmp_path / "run", samples), "base", "lab-t1", out)
    assert training_records(str(out))[0]["completion"][0]["content"].startswith("<think>\n<ans> 0")


def test_trl_learns_the_chat_format_from_the_file(tmp_path: Path) -> None:
    chat = Chat(system="E1 to E2", enable_thinking=False)
    tokenizer = lab_tokenizer()
    samples = draw(tokenizer, chat)
    out = tmp_path / "out.jsonl"
    export_answers(save_run(tmp_path / "run", samples), "base", "lab-t1", out, correct=False)
    settings = SFTConfig(str(tmp_path / "trl"), bf16=False, report_to="none", max_steps=1, use_cpu=True)
    rows = load_dataset("json", data_files=str(out), split="train")
    model = tiny_model("qwen3", vocab_size=len(tokenizer))
    trainer = SFTTrainer(model, args=settings, train_dataset=rows, processing_class=tokenizer)
    for row, (problem, response) in zip(
        trainer.train_dataset, samples.table[["problem", "response"]].itertuples(index=False), strict=True
    ):
        question = next(item.prompt for item in PROBLEMS if item.id == problem)
        asked = prompt_ids(tokenizer, question, chat)
        assert row["input_ids"][: len(asked)] == asked
        assert row["labels"][: len(asked)] == [-100] * len(asked)
        learned = [label for label in row["labels"] if label != -100]
        assert learned == tokenizer(f"{response}{tokenizer.eos_token}", add_special_tokens=False)["input_ids"]


def test_lab_distilled_learns_the_same_tokens_from_messages_as_it_did_from_texts(tmp_path: Path) -> None:
    task = TaskSource.from_ref("lab-t1-train", None, 8)
    rows = []
    for problem, trace in zip(task.task().problems, t1_traces(8), strict=True):
        row = {"problem": problem.id, "group": "T1", "sample": 0, "seed": 0, "finish": "stop", "verdict": "correct"}
        row |= {"response": trace["completion"][0]["content"], "tokens": 3, "answer": "", "gold": problem.answer}
        rows.append(row)
    chat = {"system": None, "enable_thinking": None, "date_string": None}
    samples = Samples.from_records(rows, model="m", task="lab-t1-train", settings={"chat": chat})
    out, texts = tmp_path / "out.jsonl", tmp_path / "texts.jsonl"
    export_answers(save_run(tmp_path / "run", samples, task), "base", "lab-t1-train", out)
    prompts = task.prompts()
    lines = [json.dumps({"prompt": prompts[row["problem"]], "completion": row["response"]}) for row in rows]
    texts.write_text("\n".join(lines))
    tiny_model("qwen3", vocab_size=79).save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    tokenised = []
    for file in (texts, out):
        settings = SftTraining(method="sft", dataset=str(file), max_steps=1)
        data = as_dataset(sft_rows(settings, Chat(), None), ("prompt", "completion"))
        config = SftConfig(max_steps=1, batch_size=4, max_length=256)
        folder = tmp_path / file.stem
        folder.mkdir()
        trainer = build_trainer(tmp_path / "model", None, data, config, folder)
        tokenised.append([{name: row[name] for name in ("input_ids", "labels")} for row in trainer.train_dataset])
    assert tokenised[0] == tokenised[1]
    assert build_tokenizer().eos_token_id in tokenised[0][0]["labels"]


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


def test_answers_that_the_models_tokenizer_cannot_read_back_are_left_out(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lab writes the symbols E20 and 5 as E205, which is none of its symbols."""
    (unit,) = [unit for unit in run.results(Samples) if unit.labels["step"] == 20 and "forbid" not in unit.labels]
    samples = answers(*["correct"] * 6)
    responses = ["<ans> 1", "<think> 5E205=3; </think> <ans> 3", *["<ans> 2"] * 4]
    replace(samples, table=samples.table.assign(response=responses)).save(unit.folder)
    write_record(unit.folder, str(named_model("lab-m")))
    assert main(export(run, "--variant", "sft", "--task", "lab-t1")) == 0
    counted, left_out, path = capsys.readouterr().out.splitlines()
    assert "5 of 6 answers are correct" in counted
    assert left_out == "left out: 1 that the model's tokenizer has no tokens for when read as text"
    assert not any("E205" in record["completion"][0]["content"] for record in training_records(path))
