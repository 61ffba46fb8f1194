"""``validate --resolve``: what would fail hours later is refused in one sentence, and what is fine passes."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.studies.bench import Bench
from tests.studies.models.test_bad_models import biased, headless, narrow, weights

from headscope.cli.main import main
from headscope.errors import InputError
from headscope.evaluation import vllm_engine
from headscope.evaluation.vllm_settings import Checkpoint
from headscope.models import load_model

SFT = "variants.0={{name: a, train: {{preset: lab-sft, max_steps: 1, batch_size: 2, {}}}}}"
GRPO = "variants.0={{name: a, train: {{preset: lab-grpo, max_steps: 1, prompts_per_step: 2, samples: 2, {}}}}}"
DISTILL = "variants.0={{name: a, train: {{method: distill, dataset: lab-train, batch_size: 2, teacher: '{}'}}}}"
ENOUGH = ("eval.problems=20", "ablate.problems=20", "ablate.controls=19", "ablate.generated_controls=19")


def resolve(bench: Bench, *settings: str, code: int = 0) -> str:
    """What ``validate --resolve`` prints, on standard output if it passes and on standard error if it refuses."""
    changed = [part for each in settings for part in ("--set", each)]
    bench.capture.readouterr()
    found = main(["validate", str(bench.study), "--resolve", *changed])
    said = bench.capture.readouterr()
    assert found == code, said
    if code == 2:
        last = said.err.splitlines()[-1]
        assert last.startswith("headscope: ")
        return last
    return said.out


@pytest.fixture
def other(bench: Bench) -> Path:
    """A model that differs from the base in one weight."""
    folder = bench.model("post")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] += torch.tensor(0.5)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_variant_that_is_the_base_is_refused_by_name(bench: Bench, other: Path) -> None:
    copy = bench.model("copy")
    (copy / "chat_template.jinja").write_text((copy / "chat_template.jinja").read_text() + " ")
    resaved = bench.folder / "resaved"  # in files of another number and other metadata
    load_model(bench.base).model.save_pretrained(resaved, max_shard_size="10KB")
    load_model(bench.base).tokenizer.save_pretrained(resaved)
    assert len(list(resaved.glob("*.safetensors"))) > 1
    wider = bench.model("wider")
    tensors = load_file(wider / "model.safetensors")
    save_file({name: tensor.double() for name, tensor in tensors.items()}, wider / "model.safetensors")
    for same in (bench.base, copy, resaved, wider):
        said = resolve(bench, f"variants.a.model='{same}'", code=2)
        assert f"variant a ({same}) has the same weights as the base ({bench.base})" in said
    assert "study bad is valid" in resolve(bench, f"variants.a.model='{other}'")
    # One model asked in two modes is a comparison.
    assert "is valid" in resolve(bench, "base.chat.enable_thinking=true", "variants.a.chat.enable_thinking=false")


def test_a_model_that_the_devices_of_a_unit_do_not_hold_is_refused(
    bench: Bench, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, vllm = f"variants.a.model='{other}'", "eval.engine=vllm"
    weights = vllm_engine.served_model(Checkpoint(str(bench.base), "float32")).weight_bytes
    monkeypatch.setattr(vllm_engine, "device_bytes", lambda: weights)  # vLLM takes less than all of a device
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr("headscope.studies.run.check_installed", lambda: None)
    for kind in ("processes", "ray"):
        said = resolve(bench, post, vllm, f"executor={kind}", code=2)
        assert f"{bench.base} takes 0.0 GiB in dtype float32" in said
        assert "executor local has all" in said
    assert "is valid" in resolve(bench, post, vllm)  # split over two
    assert "is valid" in resolve(bench, post, vllm, "executor=processes", "base.dtype=bfloat16")
    assert "is valid" in resolve(bench, post, "executor=processes")


def test_an_adapter_that_was_never_trained_is_refused_by_name(bench: Bench) -> None:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(load_model(bench.base).model, LoraConfig(target_modules=["q_proj", "embed_tokens"]))
    adapted.save_pretrained(bench.folder / "adapter", save_embedding_layers=False)
    variant = f"variants.a.model='{bench.folder / 'adapter'}'"
    assert "is an adapter that was never trained" in resolve(bench, variant, code=2)
    weights = bench.folder / "adapter" / "adapter_model.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("lora_B.weight"))
    save_file(tensors | {name: torch.ones_like(tensors[name])}, weights)
    said = resolve(bench, variant)
    assert "is valid" in said
    assert "adapter of" not in said
    other = bench.model()
    tensors = load_file(other / "model.safetensors")
    save_file({each: tensor * 2 for each, tensor in tensors.items()}, other / "model.safetensors", {"format": "pt"})
    mixed = resolve(bench, variant, f"base.model='{other}'")
    assert f"variant a is an adapter of {bench.base}, which is not the base" in mixed


# What the names and shapes of a folder's weights tell, held against the class that would load them.
MISFITS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], None], str]] = {
    "bias": (
        biased,
        "has 1 weight without a place in Qwen3ForCausalLM, the first is model.layers.1.self_attn.q_proj.bias",
    ),
    "head of a classifier": (
        lambda tensors: tensors.update({"score.weight": torch.zeros(2, 32)}),
        "has 1 weight without a place in Qwen3ForCausalLM, the first is score.weight; load it as it was trained",
    ),
    "missing": (
        headless,
        "lacks 1 of its weights, the first is model.layers.1.self_attn.o_proj.weight; all are needed",
    ),
    "narrow": (narrow, "has 1 weight of another shape than its config says, the first is model.layers.1.mlp.up_proj.w"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_weights_that_do_not_fit_their_class_are_refused_before_they_are_read(
    bench: Bench, other: Path, case: str
) -> None:
    change, words = MISFITS[case]
    weights(change)(other)
    last = bench.model("run/checkpoint-2")
    with_other_norm = load_file(last / "model.safetensors")
    with_other_norm["model.norm.weight"] *= 2
    save_file(with_other_norm, last / "model.safetensors", metadata={"format": "pt"})
    shutil.copytree(other, bench.folder / "run" / "checkpoint-1")
    checkpoints = f'{{"name": "a", "checkpoints": "{bench.folder}/run/checkpoint-*"}}'
    for settings in (
        (f"variants.a.model='{other}'",),
        (f"base.model='{other}'", "variants=[]"),
        (f"variants.0={checkpoints}",),
    ):
        said = resolve(bench, *settings, code=2)
        assert words in said
    with pytest.raises(InputError, match=re.escape(words)):
        load_model(other)


def test_every_model_is_asked_a_prompt_of_every_task(bench: Bench, other: Path) -> None:
    words = bench.file("words.jsonl", '{"question": "what is this?", "answer": "a"}\n')
    post = f"variants.a.model='{other}'"
    said = resolve(bench, post, f"tasks=[lab-t1, {{file: '{words}', kind: exact}}]", code=2)
    assert "base cannot be asked words/0: its prompt holds 'w', for which the model's tokenizer has no token" in said
    assert "exceed the model's context of 256; lower eval.max_new_tokens" in resolve(
        bench, post, "eval.max_new_tokens=250", code=2
    )
    assert "is valid" in resolve(bench, post, "eval.max_new_tokens=250", "eval.engine=vllm", "ablate.heads=[]")
    assert "has no effect" in resolve(bench, post, "variants.a.chat.date_string=today", code=2)
    (other / "chat_template.jinja").unlink()
    assert "a cannot be asked" in (said := resolve(bench, post, code=2))
    assert "post has no chat template" in said


def test_every_problem_is_encoded_before_hours_of_work(bench: Bench, other: Path) -> None:
    """The one that cannot be is neither the first nor the longest."""
    row, post = '{{"question": "E0=5;?E0{}", "answer": "5"}}\n', f"variants.a.model='{other}'"
    rows = [row.format(""), row.format(";E1=5"), row.format("É"), row.format(";E1=5;E2=3"), row.format(";E2=5")]
    bad, good = bench.file("bad.jsonl", "".join(rows)), bench.file("good.jsonl", "".join(rows[:2] + rows[3:]))
    for key in ("tasks", "discover.tasks", "ablate.tasks"):
        said = resolve(
            bench, post, f"{key}=[{{file: '{bad}', kind: exact}}]", "eval.problems=4", "ablate.problems=4", code=2
        )
        assert "base cannot be asked bad/2: its prompt holds 'É', for which the model's tokenizer has no token" in said
        assert "is valid" in resolve(bench, post, f"{key}=[{{file: '{good}', kind: exact}}]")
    said = resolve(bench, GRPO.format(f"dataset: {{file: '{bad}', kind: exact}}"), code=2)
    assert "variant a cannot be trained: row 3 of the training data holds 'É', for which" in said


def test_a_template_that_loops_is_refused_before_any_work(bench: Bench, other: Path) -> None:
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    path = bench.file("own.jinja", loops)
    said = resolve(bench, f"variants.a.model='{other}'", f"base.chat_template='{path}'", code=2)
    assert re.search(r"base cannot be asked .*own\.jinja is not done with a conversation of 1 message after 3 s", said)


def test_sft_data_is_opened_rendered_and_shown(bench: Bench) -> None:
    out = resolve(bench, SFT.format("dataset: lab-traces"))
    assert "the first row a is trained on:\n--- prompt: read, no loss ---\n<|im_start|>user" in out
    assert "--- answer: learned ---\n <think> okay" in out
    said = resolve(bench, SFT.format("dataset: nobody/nothing"), code=2)
    assert "variant a cannot be trained: data set 'nobody/nothing' is none of" in said
    path = bench.file("columns.jsonl", json.dumps({"text": "5"}))
    said = resolve(bench, SFT.format(f"dataset: '{path}'"), code=2)
    assert "has the columns text; needed: prompt and completion, messages, or a task with worked answers" in said
    said = resolve(bench, SFT.format("dataset: lab-train"), code=2)
    assert "task 'lab-train' has no worked answer to 2000 of 2000 problems" in said
    assert "gsm8k-train or openr1-math" in said
    said = resolve(bench, SFT.format("dataset: lab-traces, hybrid: true"), code=2)
    assert "has no 'chat_template_kwargs'" in said


ASKED, ANSWER = {"role": "user", "content": "?E0"}, {"role": "assistant", "content": "5"}
GOOD = {"prompt": "?E0", "completion": "5"}
# Rows of training data, with what is said of them.
ROWS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "null completion": ([GOOD, GOOD | {"completion": None}], "row 2 of {} has nothing in column 'completion'"),
    "all null": ([{"prompt": "?E0", "completion": None}] * 2, "row 1 of {} has nothing in column 'completion'"),
    "no completion": ([GOOD, {"prompt": "?E0"}], "row 2 of {} has nothing in column 'completion'"),
    "number": ([GOOD, {"prompt": "?E0", "completion": 5}], "row 2 of {} has 5 in column 'completion'; messages"),
    "no role": ([{"prompt": [{"content": "?E0"}], "completion": "5"}], "row 1 of {} has a message without a role"),
    "no message": ([{"prompt": [], "completion": "5"}], "row 1 of {} has no message in column 'prompt'"),
    "no content": (
        [{"prompt": [ASKED], "completion": [{"role": "assistant", "content": None}]}],
        "row 1 of {} has a message of the role assistant without content in column 'completion'",
    ),
    "parts": (
        [{"prompt": [{"role": "user", "content": [{"text": "?E0"}]}], "completion": "5"}],
        "row 1 of {} has [{'text': '?E0'}] as content in column 'prompt'; text is needed",
    ),
    "assistant alone": ([{"messages": [ANSWER]}], "row 1 of {} has 1 message in column 'messages'; two are needed"),
    "no messages": ([{"messages": []}], "row 1 of {} has no message in column 'messages'"),
    "null messages": (
        [{"messages": [ASKED, ANSWER]}, {"messages": None}],
        "row 2 of {} has nothing in column 'messages'",
    ),
    "ends with the user": (
        [{"messages": [ASKED, ANSWER, ASKED]}],
        "row 1 of {} ends with a message of the role user in column 'messages', and the last message is",
    ),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize("case", ROWS)
def test_a_row_that_cannot_be_learned_is_named(bench: Bench, case: str, suffix: str) -> None:
    rows, words = ROWS[case]
    lines = [json.dumps(row) for row in rows]
    path = bench.file(f"train{suffix}", "\n".join(lines) if suffix == ".jsonl" else f"[{', '.join(lines)}]")
    for system in ((), ("base.chat.system=to",)):
        said = resolve(bench, SFT.format(f"dataset: '{path}'"), *system, code=2)
        assert words.replace("{}", str(path)) in said


def test_rows_that_can_be_learned_pass(bench: Bench) -> None:
    talks = [{"messages": [ASKED, ANSWER]}, {"messages": [ASKED, ANSWER, ASKED, ANSWER]}]
    texts = [GOOD, {"prompt": [ASKED], "completion": [ANSWER]}]  # both kinds in one file
    for name, rows in (("talks.jsonl", talks), ("texts.jsonl", texts), ("lines.json", texts)):
        path = bench.file(name, "\n".join(map(json.dumps, rows)))
        out = resolve(bench, SFT.format(f"dataset: '{path}'"))
        assert "<|im_start|>user ?E0<|im_end|>" in out
        assert "empty completion" not in out
    path = bench.file("empty.jsonl", "\n".join(map(json.dumps, [GOOD, {"prompt": "?E0", "completion": ""}])))
    out = resolve(bench, SFT.format(f"dataset: '{path}'"))
    assert "--- 1 row of 2 with an empty completion: only the end of a turn is learned ---" in out


def test_data_that_is_not_there_or_empty_is_told_as_such(bench: Bench) -> None:
    said = resolve(bench, SFT.format("dataset: nope.jsonl"), code=2)
    assert f"data set {bench.folder / 'nope.jsonl'} does not exist; correct its path" in said
    path = bench.file("empty.jsonl", "")
    assert f"data set {path} is empty" in resolve(bench, SFT.format(f"dataset: '{path}'"), code=2)
    said = resolve(bench, "tasks=[nope.jsonl]", code=2)
    assert f"task file {bench.folder / 'nope.jsonl'} does not exist; correct its path" in said
    path = bench.file("columns.jsonl", '{"q": "?E0", "a": "5"}')
    said = resolve(bench, f"tasks=['{path}']", code=2)
    assert f"{path} has no column question, answer, only a, q; say which column is what, as in {{file: …" in said


def test_rows_of_a_hub_data_set_are_named_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset

    def load(rows: list[dict[str, Any]]) -> None:
        monkeypatch.setattr("headscope.model_files.hub.load_dataset", lambda *_, **__: Dataset.from_list(rows))

    load([{"messages": [ASKED, ANSWER]}, {"messages": [ANSWER]}])
    said = resolve(bench, SFT.format("dataset: some/set"), code=2)
    assert "row 2 of some/set has 1 message in column 'messages'; two are needed" in said
    load([{"messages": [ASKED, ANSWER], "id": 1}] * 2)
    assert "<|im_start|>user ?E0<|im_end|>" in resolve(bench, SFT.format("dataset: some/set"))
    assert bench.capture.readouterr().err == ""


def test_a_teacher_is_looked_for_and_has_the_students_vocabulary(bench: Bench, other: Path) -> None:
    assert "(what the model writes" in resolve(bench, DISTILL.format(other))
    said = resolve(bench, DISTILL.format("nope/nope"), code=2)
    assert "model nope/nope is not on this machine, and the hub cannot be reached" in said
    path = other / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 80}))
    tensors = load_file(other / "model.safetensors")
    tensors["model.embed_tokens.weight"] = torch.zeros(80, 32)
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    said = resolve(bench, DISTILL.format(other), code=2)
    assert (
        f"variant a cannot be trained: teacher {other} has 80 vocabulary entries and model {bench.base} has 79" in said
    )
    (other / "model.safetensors").unlink()
    assert f"{other} has no weights; safetensors are needed" in resolve(bench, DISTILL.format(other), code=2)


def test_a_variant_that_teaches_is_taken_as_it_is(bench: Bench) -> None:
    teacher = "{name: t, train: {preset: lab-sft, dataset: lab-traces-64, max_steps: 1, batch_size: 2}}"
    student = DISTILL.format("t").removeprefix("variants.0=")
    assert "is valid" in resolve(bench, f"variants=[{teacher}, {student}]")


def test_a_template_that_loses_a_thought_is_refused_before_training(bench: Bench) -> None:
    template = (bench.base / "chat_template.jinja").read_text()
    forgetful = bench.file(
        "forgetful.jinja", template.replace("{{ message.content }}", "{{ message.content.split('</think>')[-1] }}")
    )
    said = resolve(bench, SFT.format("dataset: lab-traces"), f"base.chat_template='{forgetful}'", code=2)
    assert f"variant a cannot be trained: chat template {forgetful} leaves '<think> okay" in said


def test_a_template_that_never_stops_or_is_none_is_refused_by_its_name(bench: Bench) -> None:
    plain = bench.file("plain.jinja", (bench.base / "chat_template.jinja").read_text().replace("<|im_end|>", " "))
    said = resolve(bench, SFT.format("dataset: lab-traces"), f"base.chat_template='{plain}'", code=2)
    assert f"variant a cannot be trained: chat template {plain} ends the answer of row 1 with" in said
    assert "would never learn to stop; give base.chat_template a template that writes one" in said
    broken = bench.file("bad.jinja", "{% for m in messages %}\n{{ m.content }{% endfor %}")
    said = resolve(bench, "variants=[]", f"base.chat_template='{broken}'", code=2)
    assert f": chat template {broken} is not valid Jinja: unexpected '}}' in line 2" in said


def test_grpo_data_needs_answers_rewards_and_enough_prompts(bench: Bench) -> None:
    out = resolve(bench, GRPO.format("dataset: lab-train, rewards: [correctness, plan]"))
    assert "(what the model writes, up to its end of turn)" in out
    path = bench.file("two.jsonl", '{"prompt": "?E0", "answer": "5"}\n{"prompt": "?E1", "answer": "6"}\n')
    assert "<|im_start|>user ?E0" in resolve(bench, GRPO.format(f"dataset: {{file: '{path}', kind: exact}}"))
    said = resolve(bench, GRPO.format(f"dataset: '{path}', rewards: [plan]"), code=2)
    assert "reward plan reads the lab's step labels" in said
    said = resolve(bench, GRPO.format(f"dataset: '{path}'").replace("step: 2", "step: 3"), code=2)
    assert "2 prompts cannot fill a step of prompts_per_step 3; lower prompts_per_step to at most 2" in said
    path = bench.file("chat.jsonl", '{"prompt": [{"role": "user", "content": "?E0"}], "answer": "5"}\n')
    assert "a list in column 'prompt'" in resolve(bench, GRPO.format(f"dataset: '{path}'"), code=2)
    path = bench.file("open.jsonl", '{"prompt": "?E0"}\n')
    assert "has no column answer, only prompt; say" in resolve(bench, GRPO.format(f"dataset: '{path}'"), code=2)


def test_counts_that_cannot_decide_are_told_and_enough_are_not(bench: Bench, other: Path) -> None:
    post = f"variants.a.model='{other}'"
    said = resolve(bench, post, "ablate.texts=9")
    assert "warning: eval.problems takes 2 problems of task lab-t1: no verdict" in said
    assert "warning: ablate.texts is 9" in said
    assert "warning: ablate.controls is 1: with fewer than 19 random sets p ≤ 0.05 cannot be reached" in said
    assert "warning: discover.pairs" not in said
    assert "warning" not in resolve(bench, post, *ENOUGH)
    said = resolve(bench, post, *ENOUGH, "discover.tasks=[lab-t4-30]", "discover.pairs=16")
    assert "warning: discover.pairs is 16, and each of the two sets of pairs has 15 of the 30 problems" in said
    bench.capture.readouterr()
    changed = [part for each in (post, *ENOUGH[:3], "ablate.generated_controls=18") for part in ("--set", each)]
    assert main(["plan", str(bench.study), "--out", str(bench.out), *changed]) == 0
    assert bench.capture.readouterr().out.count("warning: ablate.generated_controls is 18") == 1


def test_a_tasks_own_prompt_is_asked_and_trained_with(bench: Bench) -> None:
    path = bench.file("own.jsonl", '{"question": "?E0", "answer": "5", "steps": "E0=5"}\n' * 2)
    own = f"{{file: '{path}', kind: exact, solution: steps, prompt: 'okay {{question}} wait'}}"
    out = resolve(bench, SFT.format(f"dataset: {own}"))
    assert "<|im_start|>user okay ?E0 wait<|im_end|>" in out
    assert "--- answer: learned ---\n E0=5<|im_end|>" in out
    assert "okay ?E0 wait" in resolve(bench, GRPO.format(f"dataset: {own}"))
    assert bench.call("train", SFT.format(f"dataset: {own}"))[0] == 0
    bad = own.replace("{question}", "")
    assert "prompt is 'okay  wait'; it needs {question}" in resolve(bench, SFT.format(f"dataset: {bad}"), code=2)


@pytest.mark.parametrize(
    "training",
    [
        "{method: sft, dataset: rows.jsonl, max_steps: 1}",
        "{method: grpo, dataset: {file: rows.jsonl, question: prompt, answer: completion, kind: exact}, max_steps: 1, "
        "prompts_per_step: 2, samples: 2}",
    ],
)
def test_training_data_without_tokens_is_refused_by_row(
    training: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": prompt, "completion": "4"} for prompt in (*["c=4; ?c"] * 1200, "What is four?")]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    study = tmp_path / "s.yaml"
    study.write_text(
        f"name: x\nbase: {{model: lab-s}}\nvariants: [{{name: a, train: {training}}}]\ntasks: [lab-t1]\n"
        "eval: {max_new_tokens: 90}\n"
    )
    assert main(["validate", str(study), "--resolve"]) == 2
    assert "row 1201 of the training data holds 'W', for which the model's tokenizer" in capsys.readouterr().err
