"""What the README shows is read by the program it is about."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from headscope.cli.main import app
from headscope.studies.reading import read_study

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
STUDIES = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


def test_its_study_is_valid(tmp_path, monkeypatch):
    for name in ("sft", "lora"):
        (tmp_path / "runs" / name / "checkpoint-1").mkdir(parents=True)
    (tmp_path / "my.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n')
    (tmp_path / "study.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    study = read_study("study.yaml", [])
    assert [variant.name for variant in study.variants] == ["sft", "grpo", "lora"]


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"headscope ([a-z]+)", "\n".join(blocks(""))))))
def test_its_verbs_exist(verb):
    assert verb in get_command(app).commands


def test_every_verb_is_named_in_it_or_in_the_guide_to_studies():
    unnamed = [
        verb for verb in get_command(app).commands if not re.search(rf"(`|headscope ){verb}\b", README + STUDIES)
    ]
    assert not unnamed


def test_it_is_short():
    assert len(README.splitlines()) < 120


def test_its_tree_is_the_tree():
    lines = next(block for block in blocks("") if "src/headscope/" in block).splitlines()
    inside = lines.index("src/headscope/")
    for number, line in enumerate(lines):
        for name in line[:25].split():
            folder = ROOT / "src" / "headscope" if number > inside and line.startswith(" ") else ROOT
            assert (folder / name).exists() or (ROOT / name).exists(), f"{name} is not there"


@pytest.mark.parametrize("document", ["README.md", "docs/studies.md", "docs/concepts.md", "docs/extending.md"])
def test_links_lead_somewhere(document):
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target
