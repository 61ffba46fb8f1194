"""Word problems: worked answers that add up, splits that share nothing, stories that are not all alike."""

import random
import re

import pytest

from headscope.lab import word_problems
from headscope.lab.builtin_data import TASKS as LAB_TASKS
from headscope.studies.data import sources

NUMBER = re.compile(r"\d+")
STEP = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")
OPERATIONS = {"add": "+", "subtract": "-", "multiply": "*"}


@pytest.mark.parametrize("tier", word_problems.TIERS)
def test_every_step_is_right_and_the_last_is_the_answer(tier: str) -> None:
    rng = random.Random(0)
    for _ in range(100):
        problem = word_problems.draw_problem(tier, rng)
        steps = STEP.findall(problem.solution)
        for left, operator, right, result in steps:
            assert eval(f"{left}{operator}{right}") == int(result)
        assert int(steps[-1][3]) == problem.answer >= 2
        assert len(steps) == (2 if tier == "two steps" else 1)
        if tier in OPERATIONS:
            assert steps[0][1] == OPERATIONS[tier]
        if tier == "two steps":
            assert steps[1][0] == steps[0][3]


def test_a_question_tells_exactly_the_numbers_that_its_answer_takes() -> None:
    for problem in word_problems.draw_problems("train", 200, seed=3):
        steps = STEP.findall(problem.solution)
        taken = [steps[0][0], *(right for _, _, right, _ in steps)]
        assert sorted(NUMBER.findall(problem.question)) == sorted(taken)


def test_the_task_is_fixed_and_its_tiers_take_turns() -> None:
    test = sources.task("word-problems")
    assert len(test) == 200
    assert [problem.group for problem in test.problems[:4]] == list(word_problems.TIERS)
    assert {problem.kind for problem in test.problems} == {"number"}
    assert sources.task_digest(test.problems)[:12] == "46e86da888d6"


def test_splits_share_no_question_and_only_the_train_split_has_worked_answers() -> None:
    test, train = sources.task("word-problems"), sources.task("word-problems-train")
    assert not {problem.question for problem in test.problems} & {problem.question for problem in train.problems}
    assert not any(problem.solution for problem in test.problems)
    problem = train.problems[0]
    assert problem.worked_answer == f"{problem.solution}\n\\boxed{{{problem.answer}}}"
    assert len(sources.training_records("word-problems-train")) == 2000


def test_stories_differ_in_form_and_not_only_in_numbers() -> None:
    words = {*word_problems.NAMES, *word_problems.THINGS}
    pattern = re.compile("|".join([r"\d+", *words]))
    forms = {pattern.sub("_", problem.question) for problem in word_problems.draw_problems("test", 200, seed=0)}
    assert len(forms) > 100


def test_names_of_tasks_do_not_repeat() -> None:
    assert not set(word_problems.TASKS) & set(LAB_TASKS)
    assert "word-problems" in sources.task_names()
    assert "word-problems-train" in sources.dataset_names()
