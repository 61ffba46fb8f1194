"""Evaluated positions of a study's pairs: each choice is a unit of its own, disagreement is base against final."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from headscope.circuits.disagreement import pairs_at_disagreement
from headscope.errors import InputError
from headscope.models import load_model
from headscope.pairs import Pairs
from headscope.runs import RunDirectory, Unit, execute
from headscope.studies.plan import plan
from headscope.studies.reading import read_study
from headscope.studies.run import run_study

TOKENS = 8
STUDY = f"""
name: positions
base: {{model: BASE}}
variants: [{{name: post, model: POST}}]
tasks: [lab-t1]
discover: {{tasks: [lab-train], pairs: 4, opening_tokens: {TOKENS}, nodes: 2, fraction: 0.2, resamples: 20}}
"""


@pytest.fixture(scope="module")
def study(toy_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the toy base and a model of the same shape with other weights."""
    folder = tmp_path_factory.mktemp("positions")
    post = load_model(toy_base)
    torch.manual_seed(7)
    for parameter in post.model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(0.0, 0.15)
    post.model.save_pretrained(folder / "post")
    post.tokenizer.save_pretrained(folder / "post")
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("BASE", str(toy_base)).replace("POST", str(folder / "post")))
    return path


def pair_units(study: Path, out: Path, positions: str, changes: Sequence[str] = ()) -> list[Unit]:
    changed = read_study(str(study), [f"discover.positions={positions}", *changes])
    units = plan(changed, RunDirectory(out), "discover")
    return [unit for unit in units if unit.kind == "pairs"]


def test_every_choice_of_positions_is_a_unit_of_its_own(study: Path, tmp_path: Path) -> None:
    choices = ("last", "answer", "disagreement", "[0]", "[0, -1]")
    digests = {unit.digest for choice in choices for unit in pair_units(study, tmp_path, choice)}
    assert len(digests) == 2 * len(choices)
    assert pair_units(study, tmp_path, "last")[0].digest in digests


@pytest.mark.parametrize(("positions", "expected"), [("answer", range(TOKENS)), ("[0, 3, -1]", [0, 3, TOKENS - 1])])
def test_positions_are_counted_in_the_opening(study: Path, tmp_path: Path, positions: str, expected: list[int]) -> None:
    unit = pair_units(study, tmp_path, positions)[0]
    assert execute([unit], RunDirectory(tmp_path)).failed == {}
    for pair in Pairs.load(RunDirectory(tmp_path).folder(unit)):
        start = len(pair.clean) - TOKENS
        assert (pair.positions - start).tolist() == list(expected)


def test_pairs_of_openings_remember_their_problems(study: Path, tmp_path: Path) -> None:
    (tmp_path / "few.json").write_text(json.dumps([{"question": f"a={i}; ?a", "answer": str(i)} for i in range(4)]))
    changes = [f"discover.tasks=[{{file: {tmp_path}/few.json, prompt: '{{question}}'}}]"]
    units = pair_units(study, tmp_path, "last", changes)
    assert execute(units, RunDirectory(tmp_path)).failed == {}
    main, fresh = (Pairs.load(RunDirectory(tmp_path).folder(unit)) for unit in units)
    assert {*main.problems, *fresh.problems} == {f"few/{index}" for index in range(4)}
    assert not {*main.problems} & {*fresh.problems}
    for pairs in (main, fresh):
        prompts = {(tuple(pair.clean[:-TOKENS]), name) for pair, name in zip(pairs, pairs.problems, strict=True)}
        assert len(prompts) == len(set(pairs.problems)) == 2
    (tmp_path / "fewer.json").write_text(json.dumps([{"question": f"a={i}; ?a", "answer": str(i)} for i in range(3)]))
    with pytest.raises(
        InputError, match=r"discover\.tasks hold 3 problems; needed are 2 problems in each of 2 pair sets"
    ):
        pair_units(study, tmp_path, "last", [changes[0].replace("few", "fewer")])


def test_a_study_scores_where_base_and_final_disagree_most(study: Path, toy_base: Path, tmp_path: Path) -> None:
    settings = read_study(str(study), ["discover.positions=disagreement"])
    run, outcome = run_study(settings, tmp_path, goal="discover")
    assert outcome.failed == {}
    base, post = load_model(toy_base), load_model(study.parent / "post")
    for record in run.find("pairs", variant="post"):
        found = Pairs.load(record.folder)
        expected = pairs_at_disagreement(base, post, found)
        assert [row.tolist() for row in found.positions] == [row.tolist() for row in expected.positions]
        assert all(len(row) == 1 for row in found.positions)


@pytest.mark.parametrize(
    ("positions", "sentence"),
    [
        ("sometimes", "it should be 'last', 'answer' or 'disagreement'"),
        ("[8]", "positions holds 8, and an opening has the positions 0-7"),
        ("[-9]", "positions holds -9"),
        ("[a]", r"discover\.positions\[0\] is 'a'"),
    ],
)
def test_positions_outside_the_opening_are_refused(study: Path, positions: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_study(str(study), [f"discover.positions={positions}"])
