"""The JSON Schema of study files: up to date, named by every built-in study, and of one mind with the loader."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from headscope.cli.main import main
from headscope.errors import InputError
from headscope.lab.builtin_studies import builtin_studies, builtin_study
from headscope.studies.reading import parse_study, parse_yaml
from headscope.studies.study_file.reference import SECTIONS
from headscope.studies.study_file.schema import FILE, HEADER, study_schema, write_schema
from headscope.studies.study_file.training import Training
from headscope.training import PRESETS

ROOT = Path(__file__).parents[3]
SCHEMA = Draft202012Validator(study_schema())
BASE = "name: x\nbase: {model: lab-m}\ntasks: [lab-t1]\n"


def is_loaded(text: str) -> bool:
    try:
        parse_study(text, "study", Path("/nowhere"))
    except InputError:
        return False
    return True


def is_in_schema(text: str) -> bool:
    return SCHEMA.is_valid(parse_yaml(text, "study"))


def test_the_file_is_up_to_date() -> None:
    written = builtin_study("lab").with_name(FILE).read_text(encoding="utf-8")
    assert written == write_schema(), "make docs"


def test_it_is_a_schema_and_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    Draft202012Validator.check_schema(study_schema())
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == write_schema()


@pytest.mark.parametrize("name", builtin_studies())
def test_every_study_names_it_and_is_in_it(name: str) -> None:
    path = ROOT / "studies" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"{HEADER}\n")
    assert (path.parent / HEADER.partition("$schema=")[2]).is_file()
    assert list(SCHEMA.iter_errors(parse_yaml(text, name))) == []


@pytest.mark.parametrize("document", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")), ids=lambda p: p.name)
def test_every_study_of_the_documents_is_in_it(document: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        assert list(SCHEMA.iter_errors(parse_yaml(block, document.name))) == []


GUIDE = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
SECTION_NAMES = "discover|ablate|eval|checkpoints"
FRAGMENTS = re.findall(rf"`((?:{SECTION_NAMES}): \{{.*?\}})`", " ".join(GUIDE.split()))


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_every_fragment_of_the_guide_is_in_it_and_loaded(fragment: str) -> None:
    text = f"{BASE}variants: [{{name: v, {fragment}}}]" if fragment.startswith("checkpoints") else BASE + fragment
    assert is_in_schema(text)
    assert is_loaded(text)


SFT = "method: sft, dataset: lab-traces"
TAKEN = {
    "twins by name and by keys": f"variants: [{{name: v, train: {{{SFT}}}, twins: [shuffled_answers, {{seed: 1}}]}}]",
    "a preset": "variants: [{name: v, train: {preset: lab-grpo, dataset: lab-train, samples: 4}}]",
    "a preset and its method": f"variants: [{{name: v, train: {{preset: lab-sft, {SFT}}}}}]",
    "one word for a list": "ablate: {heads: emergent, on: base, operators: zero, generated: mean}",
    "a list": "ablate: {heads: [emergent, lost], on: [post, base]}",
    "one marker": "eval: {forbid: wait}",
    "a preset of sections": "discover: {preset: paper, nodes: 5}\nablate: {preset: paper, guard: lab-k}",
    "a pair file": "discover: {contrast: {file: pairs.jsonl, clean: a}}",
    "positions": "discover: {positions: [0, -1], opening_tokens: 4}",
    "adaptive nodes": "discover: {nodes: adaptive, tolerance: 0.01}",
    "a task file": "data_dir: .\nablate: {guard: {file: my.jsonl, question: q, answer: a}}",
    "revisions": "variants: [{name: v, checkpoints: {model: org/m, revisions: {main: 100}}}]",
    "nothing": "variants: []\ndata_dir: null",
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_both_take(text: str) -> None:
    assert is_loaded(BASE + text)
    assert is_in_schema(BASE + text)


REFUSED = {
    "a misspelt key": "evals: {samples: 4}",
    "a misspelt key inside": "eval: {sample: 4}",
    "a key of another method": f"variants: [{{name: v, train: {{{SFT}, prompts_per_step: 4}}}}]",
    "neither method nor preset": "variants: [{name: v, train: {dataset: lab-traces}}]",
    "a preset that is none": "variants: [{name: v, train: {preset: lab-gpro, dataset: lab-train}}]",
    "no data": "variants: [{name: v, train: {method: sft}}]",
    "a text for a number": "eval: {samples: many}",
    "a number out of range": "eval: {top_p: 1.5}",
    "zero samples": "eval: {samples: 0}",
    "a head set that is none": "ablate: {heads: emergnet}",
    "one of a list": "ablate: {operators: [zero, one]}",
    "an empty list": "ablate: {operators: []}",
    "a twin that is none": f"variants: [{{name: v, train: {{{SFT}}}, twins: [lr1]}}]",
    "a twin of another key": f"variants: [{{name: v, train: {{{SFT}}}, twins: [{{sed: 1}}]}}]",
    "a name with a slash": "variants: [{name: a/b, model: m}]",
    "a list for a mapping": "discover: [pairs]",
    "a task that is a number": "ablate: {tasks: [3]}",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_both_refuse(text: str) -> None:
    assert not is_loaded(BASE + text)
    assert not is_in_schema(BASE + text)


@pytest.mark.parametrize("key", ["name", "base", "tasks"])
def test_both_refuse_a_study_without(key: str) -> None:
    text = "\n".join(line for line in BASE.splitlines() if not line.startswith(f"{key}:"))
    assert not is_loaded(text)
    assert not is_in_schema(text)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("training", Training.__args__)
def test_a_preset_is_of_its_method_for_both(name: str, training: type[BaseModel]) -> None:
    method = training.model_fields["method"].default
    data = "dataset: lab-train, teacher: m" if method == "distill" else "dataset: lab-train"
    text = f"{BASE}variants: [{{name: v, train: {{preset: {name}, method: {method}, {data}}}}}]"
    assert is_loaded(text) == is_in_schema(text) == (PRESETS[name]["method"] == method)


@pytest.mark.parametrize("model", SECTIONS)
def test_every_key_has_its_sentence_and_no_other_key_is_taken(model: type[BaseModel]) -> None:
    schema = study_schema()
    definition: dict[str, Any] = schema if "tasks" in model.model_fields and "base" in model.model_fields else {}
    definition = definition or schema["$defs"][model.__name__]
    assert definition["additionalProperties"] is False
    assert {"preset", *model.model_fields} >= set(definition["properties"]) >= set(model.model_fields)
    assert all(key["description"] for key in definition["properties"].values())


def test_the_schema_line_says_nothing_about_the_study(tmp_path: Path) -> None:
    for name in builtin_studies():
        text = builtin_study(name).read_text(encoding="utf-8")
        plain = yaml.safe_dump(parse_yaml(text, name))
        assert parse_study(text, name, tmp_path) == parse_study(plain, name, tmp_path)
