import subprocess
import sys
import warnings

import numpy as np
import pytest

from headscope.errors import InputError
from headscope.evaluation import (
    Chat,
    Problem,
    Sampling,
    Task,
    evaluate,
    prompt_ids,
    rescore,
    sample,
    score_responses,
    unreadable_golds,
    votes,
)
from headscope.models import Subject, load_model
from headscope.results.samples import Samples
from headscope.studies.answers.evaluate import measure

TASK = Task(
    "lab",
    (
        Problem("t1", "w1 w2", "w9", "exact", "T1"),
        Problem("t2", "w3", "w4", "exact", "T2"),
        Problem("m", "w5", "5"),
    ),
)

# As callers have it, for whom nothing checks the types.
score_unchecked = score_responses.__wrapped__
pytestmark = pytest.mark.usefixtures("float64")
SAMPLING = Sampling(samples=4, max_new_tokens=6, temperature=1.0, top_p=1.0, seed=1)


def test_a_task_becomes_samples_with_everything_kept(model, tokenizer):
    samples = evaluate(model, tokenizer, TASK, SAMPLING, chat=Chat(enable_thinking=False), name="base")
    assert samples.problems == ["t1", "t2", "m"]
    assert samples.groups == ["T1", "T2", ""]
    assert samples.correct.shape == (3, 4)
    assert samples.settings["sampling"] == SAMPLING.as_dict()
    assert samples.settings["chat"]["enable_thinking"] is False
    cut = samples.table["finish"] == "length"
    np.testing.assert_array_equal(samples.table["verdict"] == "unfinished", cut)
    assert samples == evaluate(model, tokenizer, TASK, SAMPLING, chat=Chat(enable_thinking=False), name="base")


def test_rescoring_with_other_golds_changes_verdicts_only(model, tokenizer):
    model.generation_config.eos_token_id = list(range(2, 40))
    samples = evaluate(model, tokenizer, TASK, SAMPLING, name="base")
    assert rescore(samples, TASK) == samples
    row = samples.table[(samples.table["problem"] == "t1") & (samples.table["answer"] != "")].iloc[0]
    relabelled = Task("lab", (Problem("t1", "w1 w2", row["answer"], "exact", "T1"), *TASK.problems[1:]))
    again = rescore(samples, relabelled)
    assert again.correct[0, row["sample"]]
    assert list(again.table["response"]) == list(samples.table["response"])
    with pytest.raises(InputError, match="no problem 't1'"):
        rescore(samples, Task("lab", TASK.problems[1:]))


def test_saved_samples_are_scored_again_without_their_task(model, tokenizer):
    model.generation_config.eos_token_id = list(range(2, 40))
    samples = evaluate(model, tokenizer, TASK, SAMPLING, name="base")
    assert rescore(samples) == samples
    damaged = samples.table.assign(verdict="timeout")
    assert rescore(Samples(damaged, "base", "lab", samples.settings)) == samples
    with pytest.raises(InputError, match="do not say how their answers are checked"):
        rescore(Samples(samples.table.assign(kind=""), "base", "lab"))


def test_token_ids_are_those_that_were_generated(model, tokenizer):
    samples = evaluate(model, tokenizer, TASK, SAMPLING, name="base")
    prompts = [prompt_ids(tokenizer, problem.prompt) for problem in TASK.problems]
    drawn = sample(model, tokenizer, prompts, SAMPLING)
    assert [tuple(ids) for ids in samples.table["token_ids"]] == [completion.tokens for completion in drawn]
    assert [len(ids) for ids in samples.table["token_ids"]] == samples.table["tokens"].tolist()


def test_equal_answers_cast_one_vote_and_what_states_none_does_not_vote():
    rows = [
        ("math", r"\frac{1}{2}", "wrong"),
        ("math", r"\dfrac12", "wrong"),
        ("math", "", "unparsed"),
        ("alias", "The Onion", "correct"),
        ("alias", "onion", "correct"),
        ("alias", "leek", "unfinished"),
    ]
    blank = {"group": "", "seed": 0, "response": "", "tokens": 0, "finish": "stop", "gold": ""}
    records = [
        {**blank, "problem": kind, "sample": number % 3, "verdict": verdict, "answer": answer, "kind": kind}
        for number, (kind, answer, verdict) in enumerate(rows)
    ]
    cast = votes(Samples.from_records(records, model="m", task="t"))
    assert cast == [[r"\frac{1}{2}", r"\frac12", None], ["onion", "onion", None]]


def test_golds_that_cannot_be_read_are_counted_listed_and_refused_unless_allowed(model, tokenizer):
    problems = tuple(Problem(f"p{number}", "w1", gold) for number, gold in enumerate(["7", "", r"\frac{1}{2}"]))
    bad = (
        *problems[:1],
        Problem("empty", "w1", r"\text{}"),
        Problem("hostile", "w1", "10^{10^{10^{10}}}"),
        *problems[2:],
    )
    worked = (
        Problem("m1", "w1", "9 + 2 = 11\nso it is 11"),
        Problem("m2", "w1", "\\begin{pmatrix} 1 \\\\\n 2 \\end{pmatrix}"),
    )
    assert [problem.id for problem in unreadable_golds(worked)] == ["m1"]
    lines = ["$$\n5\n$$", "\\[\n\\frac{1}{2}\n\\]", "\\left( 1,\n 2 \\right)", "\\boxed{\n5}", "x = 1,\n y = 2"]
    assert not unreadable_golds([Problem(str(place), "w1", gold) for place, gold in enumerate(lines)])
    letters = (Problem("c1", "w1", "B", "choice"), Problem("c2", "w1", "seven", "choice"))
    assert [problem.id for problem in unreadable_golds(bad + letters)] == ["empty", "hostile", "c2"]
    with pytest.raises(
        InputError, match=r"2 of 4 gold answers that cannot be read: empty .*hostile .*allow_unreadable"
    ):
        evaluate(model, tokenizer, Task("mine", bad), SAMPLING)
    samples = evaluate(model, tokenizer, Task("mine", bad, allow_unreadable=True).first(3), SAMPLING)
    assert samples.settings["unreadable_golds"] == ["empty", "hostile"]


def test_importing_evaluation_loads_neither_torch_nor_math_verify():
    code = (
        "import sys; sys.path[:0] = " + repr(sys.path) + "\nimport headscope.evaluation\n"
        "print({'torch', 'transformers', 'math_verify', 'sympy', 'datasets'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_prompt_that_opens_the_thought_makes_an_answer_without_its_end_unfinished(model, tokenizer):
    model.generation_config.eos_token_id = list(range(2, 40))
    plain = evaluate(model, tokenizer, TASK, SAMPLING, name="base")
    tokenizer.chat_template += "{% if add_generation_prompt %} <think>{% endif %}"
    opened = evaluate(model, tokenizer, TASK, SAMPLING, name="base")
    stopped = opened.table[opened.table["finish"] == "stop"]
    assert len(stopped) > 0
    thinking = ~stopped["response"].str.contains("</think>")
    assert set(stopped[thinking]["verdict"]) == {"unfinished"}
    assert "unfinished" not in set(plain.table[plain.table["finish"] == "stop"]["verdict"])
    assert rescore(opened, TASK) == opened


def test_pass_at_k_of_greedy_samples_warns(model, tokenizer):
    greedy = Sampling(samples=2, max_new_tokens=3, temperature=0)
    samples = evaluate(model, tokenizer, TASK, greedy, name="base")
    with pytest.warns(UserWarning, match="base on lab: pass@2 is that of one answer, because temperature 0"):
        measure(samples, (1, 2), 0)
    drawn = evaluate(model, tokenizer, TASK, SAMPLING, name="base")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure(samples, (1,), 0)
        measure(drawn, (1, 2), 0)


def test_a_subject_has_its_own_tokenizer_and_name(model, tokenizer):
    samples = evaluate(Subject(model, tokenizer, "mine"), None, TASK, SAMPLING)
    assert samples.model == "mine"
    expected = evaluate(model, tokenizer, TASK, SAMPLING)
    assert samples.table["response"].tolist() == expected.table["response"].tolist()


def test_a_folder_is_opened_with_its_own_tokenizer(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    samples = evaluate(tmp_path, None, TASK, SAMPLING)
    assert samples.model == str(tmp_path)
    opened = load_model(tmp_path)
    expected = evaluate(opened.model, opened.tokenizer, TASK, SAMPLING)
    assert samples.table["response"].tolist() == expected.table["response"].tolist()
    prompts = [prompt_ids(tokenizer, problem.prompt) for problem in TASK.problems]
    drawn = sample(str(tmp_path), None, prompts, SAMPLING)
    assert [completion.text for completion in drawn] == samples.table["response"].tolist()


def test_responses_of_another_program_are_checked_as_ours_are(model, tokenizer):
    drawn = evaluate(model, tokenizer, TASK, SAMPLING)
    by_problem = [list(rows["response"]) for _, rows in drawn.table.groupby("problem", sort=False)]
    finished = [list(rows["finish"] == "stop") for _, rows in drawn.table.groupby("problem", sort=False)]
    read = score_responses(TASK, by_problem, finished=finished, name="theirs", tokenizer=tokenizer)
    same = ["problem", "group", "sample", "response", "finish", "verdict", "answer", "gold", "kind"]
    assert read.table[same].equals(drawn.table[same])
    assert (read.table["tokens"] > 0).any()
    assert score_responses(TASK, by_problem).table["finish"].eq("stop").all()


@pytest.mark.parametrize("responses", [[["a"]], [["a"], ["b"], ["c", "d"]], [[], [], []]])
def test_every_problem_needs_as_many_responses(responses):
    with pytest.raises(InputError, match="the same number, at least 1, for each of the 3 problems of lab"):
        score_responses(TASK, responses)


@pytest.mark.parametrize("responses", [["44", "45", "41"], "abc", ["a", ["b"], ["c"]]])
def test_texts_without_a_list_of_samples_are_not_read_by_their_characters(responses):
    sentence = (
        f"the responses of problem t1 are {responses[0]!r}; give a list of texts for every problem, one per sample"
    )
    with pytest.raises(InputError) as refusal:
        score_unchecked(TASK, responses)
    assert str(refusal.value) == sentence


def test_flags_without_a_list_of_samples_are_refused():
    with pytest.raises(InputError) as refusal:
        score_unchecked(TASK, [["a"], ["b"], ["c"]], finished=[True, False, True])
    sentence = "the finish flags of problem t1 are True; give a list of flags for every problem, one per sample"
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (None, 'is None; give "" with the finish flag False for a response that never came'),
        (4, "is 4; give a text"),
        (float("nan"), "is nan; give a text"),
        (b"4", "is b'4'; give a text"),
    ],
)
@pytest.mark.parametrize("has_tokenizer", [False, True])
def test_a_response_that_is_no_text_is_named_with_its_problem(response, sentence, has_tokenizer, tokenizer):
    with pytest.raises(InputError) as refusal:
        score_unchecked(TASK, [["a", "b"], ["c", response], ["d", "e"]], tokenizer=tokenizer if has_tokenizer else None)
    assert str(refusal.value) == f"sample 1 of problem t2 {sentence}"


def test_a_response_that_never_came_is_unfinished():
    samples = score_responses(TASK, [["w9"], [""], ["5"]], finished=[[True], [False], [True]])
    assert samples.table["verdict"].tolist()[1] == "unfinished"


def test_a_word_is_no_finish_flag():
    """As ``length``, by which engines say that a response was cut off."""
    with pytest.raises(InputError, match="a finish flag is 'length'; give True"):
        score_responses(TASK, [["a"], ["b"], ["c"]], finished=[["length"], ["stop"], ["stop"]])


def test_a_tokenizer_of_a_larger_vocabulary_is_named(model, tokenizer):
    with pytest.raises(InputError, match=r"token id 5000; the model's vocabulary allows 0-\d+, so the ids may be"):
        sample(model, tokenizer, [[1, 5000]], SAMPLING)
