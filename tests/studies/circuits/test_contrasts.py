"""Pairs from texts that were given instead of sampled openings."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from headscope.errors import InputError
from headscope.evaluation import Chat
from headscope.pairs import Pairs
from headscope.results.comparison import Comparison
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.runs import RunDirectory
from headscope.studies.plan import plan
from headscope.studies.reading import parse_study
from headscope.studies.run import run_study
from headscope.studies.study_file.models import VariantConfig
from headscope.studies.study_file.study import Study

STUDY = """
name: given
base: {{model: {base}}}
variants:
  - {{name: sft, train: {{preset: lab-sft, dataset: lab-traces-64, max_steps: 1, save_every: 1, batch_size: 4}}}}
tasks: [lab-t1]
discover: {{contrast: {contrast}, pairs: 4, nodes: 4, fraction: 0.1, resamples: 20, {more}}}
eval: {{problems: 2, samples: 1, k: [1], max_new_tokens: 4}}
"""


def study(base: Path, contrast: Any, more: str = "") -> Study:
    text = STUDY.format(base=base, contrast=json.dumps(contrast), more=more)
    return parse_study(text, "given", Path.cwd())


def saved_pairs(run: RunDirectory) -> dict[str, Pairs]:
    return {record.labels["pairs"]: Pairs.load(record.folder) for record in run.find("pairs")}


def test_a_study_compares_on_pairs_of_leaf_digits(toy_base: Path, tmp_path: Path) -> None:
    run, outcome = run_study(study(toy_base, "lab-leaf"), tmp_path, goal="compare")
    assert outcome.failed == {}
    pairs = saved_pairs(run)
    assert {name: len(each) for name, each in pairs.items()} == {"main": 4, "fresh": 4}
    texts = [{tuple(text) for text in each.clean} for each in pairs.values()]
    assert not texts[0] & texts[1]
    assert len(run.find("comparison")) == 1


def test_a_files_texts_answer_a_prompt_or_stand_alone(toy_base: Path, tmp_path: Path) -> None:
    rows = [{"asked": f"a={i}; ?a", "good": f"a={i}", "bad": f"b={i}"} for i in range(8)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    answers = {"file": str(path), "clean": "good", "corrupt": "bad", "prompt": "asked"}
    run, outcome = run_study(study(toy_base, answers, "positions: answer"), tmp_path / "one", goal="discover")
    assert outcome.failed == {}
    both = saved_pairs(run)
    assert {name: len(pairs) for name, pairs in both.items()} == {"main": 4, "fresh": 4}
    for one, other, at in (each for pairs in both.values() for each in _rows(pairs)):
        first = int((one != other).argmax())  # "a" and "b": the answer's first token
        assert at.tolist() == list(range(first, len(one)))
    whole = {"file": str(path), "clean": "good", "corrupt": "bad"}
    run, outcome = run_study(study(toy_base, whole), tmp_path / "two", goal="discover")
    assert {len(text) for text in saved_pairs(run)["main"].clean} == {len(both["main"].positions[0])}


def _rows(pairs: Pairs) -> Any:
    return zip(pairs.clean, pairs.corrupt, pairs.positions, strict=True)


def test_the_file_counts_and_not_where_it_lies(toy_base: Path, tmp_path: Path) -> None:
    for name, digit in (("a", 1), ("b", 1), ("c", 2)):
        rows = [{"clean": f"{letter}={digit}", "corrupt": "j=1"} for letter in "abcd"]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    found = [
        next(
            unit.digest
            for unit in plan(study(toy_base, {"file": str(path)}), RunDirectory(tmp_path / "r"), "discover")
            if unit.kind == "pairs"
        )
        for path in sorted(tmp_path.glob("*.json"))
    ]
    assert found[0] == found[1] != found[2]


def test_the_model_counts(toy_base: Path, tmp_path: Path) -> None:
    """Another model may have another tokenizer or template."""
    other = tmp_path / "other"
    shutil.copytree(toy_base, other)
    (other / "chat_template.jinja").write_text((other / "chat_template.jinja").read_text() + "{# other #}")
    digests = []
    for model in (toy_base, other):
        chosen = study(toy_base, "lab-leaf")
        given = VariantConfig(name="sft", model=str(model))
        units = plan(chosen.model_copy(update={"variants": (given,)}), RunDirectory(tmp_path / "r"), "discover")
        digests.append({unit.digest for unit in units if unit.kind == "pairs"})
    assert not digests[0] & digests[1]


def test_leaf_pairs_are_of_the_mode_in_which_the_variant_is_asked(toy_base: Path, tmp_path: Path) -> None:
    hybrid = STUDY.replace("preset: lab-sft, dataset: lab-traces-64", "preset: lab-hybrid, dataset: lab-hybrid")
    chosen = parse_study(hybrid.format(base=toy_base, contrast="lab-leaf", more=""), "given", Path.cwd())
    off = chosen.variants[0].model_copy(update={"chat": Chat(enable_thinking=False)})
    run, outcome = run_study(chosen.model_copy(update={"variants": (off,)}), tmp_path, goal="discover")
    assert outcome.failed == {}
    both = saved_pairs(run)
    assert set(both) == {"main", "fresh"}
    for pairs in both.values():
        assert len(pairs) == chosen.discover.pairs
        assert {len(pair.positions) for pair in pairs} == {1}
        assert all(pair.positions[0] == len(pair.clean) - 2 for pair in pairs)


@pytest.mark.parametrize(("thinking", "added"), [(None, ""), (True, ""), (False, " <think></think>")])
def test_a_files_prompts_are_asked_in_the_variants_mode(
    toy_base: Path, tmp_path: Path, thinking: bool | None, added: str
) -> None:
    rows = [{"asked": f"a={i}; ?a", "good": f"<ans> {i}", "bad": f"<ans> {i + 1}"} for i in range(8)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    given = {"file": str(tmp_path / "pairs.json"), "clean": "good", "corrupt": "bad", "prompt": "asked"}
    hybrid = STUDY.replace("preset: lab-sft, dataset: lab-traces-64", "preset: lab-hybrid, dataset: lab-hybrid")
    text = hybrid.format(base=toy_base, contrast=json.dumps(given), more="")
    chosen = parse_study(text, "given", Path.cwd())
    asked = chosen.variants[0].model_copy(update={"chat": Chat(enable_thinking=thinking)})
    run, outcome = run_study(chosen.model_copy(update={"variants": (asked,)}), tmp_path / "r", goal="discover")
    assert outcome.failed == {}
    tokenizer = AutoTokenizer.from_pretrained(toy_base)
    texts = {tokenizer.decode(text) for pairs in saved_pairs(run).values() for text in pairs.clean}
    expected = [f"<|im_start|>user a={i}; ?a<|im_end|><|im_start|>assistant{added}<ans> {i}" for i in range(8)]
    assert {text.replace(" ", "") for text in texts} == {text.replace(" ", "") for text in expected}


def test_pairs_of_one_prompt_stay_in_one_set(toy_base: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"a={i % 4}; ?a", "clean": f"a={i}", "corrupt": f"b={i}"} for i in range(8)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows * 2))
    given = {"file": str(tmp_path / "pairs.json"), "prompt": "prompt"}
    run, outcome = run_study(study(toy_base, given), tmp_path / "r", goal="discover")
    assert outcome.failed == {}
    starts = [{tuple(text[: at[0]]) for text, _, at in _rows(pairs)} for pairs in saved_pairs(run).values()]
    assert [len(each) for each in starts] == [2, 2]
    assert not starts[0] & starts[1]
    both = saved_pairs(run)
    assert sorted(name for pairs in both.values() for name in set(pairs.problems)) == ["1", "2", "3", "4"]
    for pairs in both.values():
        assert str(pairs.problem_groups.size) == "2 problems × 2 pairs"
        named = {(tuple(text[: at[0]]), name) for (text, _, at), name in zip(_rows(pairs), pairs.problems, strict=True)}
        assert len(named) == 2


def test_a_column_names_the_problems(toy_base: Path, tmp_path: Path) -> None:
    """They are kept with the scores, dealt whole, and what is counted."""
    rows = [{"clean": f"a={i}", "corrupt": f"b={i}", "asked": i // 2} for i in range(8)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    chosen = study(toy_base, {"file": str(tmp_path / "pairs.json"), "problem": "asked"})
    run, outcome = run_study(chosen, tmp_path / "r", goal="compare")
    assert outcome.failed == {}
    both = saved_pairs(run)
    assert sorted(name for pairs in both.values() for name in pairs.problems) == sorted("00112233")
    assert not set(both["main"].problems) & set(both["fresh"].problems)
    scores = run.find("scores")
    scored = [(record.labels["model"], record.labels["pairs"]) for record in scores]
    assert sorted(scored) == [("base", "fresh"), ("base", "main"), ("sft", "main")]
    for record in scores:
        assert EdgeScores.load(record.folder).problems == both[record.labels["pairs"]].problems
    change = run.results(Comparison)[0].whole.final
    assert (change.problems, change.pairs, change.null_problems, change.counts.new.n) == (2, 4, 2, 2)
    assert change.counts.new.method == "problem bootstrap 95%"
    faithfulness = run.results(FaithfulnessEstimates)[0].whole
    assert (faithfulness.cpr.n, faithfulness.cpr.method) == (2, "problem bootstrap 95%")


def test_the_settings_a_study_prints_are_a_study(toy_base: Path) -> None:
    given = study(toy_base, "lab-leaf")
    assert Study.model_validate(given.model_dump(mode="json")) == given


@pytest.mark.parametrize(
    ("contrast", "more", "message"),
    [
        ("leaf", "", "discover.contrast"),
        ("lab-leaf", "crossed: true", "crossed needs openings, and contrast names other texts"),
        ("lab-leaf", "positions: answer", "positions needs openings"),
        ("lab-leaf", "tasks: [lab-t1]", "tasks needs openings"),
        ({"file": "none.json"}, "", "none.json does not exist"),
        ({"file": "one.json"}, "", "holds 1 problem with 1 different pairs; needed are 2 problems in each of 2 sets"),
        ({"file": "one.json", "clean": "good"}, "", "row 1 of .*one.json has no text in column 'good'"),
        ({"file": "one.json", "cleen": "good"}, "", "did you mean 'clean'"),
        ({"file": "one.json", "problem": "asked"}, "", "has no text or whole number in column 'asked'"),
        (
            {"file": "alike.json", "problem": "asked"},
            "",
            "rows 1 and 2 of .*alike.json are the same pair, of problems '0'",
        ),
    ],
)
def test_what_cannot_be_contrasted_is_named(
    toy_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contrast: Any, more: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pair = {"clean": "a=1", "corrupt": "b=1"}
    Path("one.json").write_text(json.dumps([pair]))
    Path("alike.json").write_text(json.dumps([pair | {"asked": index} for index in range(6)]))
    with pytest.raises(InputError, match=message):
        plan(study(toy_base, contrast, more), RunDirectory(tmp_path / "r"), "discover")
