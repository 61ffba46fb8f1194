"""The reward GRPO is given by a study: the evaluation's own checker, each completion against its own answer."""

from typing import Any

import pytest

from headscope.errors import InputError
from headscope.studies.training.rewards import correctness, permute_reward, rewards_by_name


def test_each_completion_is_checked_against_its_own_answer() -> None:
    said = [{"role": "assistant", "content": "<think></think> <ans> 4"}]
    columns = {"answer": ["4", "5"], "kind": ["exact", "exact"], "trainer_state": None}
    assert correctness(["?", "?"], [said, said], **columns) == [1.0, 0.0]


def test_math_answers_are_compared_as_math() -> None:
    columns = {"answer": ["1/2", "1/2"], "kind": ["math", "math"]}
    assert correctness(["?", "?"], ["so \\boxed{0.5}", "so \\boxed{0.25}"], **columns) == [1.0, 0.0]


def _length(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
    return [float(len(text)) for text in completions]


def test_permuted_rewards_stay_within_their_prompt_and_leave_their_completion() -> None:
    prompts = ["a"] * 40 + ["b"] * 40
    completions = ["x" * length for length in range(80)]
    plain = _length(prompts, completions)
    score = permute_reward(_length, seed=0)
    found = score(prompts, completions)
    assert sorted(found[:40]) == plain[:40]  # type: ignore[type-var]
    assert sorted(found[40:]) == plain[40:]  # type: ignore[type-var]
    assert sum(one == other for one, other in zip(found, plain, strict=True)) < 10
    assert found == score(prompts, completions)
    assert found != permute_reward(_length, seed=1)(prompts, completions)
    assert score.__name__ == "permuted__length"


def test_rewards_by_name_know_the_lab_from_real_problems() -> None:
    assert [each.__name__ for each in rewards_by_name(["correctness", "calculation"], "gsm8k")] == [
        "correctness",
        "calculation_reward",
    ]
    assert [each.__name__ for each in rewards_by_name(["plan", "calculation"], "lab-train")] == [
        "lab_plan",
        "lab_calculation",
    ]
    with pytest.raises(InputError, match="reward plan reads the lab's step labels, and data set gsm8k has none"):
        rewards_by_name(["plan"], "gsm8k")
