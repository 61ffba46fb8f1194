"""Models spoken to through another tokenizer or chat template than their own, in training, sampling and pairs."""

import json
from pathlib import Path

import pytest
from tests.studies.bench import Bench
from tests.studies.models.test_bad_models import swapped_tokens, without
from transformers import AutoTokenizer

from headscope.evaluation import Chat
from headscope.lab.tokenizer import CHAT_TEMPLATE
from headscope.pairs import Pairs
from headscope.results.samples import Samples
from headscope.runs import RunDirectory
from headscope.studies.answers.evaluate import load_for_engine
from headscope.studies.answers.texts import end_tokens
from headscope.studies.data import sources
from headscope.studies.models.study_stages import origin_stage
from headscope.studies.reading import read_study

LOUD = CHAT_TEMPLATE.replace("{{ message.content }}", "okay {{ message.content }}")


@pytest.fixture
def loud(bench: Bench) -> Path:
    """A template that says okay before every message."""
    assert LOUD != CHAT_TEMPLATE
    return bench.file("loud.jinja", LOUD)


def _prompts(bench: Bench) -> list[str]:
    tokenizer = AutoTokenizer.from_pretrained(bench.base)
    (record,) = RunDirectory.open(bench.out).find("pairs", pairs="main")
    return [tokenizer.decode(row) for row in Pairs.load(record.folder).clean]


def test_a_named_template_is_used_in_pairs_and_samples_and_makes_other_units(bench: Bench, loud: Path) -> None:
    assert bench.call("discover")[0] == 0
    assert not any("okay" in text for text in _prompts(bench))
    templates = [f"base.chat_template='{loud}'", f"variants.a.chat_template='{loud}'"]
    before = {record.folder for record in RunDirectory.open(bench.out).find("pairs")}
    assert bench.call("discover", *templates)[0] == 0
    assert all("<|im_start|>user okay" in text for text in _prompts(bench))
    assert not before & {record.folder for record in RunDirectory.open(bench.out).find("pairs")}
    assert bench.call("eval")[0] == 0
    plain = [Samples.load(record.folder) for record in RunDirectory.open(bench.out).find("samples")]
    assert bench.call("eval", *templates)[0] == 0
    spoken = [Samples.load(record.folder) for record in RunDirectory.open(bench.out).find("samples")]
    assert [one == other for one, other in zip(plain, spoken, strict=True)] == [False, False]


def test_a_base_without_template_is_trained_with_the_named_one_and_saved_with_it(bench: Bench, loud: Path) -> None:
    bare = bench.model("bare")
    without("chat_template.jinja")(bare)
    train = "variants.0={name: a, train: {preset: lab-sft, dataset: lab-traces-64, max_steps: 1, batch_size: 2}}"
    start = [f"base.model='{bare}'", train]
    code, said = bench.call("train", *start)
    assert code == 2
    assert "bare has no chat template" in said
    assert "give base.chat_template" in said
    assert bench.call("train", *start, f"base.chat_template='{loud}'")[0] == 0
    (record,) = RunDirectory.open(bench.out).find("train")
    assert (record.folder / "checkpoint-1" / "chat_template.jinja").read_text() == LOUD
    assert "user okay" in (record.folder / "trained_on.txt").read_text()
    assert bench.call("eval", *start, f"base.chat_template='{loud}'")[0] == 0


def test_a_given_tokenizer_wins_over_the_models_own(bench: Bench, loud: Path) -> None:
    lender = bench.model("lender")
    (lender / "chat_template.jinja").write_text(LOUD)
    settings = (f"base.tokenizer='{lender}'", f"variants.a.tokenizer='{lender}'")
    assert bench.call("discover", *settings)[0] == 0
    assert all("user okay" in text for text in _prompts(bench))


def test_a_tokenizer_of_other_ids_is_refused(bench: Bench) -> None:
    lender = bench.model("lender")
    swapped_tokens(lender)
    said = bench.refused("eval", f"base.tokenizer='{lender}'", "variants=[]", start="failed: samples base")
    assert (
        f"tokenizer {lender} has another vocabulary than the tokenizer of {bench.base}: token '0' is 48 in it" in said
    )
    assert said.endswith("give a tokenizer with the ids that the model was trained on")
    # A model without a tokenizer of its own tells how many ids it has, and no more.
    bare = bench.model("bare")
    without("tokenizer.json", "tokenizer_config.json")(bare)
    start = (f"base.model='{bare}'", "variants=[]")
    assert bench.call("eval", *start, f"base.tokenizer='{bench.base}'")[0] == 0
    content = json.loads((lender / "tokenizer.json").read_text())
    content["model"]["vocab"]["more"] = 500
    (lender / "tokenizer.json").write_text(json.dumps(content))
    said = bench.refused("eval", *start, f"base.tokenizer='{lender}'", start="failed: samples base")
    assert "has ids up to 500 and model" in said


def test_a_template_that_is_not_there_is_refused_before_anything_runs(bench: Bench) -> None:
    assert "no.jinja does not exist" in bench.refused("plan", "base.chat_template=/nowhere/no.jinja")
    said = bench.refused("plan", "variants.0={name: a, chat_template: qwen3, train: {preset: lab-sft, dataset: x}}")
    assert "give them to base" in said


def test_plain_text_becomes_messages_and_every_prompt_gets_the_system_prompt(bench: Bench) -> None:
    asked, answered = [{"role": "user", "content": "?E0"}], [{"role": "assistant", "content": "5"}]
    text = bench.file("text.jsonl", json.dumps({"prompt": "?E0", "completion": "5"}))
    chat = bench.file("chat.jsonl", json.dumps({"prompt": asked, "completion": answered}))
    for path in (text, chat):
        assert sources.training_records(str(path))[0] == {"prompt": asked, "completion": answered}
        (row,) = sources.training_records(str(path), Chat(system="wait"))
        assert row == {"prompt": [{"role": "system", "content": "wait"}, *asked], "completion": answered}
    own = [{"role": "system", "content": "to"}, *asked]
    path = bench.file("own.jsonl", json.dumps({"prompt": own, "completion": answered}))
    assert sources.training_records(str(path), Chat(system="wait"))[0]["prompt"] == own


def test_vllm_is_asked_through_the_same_template(bench: Bench, loud: Path) -> None:
    stage = origin_stage(read_study(str(bench.study), [f"base.chat_template='{loud}'"]))
    checkpoint, tokenizer = load_for_engine(stage, "vllm")
    assert (checkpoint.path, tokenizer.chat_template) == (str(bench.base), LOUD)


def test_a_text_ends_with_the_token_that_ended_the_answer(bench: Bench) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bench.base)
    end, pad = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|pad|>"])
    assert end_tokens({"finish": "length", "end": -1}, tokenizer) == ()
    assert end_tokens({"finish": "stop", "end": pad}, tokenizer) == (pad,)
    assert end_tokens({"finish": "stop", "end": -1}, tokenizer) == (end,)  # not kept by an older version
    tokenizer.eos_token = "<|pad|>"
    assert end_tokens({"finish": "stop", "end": -1}, tokenizer) == (end,)
