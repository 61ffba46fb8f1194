"""``score`` and ``audit`` through the real command line."""

import json
from pathlib import Path

import pytest

from headscope.cli.main import main
from headscope.results.samples import Samples

ANSWERS = {"p1": [r"\boxed{7}", r"\boxed{8}"], "p2": [r"\boxed{\frac12}", "no idea"]}
GOLDS = {"p1": "7", "p2": "0.5"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Samples whose verdicts are out of date: nothing was found correct."""
    records = [
        {
            "problem": problem,
            "group": "",
            "sample": number,
            "seed": 0,
            "response": response,
            "tokens": 3,
            "finish": "stop",
            "verdict": "wrong",
            "answer": "",
            "gold": GOLDS[problem],
            "kind": "math",
            "token_ids": [1, 2, 3],
        }
        for problem, responses in ANSWERS.items()
        for number, response in enumerate(responses)
    ]
    Samples.from_records(records, model="base", task="mine").save(tmp_path / "saved")
    return tmp_path / "saved"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_score_checks_saved_samples_again_and_leaves_them(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Samples.load(saved)
    code, out, _ = call(capsys, "score", str(saved), "--out", str(tmp_path / "new"))
    assert code == 0
    assert "2 × wrong → correct" in out
    assert "1 × wrong → unparsed" in out
    assert out.splitlines()[-1] == str(tmp_path / "new")
    assert Samples.load(saved) == before
    after = Samples.load(tmp_path / "new" / "base-mine")
    assert after.correct.tolist() == [[True, False], [True, False]]
    assert list(after.table["token_ids"][0]) == [1, 2, 3]
    measures = json.loads((tmp_path / "new" / "base-mine" / "measures.json").read_text())
    assert measures["pass_at_k"]["1"]["value"] == 0.5
    assert measures["majority_at_k"]["2"]["value"] == 0.75


def test_score_takes_another_tasks_golds_and_speaks_json(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": "p1", "question": "q", "answer": "8"}, {"id": "p2", "question": "q", "answer": "1"}]
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    code, _, err = call(capsys, "score", str(saved), "--task", str(tmp_path / "mine.json"))
    assert code == 2
    assert "has no problem 'p1'" in err  # ids are numbered unless a column is named
    rows = [{"question": "q", "answer": "8"}, {"question": "q", "answer": "1"}]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    table = Samples.load(saved).table.replace({"problem": {"p1": "p/0", "p2": "p/1"}})
    Samples(table, "base", "p").save(saved)
    code, out, _ = call(capsys, "score", str(saved), "--task", str(tmp_path / "p.json"), "--json")
    (found,) = json.loads(out)["scored"]
    assert code == 0
    assert found["measures"]["pass_at_k"]["1"]["value"] == 0.25
    assert found["changes"] == {"wrong → correct": 1, "wrong → unparsed": 1}


def test_score_takes_a_files_own_column_names(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"key": "p1", "asked": "q", "gold": "8"}, {"key": "p2", "asked": "q", "gold": "1/2"}]
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    task = f"{{file: {tmp_path / 'mine.json'}, id: key, question: asked, answer: gold}}"
    code, out, _ = call(capsys, "score", str(saved), "--task", task, "--json")
    (found,) = json.loads(out)["scored"]
    assert code == 0
    assert found["measures"]["pass_at_k"]["1"]["value"] == 0.5
    code, _, err = call(capsys, "score", str(saved), "--task", task.replace("answer:", "anwser:"))
    assert code == 2
    assert "did you mean 'answer'" in err


def test_score_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "score", str(tmp_path))
    assert code == 2
    assert "not a run directory" in err


def test_audit_says_what_a_difference_of_one_problem_can_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("model,AIME24,own\nwhole,30.0,50\nablated,26.6,10\n")
    code, out, _ = call(capsys, "audit", str(path))
    assert code == 0
    assert "1 of 1 differences of single answers could not have been told from chance" in out
    assert "number of problems unknown, not audited: own" in out
    assert out.splitlines()[-1] == str(path)
    code, out, _ = call(capsys, "audit", str(path), "--n", "own=20", "--json")
    found = json.loads(out)
    assert code == 0
    assert [(each["column"], each["problems"], each["shown"]) for each in found["differences"]] == [
        ("AIME24", -1, False),
        ("own", -8, True),
    ]


def test_audit_of_what_is_no_table_or_size_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ([str(tmp_path / "none.csv")], "does not exist"),
        ([str(tmp_path / "none.csv"), "--n", "83"], "COLUMN=COUNT"),
    ):
        code, _, err = call(capsys, "audit", *arguments)
        assert code == 2
        assert err.startswith("headscope: ")
        assert words in err or "does not exist" in err
