import json

import pytest

from headscope.errors import InputError
from headscope.evaluation.checking import check_answers
from headscope.evaluation.tasks import Problem, Task, TaskFile, load_task

SIZES = {"aime24": 30, "aime25": 30, "amc": 83, "math500": 500, "gsm8k": 1319, "triviaqa": 3000}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_every_benchmark_loads_from_its_local_file(data, name, size):
    task = load_task(name, data_dir=data)
    assert (task.name, len(task)) == (name, size)
    assert all(problem.question and problem.answer for problem in task.problems)


def test_answers_are_written_as_answers(data):
    amc = [problem.answer for problem in load_task("amc", data_dir=data).problems]
    assert amc[:2] == ["142", "144"]
    assert sum(answer.startswith("-") for answer in amc) == 2
    gsm8k = load_task("gsm8k", data_dir=data).problems
    assert gsm8k[0].answer == "18"
    assert all(problem.answer.lstrip("-").isdigit() for problem in gsm8k)
    assert {problem.group for problem in load_task("math500", data_dir=data).problems} == set("12345")
    onion = load_task("triviaqa", data_dir=data).problems[0]
    assert onion.question == "Brunswick, Lancastrian and Pearl Pickler are types of which vegetable?"
    assert onion.answer.split("\n")[:2] == ["Onion", "Onion skins"]
    assert onion.kind == "alias"


def test_only_lab_problems_go_without_a_suffix():
    assert Problem("a", "c=4; ?c", "4", "exact").prompt == "c=4; ?c"
    assert Problem("a", "1+1?", "2").prompt.endswith("put your final answer within \\boxed{}.")


@pytest.mark.parametrize(
    ("name", "row", "answer", "call"),
    [
        ("aime24", {"problem": "q", "answer": "204"}, "204", ("HuggingFaceH4/aime_2024", None, "train")),
        ("amc", {"problem": "q", "answer": 142.0}, "142", ("AI-MO/aimo-validation-amc", None, "train")),
        ("gsm8k", {"question": "q", "answer": "so\n#### 1,234"}, "1234", ("openai/gsm8k", "main", "test")),
        (
            "triviaqa",
            {"question": "q", "answer": {"value": "Onion", "aliases": ["Onion", "Pyaz"]}},
            "Onion\nPyaz",
            ("mandarjoshi/trivia_qa", "rc.nocontext", "validation"),
        ),
    ],
)
def test_the_hub_serves_the_same_shape(monkeypatch, name, row, answer, call):
    import datasets

    def load_dataset(path, config, *, split):
        assert (path, config, split) == call
        return datasets.Dataset.from_list([row])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (problem,) = load_task(name).problems
    assert (problem.id, problem.question, problem.answer) == (f"{name}/0", "q", answer)


def test_an_unreachable_hub_says_what_to_do(monkeypatch, tmp_path):
    import datasets

    def load_dataset(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError, match=r"no route\); offline, put aime24\.json"):
        load_task("aime24", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_data_directory_that_is_no_folder_is_not_passed_by(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=rf"^data_dir .*{name} is no folder; give the one with the benchmarks' files"):
        load_task("aime24", data_dir=tmp_path / name)


ROWS = [{"n": "x1", "q": "1+1?\u2028ok", "a": 2.0, "tier": 1}, {"n": "x2", "q": "2+2?", "a": "4", "tier": 2}]
SPEC = {"question": "q", "answer": "a", "id": "n", "group": "tier"}


@pytest.fixture(params=[".json", ".jsonl", ".parquet"])
def table(request, tmp_path):
    path = tmp_path / f"mine{request.param}"
    if request.param == ".json":
        path.write_text(json.dumps(ROWS))
    elif request.param == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
        path.write_text("\ufeff" + "\r\n".join(lines) + "\n\n", encoding="utf-8", newline="")
    else:
        import pandas as pd

        pd.DataFrame([{**row, "a": str(row["a"]).removesuffix(".0")} for row in ROWS]).to_parquet(path)
    return path


def test_any_table_file_with_named_columns(table):
    task = load_task(TaskFile(file=str(table), **SPEC))
    assert task == Task(
        "mine", (Problem("x1", "1+1?\u2028ok", "2", "math", "1"), Problem("x2", "2+2?", "4", "math", "2"))
    )
    assert task.first(1).problems == task.problems[:1]


def test_a_gold_answer_stands_after_gsm8ks_hashes(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"problem": "9+2+1000?", "answer": "9+2=<<9+2=11>>11\n#### 1,011"}))
    for kind in ("math", "number"):
        assert load_task(TaskFile(file=str(tmp_path / "a.jsonl"), kind=kind)).problems[0].answer == "1011"
    (tmp_path / "b.jsonl").write_text(json.dumps({"problem": "1+1?", "answer": "1+1=2\n#### "}))
    with pytest.raises(InputError, match=r"row 1 of .* has nothing after #### in column 'answer'"):
        load_task(TaskFile(file=str(tmp_path / "b.jsonl")))
    assert check_answers(["It is \\boxed{1011}."], ["1011"], "math")[0].correct


@pytest.mark.parametrize(
    ("written", "gold"),
    [("(1,2)", "(1,2)"), ("3, 4", "3, 4"), ("10, 100", "10, 100"), ("-1,234.5", "-1234.5"), ("1,23", "1,23")],
)
def test_only_the_commas_of_thousands_leave_a_gold_answer(tmp_path, written, gold):
    (tmp_path / "a.jsonl").write_text(json.dumps({"problem": "Which?", "answer": f"so\n#### {written}"}))
    assert load_task(TaskFile(file=str(tmp_path / "a.jsonl"))).problems[0].answer == gold


def test_a_row_without_its_tier_is_refused_in_a_task_file_and_has_none_in_a_benchmark(tmp_path):
    for empty in (None, "", float("nan")):
        rows = [{"problem": "1+1?", "answer": "2", "level": 3.0}, {"problem": "2+2?", "answer": "4", "level": empty}]
        (tmp_path / "math500.jsonl").write_text("\n".join(map(json.dumps, rows)))
        with pytest.raises(InputError, match=r"row 2 of .* has nothing in column 'level'; every problem needs one"):
            load_task(TaskFile(file=str(tmp_path / "math500.jsonl"), group="level"))
        assert [problem.group for problem in load_task("math500", data_dir=tmp_path).problems] == ["3", ""]


def test_missing_columns_name_file_found_and_asked(table):
    with pytest.raises(InputError, match=r"mine\S+ has no column question, answer, only a, n, q, tier; say which"):
        load_task(str(table))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "no rows"),
        ("a.json", "[]", "no rows"),
        ("a.json", '{"question": 1}', "holds a dict, not a list"),
        ("a.json", "[1]", "row 1 of .* is no object .* but 1"),
        ("a.jsonl", '{"question": "q", "answer": "1"}\n{"question', "line 2 of .* is not JSON"),
        (
            "a.json",
            '[{"question": "q", "answer": null}, {"question": "q", "answer": 1}]',
            "row 1 of .* nothing in column 'answer'",
        ),
        ("a.json", '[{"question": "q", "answer": " "}]', "nothing in column 'answer'"),
        ("a.parquet", "text", "not a Parquet file"),
        ("a.csv", "q,a", "no known task"),
    ],
)
def test_bad_files_are_refused_in_a_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_task(str(tmp_path / name))


def test_missing_file_duplicate_ids_wrong_kind_and_unknown_names(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_task(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="did you mean 'aime24'"):
        load_task("aime2024")
    with pytest.raises(InputError, match="1 repeated problem id, the first is 'x'"):
        Task("t", (Problem("x", "q", "1"), Problem("x", "r", "2")))
    with pytest.raises(InputError, match=r"kind 'maths' \(did you mean 'math'\?\)"):
        Task("t", (Problem("x", "q", "1", "maths"),))
    with pytest.raises(InputError, match="no problems"):
        Task("t", ())


GPQA = {
    "Question": "Which?",
    "Correct Answer": "right\n",
    "Incorrect Answer 1": "wrong 1",
    "Incorrect Answer 2": "wrong 2",
    "Incorrect Answer 3": "wrong 3",
    "High-level domain": "Physics",
}


def test_gpqa_shuffles_each_questions_options_by_the_seed(tmp_path):
    rows = [{**GPQA, "Question": f"Which {number}?"} for number in range(40)]
    (tmp_path / "gpqa_diamond.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = load_task("gpqa", data_dir=tmp_path)
    for row, problem in zip(rows, task.problems, strict=True):
        question, listed = problem.question.split("\n\n")
        options = dict(line.split(") ") for line in listed.split("\n"))
        assert question == row["Question"]
        assert sorted(options) == ["A", "B", "C", "D"]
        assert sorted(options.values()) == ["right", "wrong 1", "wrong 2", "wrong 3"]
        assert options[problem.answer] == "right"
        assert (problem.kind, problem.group) == ("choice", "Physics")
        assert "letter" in problem.prompt
    letters = [problem.answer for problem in task.problems]
    assert min(letters.count(letter) for letter in "ABCD") >= 3
    assert load_task("gpqa", data_dir=tmp_path) == task
    assert [problem.answer for problem in load_task("gpqa", data_dir=tmp_path, seed=1).problems] != letters
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    (fewer / "gpqa.json").write_text(json.dumps(rows[20:]))
    assert [p.answer for p in load_task("gpqa", data_dir=fewer).problems] == letters[20:]


def test_a_users_own_options_become_letters(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps([{"q": "Which?", "a": "x", "b": "y", "c": "z"}]))
    spec = TaskFile(file=str(tmp_path / "mine.json"), question="q", answer="a", options=("b", "c"))
    (problem,) = load_task(spec).problems
    assert problem.kind == "choice"
    assert f"{problem.answer}) x" in problem.question
    with pytest.raises(InputError, match=r"no column d, only"):
        load_task(spec.model_copy(update={"options": ("b", "d")}))


def test_a_task_file_with_repeated_ids_is_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"question": "q", "answer": 1, "i": "x"}] * 2))
    with pytest.raises(InputError, match="1 repeated problem id, the first is 'x'"):
        load_task(TaskFile(file=str(tmp_path / "a.json"), id="i"))


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe[")
    with pytest.raises(InputError, match="not UTF-8"):
        load_task(str(tmp_path / "a.json"))


def test_gsm8ks_worked_solutions_lose_their_calculator_and_end_in_a_box(data):
    task = load_task("gsm8k-train", data_dir=data)
    assert task.problems[0].worked_answer == (
        "Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 72 clips altogether in April and May.\n\\boxed{72}"
    )
    answers = [problem.worked_answer for problem in task.problems[:500]]
    assert not any("<<" in answer or "####" in answer for answer in answers)
    verdicts = check_answers(answers, [problem.answer for problem in task.problems[:500]], "math")
    assert all(verdict.correct for verdict in verdicts)
    assert load_task("gsm8k", data_dir=data).problems[0].solution == ""  # a test set is not trained on


def test_openr1s_worked_answer_is_the_first_verified_trace(tmp_path):
    row = {
        "problem": "1+1",
        "answer": "2",
        "solution": "It is 2.",
        "generations": ["<think>x</think> 3", "so \\boxed{2}"],
    }
    rows = [
        row | {"correctness_math_verify": [False, True]},
        row | {"correctness_math_verify": [False, False], "correctness_llama": [True, False]},
        row | {"correctness_math_verify": [False, False]},
    ]
    (tmp_path / "openr1-math.json").write_text(json.dumps(rows))
    task = load_task("openr1-math", data_dir=tmp_path)
    assert [problem.worked_answer for problem in task.problems] == [
        "so \\boxed{2}",
        "<think>x</think> 3\n\\boxed{2}",
        "It is 2.\n\\boxed{2}",
    ]


def test_a_task_says_how_it_is_asked_and_where_its_solutions_are(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"prompt": "1+1", "answer": "2", "steps": "two"}\n')
    asked = TaskFile(file=str(path), prompt="{question}\nAnswer with a number.", solution="steps")
    (problem,) = load_task(asked).problems
    assert problem.prompt == "1+1\nAnswer with a number."
    assert problem.worked_answer == "two"  # no box was asked for
    (plain,) = load_task(str(path)).problems
    assert plain.prompt.startswith("1+1\nPlease reason step by step")
    (boxed,) = load_task(TaskFile(file=str(path), solution="steps")).problems
    assert boxed.worked_answer == "two\n\\boxed{2}"


@pytest.mark.parametrize("wrong", [11, 25])
def test_more_than_ten_options_get_letters_too(tmp_path, wrong):
    columns = [f"w{number}" for number in range(wrong)]
    row = {"q": "Which?", "a": "right", **{column: f"wrong {column}" for column in columns}}
    (tmp_path / "many.json").write_text(json.dumps([row]))
    spec = TaskFile(file=str(tmp_path / "many.json"), question="q", answer="a", options=tuple(columns))
    (problem,) = load_task(spec).problems
    options = dict(line.split(") ") for line in problem.question.split("\n\n")[1].split("\n"))
    assert len(options) == wrong + 1
    assert options[problem.answer] == "right"
    assert check_answers([f"The answer is {problem.answer}."], [problem.answer], "choice")[0].correct


def test_more_options_than_letters_are_refused(tmp_path):
    columns = [f"w{number}" for number in range(26)]
    row = {"q": "Which?", "a": "right", **dict.fromkeys(columns, "wrong")}
    (tmp_path / "many.json").write_text(json.dumps([row]))
    spec = TaskFile(file=str(tmp_path / "many.json"), question="q", answer="a", options=tuple(columns))
    with pytest.raises(InputError, match=r"row 1 of .*many.json has 27 options; allowed: at most 26"):
        load_task(spec)


def test_a_task_is_told_in_one_line() -> None:
    problems = tuple(Problem(f"p{number}", "What?", "5", "exact") for number in range(300))
    assert repr(Task("mine", problems)) == "Task: mine; 300 problems; answers are exact; first p0"
