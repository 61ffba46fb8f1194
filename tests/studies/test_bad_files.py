"""Task files, study files, settings and reward logs that are none: exit code 2 and one sentence."""

import json

import pytest
from tests.studies.bench import ROW, STUDY, Bench

from headscope.cli.main import main


def test_a_task_needs_two_problems_for_each_set_of_pairs(bench: Bench) -> None:
    path = bench.file("one.jsonl", ROW)
    assert "hold 1 problem; needed are 2 problems in each of 2 pair sets" in bench.refused(
        "discover", f"discover.tasks=['{path}']"
    )


@pytest.mark.parametrize(
    ("content", "columns", "words"),
    [
        (ROW, "question: problem", ("no column problem, only answer, question", "say which column is what")),
        ("", "kind: exact", ("has no rows",)),
        ("\n  \n", "kind: exact", ("has no rows",)),
        (ROW + "{", "kind: exact", ("line 2 of", "is not JSON")),
        (b'{"question": "caf\xe9"}', "kind: exact", ("is not UTF-8 text",)),
        ('{"question": "q", "answer": {"a": 1}}', "kind: exact", ("row 1", "a dict in column 'answer'")),
        ('{"question": "q", "answer": "a", "also": 3}', "aliases: also", ("row 1", "3 in column 'also'", "list")),
        (ROW.replace("}", ', "n": 1}') + ROW, "id: n", ("row 2", "nothing in column 'n'")),
    ],
)
def test_a_task_file_that_is_none(bench: Bench, content: str | bytes, columns: str, words: tuple[str, ...]) -> None:
    path = bench.file("my tasks.jsonl", content)
    said = bench.refused("plan", f"tasks=[{{file: '{path}', {columns}}}]")
    assert all(word in said for word in ("my tasks.jsonl", *words)), said


def test_blank_lines_and_line_separators_inside_strings_are_no_rows(bench: Bench) -> None:
    path = bench.file("my tasks.jsonl", ROW + "\n" + ROW.replace("5", "6\u2028", 1) + "\n")
    assert bench.call("plan", f"tasks=['{path}']") == (0, "")


@pytest.mark.parametrize("question", ["what is this?", "\\ud800"])
def test_a_question_without_tokens_is_quoted(bench: Bench, question: str) -> None:
    path = bench.file("words.jsonl", f'{{"question": "{question}", "answer": "a"}}\n')
    said = bench.refused(
        "eval", f"tasks=[{{file: '{path}', kind: exact}}]", "variants=[]", start="failed: samples base"
    )
    assert "cannot encode the prompt of the question" in said


def test_unknown_names_come_with_the_nearest(bench: Bench) -> None:
    assert "'lab-t11' is no known task and no file (did you mean 'lab-t1'?)" in bench.refused("plan", "tasks=[lab-t11]")
    assert "(did you mean 'aime24'?)" in bench.refused("plan", "tasks=[aime2024]")
    assert "no built-in study" in bench.refused("validate", study=bench.folder)
    assert "(did you mean 'samples'?)" in bench.refused("run", "eval.sample=3")
    assert "OfflineMode" in bench.refused("plan", "tasks=[aime24]")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.yaml",
            "name: x\nbase:\n\tmodel: m\n",
            "is not YAML: found character '\\t' that cannot start any token (line 3",
        ),
        ("a.yaml", STUDY + "tasks: [lab-k]\n", "is not YAML: key 'tasks' is given twice"),
        ("a.yaml", b"name: caf\xe9\n", "is not UTF-8 text"),
        ("a.yaml", "name: x\0", "is not YAML"),
        ("a.yaml", "seed: !!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
        ("a.yaml", "name: x\n---\nname: y", "a single document in the stream, but found another document (line 2"),
        ("a.yaml", "- x", "is list; a study is a mapping of keys"),
        ("a.json", "{}", "is no YAML file and no built-in study"),
    ],
)
def test_a_study_file_that_is_none(bench: Bench, name: str, content: str | bytes, words: str) -> None:
    said = bench.refused("validate", study=bench.file(name, content))
    assert name in said
    assert words in said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("eval.samples=[", "--set eval.samples: '[' is not YAML"),
        ("tasks=lab-t1", "tasks is 'lab-t1'; it should be a list"),
        ("tasks.3=lab-t1", "'3' is no element (allowed: 0)"),
        ("variants.0=x", "variants[0] is 'x'; it should be a mapping of keys"),
        ("base=x", "base is 'x'; it should be a mapping of keys"),
        ("eval.k=[0]", "eval.k[0] is 0; it should be greater than or equal to 1"),
        ("eval.k=[]", "eval.k: "),
        ("discover.nodes=0", "discover.nodes is 0; it should be greater than or equal to 1"),
        ("discover.sizes=[2]", "discover.sizes[0] is 2; it should be less than or equal to 1"),
        ("variants.0={name: a, train: {steps: 3}}", "variants[0].train has no method"),
        ("eval.temperature=inf", "eval.temperature is 'inf'; it should be a finite number"),
        ("discover.tau=.inf", "discover.tau is inf; it should be a finite number"),
        ("ablate.scales=[.nan]", "ablate.scales[0] is nan; it should be a finite number"),
        (
            "variants.0={name: a, train: {preset: lab-sft, dataset: lab-traces, learning_rate: .inf}}",
            "learning_rate is inf; it should be a finite number",
        ),
    ],
)
def test_a_setting_that_cannot_be(bench: Bench, setting: str, words: str) -> None:
    assert words in bench.refused("validate", setting)


def test_models_on_the_command_line_need_a_base(bench: Bench) -> None:
    # Without this the lab would be trained instead, for minutes.
    assert main(["discover", "--post", "x", "--task", "lab-t1"]) == 2
    assert "which needs --base too" in bench.capture.readouterr().err
    assert main(["discover", str(bench.study), "--base", "x", "--task", "lab-t1"]) == 2
    assert "found both study" in bench.capture.readouterr().err


@pytest.mark.parametrize("name", ["trainer_state.json", "log.jsonl"])
@pytest.mark.parametrize("content", [b"{", b"[]\n", b'{"bogus": 1}\n', b"\xff"])
def test_a_broken_reward_log_is_refused_before_any_work(bench: Bench, name: str, content: bytes) -> None:
    path = bench.file(name, content)
    said = bench.refused("compare", f"variants.0.reward_log='{path}'")
    assert f"training log {path} is neither a log.jsonl nor a trainer_state.json" in said
    assert not bench.out.exists()


def test_a_reward_log_without_rewards_is_refused(bench: Bench) -> None:
    steps = [{"step": step, "loss": 1.0, "learning_rate": 1e-5} for step in (1, 2)]
    path = bench.file("trainer_state.json", json.dumps({"log_history": steps}))
    said = bench.refused("validate --resolve", f"variants.0.reward_log='{path}'")
    assert "of variant a logs no reward at any step" in said


def test_two_tasks_of_one_name_are_refused(bench: Bench) -> None:
    for name in ("test.jsonl", "other.jsonl"):
        bench.file(name, ROW)
    said = bench.refused("validate", "tasks=[{file: test.jsonl, kind: exact}, {file: other.jsonl, name: test}]")
    assert "task test is listed twice, or two files have that name" in said
    other = "[{file: other.jsonl, name: test}]"
    assert "two tasks have the name test" in bench.refused("validate", "tasks=[test.jsonl]", f"ablate.tasks={other}")
    assert "two files have the name test" in bench.refused("validate", "tasks=[test.jsonl]", f"discover.tasks={other}")
    whole = str(bench.folder / "test.jsonl")
    for same in (f"ablate.tasks=['{whole}']", "ablate.tasks=[./test.jsonl]", "ablate.tasks=[{file: test.jsonl}]"):
        assert bench.call("validate", "tasks=[test.jsonl]", same) == (0, "")
    for kept in ("ablate.guard=test.jsonl", "discover.tasks=[{file: test.jsonl, kind: number}]"):
        assert bench.call("validate", "tasks=[test.jsonl]", kept) == (0, "")


def test_what_is_too_long_is_said_by_the_key_that_sets_it(bench: Bench) -> None:
    assert "lower discover.opening_tokens to" in bench.refused("validate --resolve", "discover.opening_tokens=5000")
    assert "lower eval.max_new_tokens to" in bench.refused("validate --resolve", "eval.max_new_tokens=5000")


def test_a_run_does_not_begin_among_other_files(bench: Bench) -> None:
    folder = bench.folder / "runs"
    (folder / "checkpoint-5").mkdir(parents=True)
    (folder / "log.txt").touch()
    for verb in ("run", "plan"):
        assert "it holds checkpoint-5, which no run wrote" in bench.refused(verb, out=folder)
    assert {path.name for path in folder.iterdir()} == {"checkpoint-5", "log.txt"}
    (folder / "checkpoint-5").rmdir()
    assert bench.call("plan", out=folder)[0] == 0
    for name in (
        "units",
        "report",
        ".workers",
        "checkpoint-5",
    ):  # of a run whose lock was deleted, as read_lock advises
        (folder / name).mkdir()
    (folder / "claims.json").touch()
    assert bench.call("plan", out=folder)[0] == 0


def test_a_difference_that_is_unknown_is_no_number(bench: Bench) -> None:
    words = ["plan", str(bench.study), "--out", str(bench.out), "--set", "eval.problems=1", "--set", "variants=[]"]
    bench.capture.readouterr()
    assert main(words) == 0
    assert "lab-t1 unknown (1 × 1)" in bench.capture.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(bench.capture.readouterr().out, parse_constant=str)["detectable"][0]["difference"] is None


def test_a_run_never_writes_over_the_users_study(bench: Bench) -> None:
    folder = bench.folder / "project"
    folder.mkdir()
    study = folder / "study.yaml"
    study.write_text(f"# mine\n{bench.study.read_text()}")
    for verb in ("plan", "eval"):
        assert "it holds study.yaml, which no run wrote" in bench.refused(verb, "variants=[]", study=study, out=folder)
    assert study.read_text().startswith("# mine")
    assert [path.name for path in folder.iterdir()] == ["study.yaml"]


def test_a_name_that_is_no_task_is_known_without_opening_anything(bench: Bench) -> None:
    assert "task 'gsm9k' is no known task and no file" in bench.refused("validate", "tasks=[gsm9k]")
