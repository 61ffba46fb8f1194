"""``headscope cite``: what a study rests on, and nothing that was made up."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.report.runs import RunWriter

from headscope.cli.main import main
from headscope.evaluation.benchmarks import BENCHMARKS
from headscope.lab.builtin_studies import builtin_studies
from headscope.studies.cite import DATA, LORA, METHODS, MIB, MODELS, PAPER, TRAININGS, cite, entries
from headscope.studies.reading import read_study

CITATION = (Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8")


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE)


def of_study(**study: Any) -> str:
    return cite({"name": "x", "base": {"model": "lab-m"}, "variants": [], "tasks": ["lab-t1"]} | study)


def test_the_table_is_whole_and_all_of_it_is_used() -> None:
    papers = entries()
    named = {
        PAPER,
        MIB,
        LORA,
        *METHODS.values(),
        *TRAININGS.values(),
        *MODELS.values(),
        *(k for d in DATA.values() for k in d),
    }
    assert set(papers) == named
    for entry in papers.values():
        assert re.search(r"^  eprint = \{\d{4}\.\d{5}\},$", entry, re.MULTILINE)
        assert {"title", "author", "year"} <= set(re.findall(r"^  (\w+) = ", entry, re.MULTILINE))
        # The identifier tells the year.
        eprint, year = re.search(r"eprint = \{(\d\d)", entry), re.search(r"year = \{(\d+)\}", entry)
        assert eprint is not None
        assert year is not None
        assert f"20{eprint[1]}" == year[1]
    assert set(DATA) <= {benchmark.hub for benchmark in BENCHMARKS.values()}


def people(entry: str) -> list[str]:
    """The authors of an entry, as BibTeX splits them: at every " and " outside of braces."""
    authors = re.search(r"^  author = \{(.*)\},$", entry, re.MULTILINE)
    assert authors is not None
    names, depth = [""], 0
    for part in re.split(r"( and |[{}])", authors[1]):
        depth += {"{": 1, "}": -1}.get(part, 0)
        if part == " and " and depth == 0:
            names.append("")
        else:
            names[-1] += part
    assert depth == 0
    return names


def test_every_author_has_a_surname_and_a_given_name() -> None:
    teams = []
    for key, entry in entries().items():
        names = people(entry)
        if names[-1] == "others":
            teams.append(key)
            names.pop()
        for name in names:
            is_organisation = name.startswith("{") and name.endswith("}")
            assert is_organisation or re.fullmatch(r"[^,]+, [A-Z][^,]*", name), (key, name)
        assert len(set(names)) == len(names) > 0
    # Reports with dozens of authors or more; of all others every author is named.
    assert set(teams) == {"yang2024qwen25math", "yang2025qwen3", "grattafiori2024llama3", "allal2025smollm2"}
    assert people(entries()[PAPER]) == ["Park, Yein", "Jeong, Minbyul", "Kang, Jaewoo"]
    assert people(entries()["deepseek2025r1"]) == ["{DeepSeek-AI}"]


def test_it_says_what_the_citation_file_says() -> None:
    authors = zip(*(re.findall(rf"{part}-names: (.*)", CITATION) for part in ("family", "given")), strict=True)
    assert [", ".join(author) for author in authors] == people(entries()[PAPER])
    assert re.search(r"arXiv:(\S+)", CITATION)[1] in entries()[PAPER]  # type: ignore[index]
    title = re.search(r'^title: "(.*)"$', CITATION, re.MULTILINE)
    assert title is not None
    assert title[1] in of_study()


@pytest.mark.parametrize("name", builtin_studies())
def test_every_built_in_study_is_cited_once_per_entry(name: str) -> None:
    text = cite(read_study(name).model_dump(mode="json"))
    assert len(set(keys(text))) == len(keys(text))
    assert keys(text)[:2] == ["headscope", PAPER]
    assert text.count("{") == text.count("}")
    assert "huggingface.co/runs/" not in text


def test_methods_models_and_data_are_found_wherever_they_stand() -> None:
    train = {"method": "grpo", "dataset": "gsm8k-train"}
    lora = {"method": "sft", "lora_rank": 8, "dataset": {"file": "data/my.jsonl"}}
    distilled = {"method": "distill", "dataset": "openr1-math", "teacher": "Qwen/Qwen3-8B"}
    variants = [{"name": "a", "train": train}, {"name": "b", "train": lora}, {"name": "c", "train": distilled}]
    variants += [
        {"name": "d", "checkpoints": {"model": "org/some_model"}},
        {"name": "e", "train": {**distilled, "teacher": "a"}},
    ]
    text = of_study(
        variants=variants,
        discover={"method": "eap", "metric": "nll", "tasks": ["math500"]},
        ablate={"guard": "triviaqa"},
    )
    assert set(keys(text)) == {
        "headscope", PAPER, MIB, LORA, METHODS["eap"], TRAININGS["grpo"], TRAININGS["distill"], MODELS["Qwen/Qwen3-"],
        "org-some-model", "open-r1-openr1-math-220k", *DATA["openai/gsm8k"], *DATA["HuggingFaceH4/MATH-500"],
        *DATA["mandarjoshi/trivia_qa"],
    }  # fmt: skip
    assert "url = {https://huggingface.co/org/some_model}" in text
    assert "title = {org/some\\_model}" in text
    assert "url = {https://huggingface.co/datasets/open-r1/OpenR1-Math-220k}" in text
    assert "% data/my.jsonl is headscope's own or lies on this machine: no entry" in text
    assert METHODS["eap-ig"] not in text


@pytest.mark.parametrize("path", ["runs/lab-base-s16-early", "./my-model", "../my-model", "/data/my-model"])
def test_a_path_that_is_not_there_is_no_hub_id(path: str) -> None:
    text = of_study(base={"model": path})
    assert f"% {path} is headscope's own or lies on this machine: no entry" in text
    assert "huggingface.co" not in text


def test_a_run_is_cited_by_its_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = RunWriter(tmp_path / "run", variants=("sft",))
    writer.study["base"] = {"model": "Qwen/Qwen3-8B-Base"}
    writer.study["tasks"] = ["gpqa"]
    assert main(["cite", str(writer.close().path)]) == 0
    printed = capsys.readouterr().out
    assert {"yang2025qwen3", "rein2023gpqa"} < set(keys(printed))
    assert main(["cite", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bibtex"] == printed
    assert main(["cite", "labb"]) == 2
    assert "did you mean 'lab'" in capsys.readouterr().err
