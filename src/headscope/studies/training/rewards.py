"""Rewards by the names a study file gives them, and the null twin that takes their signal away."""

import random
from collections.abc import Sequence
from typing import Any

from headscope.errors import InputError
from headscope.evaluation import check_answers
from headscope.evaluation.extraction import OPENED, is_still_thinking
from headscope.lab.rewards import lab_calculation, lab_plan
from headscope.runs.digests import digest
from headscope.studies.study_file.references import TaskRef
from headscope.training import Reward, calculation_reward, completion_text, format_reward


def rewards_by_name(names: Sequence[str], dataset: TaskRef) -> list[Reward]:
    """Return rewards for the problems of ``dataset``. Raises InputError for ``plan`` if it has no step labels."""
    lab = isinstance(dataset, str) and dataset.startswith("lab-")
    if "plan" in names and not lab:
        name = dataset if isinstance(dataset, str) else dataset.file
        raise InputError(f"reward plan reads the lab's step labels, and data set {name} has none; leave it out")
    rewards: dict[str, Reward] = {
        "correctness": correctness,
        "format": format_reward,
        "calculation": lab_calculation if lab else calculation_reward,
        "plan": lab_plan,
    }
    return [rewards[name] for name in names]


def correctness(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
    """Return 1 for a correct answer, else 0, by the checker the evaluation uses.

    Columns ``answer`` and ``kind`` are as ``sources`` makes them.
    """
    responses = [completion_text(completion) for completion in completions]
    finished = []
    for prompt, response in zip(prompts, responses, strict=True):
        opened = completion_text(prompt).rstrip().endswith(OPENED)
        finished.append(not is_still_thinking(response, opened))
    verdicts = check_answers(responses, columns["answer"], columns["kind"][0], finished)
    return [float(verdict.correct) for verdict in verdicts]


def permute_reward(reward: Reward, seed: int) -> Reward:
    """Return ``reward`` dealt at random within each prompt's completions: same values and group statistics, no signal.

    The permutation is drawn from the seed and the texts, so that a resumed run draws it again.
    """

    def score(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
        scores = list(reward(prompts, completions, **columns))
        groups: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            groups.setdefault(digest(prompt), []).append(index)
        dealt: list[float | None] = [None] * len(scores)
        for prompt_digest, rows in groups.items():
            texts = [completion_text(completions[row]) for row in rows]
            order = random.Random(digest([seed, prompt_digest, texts])).sample(rows, len(rows))
            for row, source in zip(rows, order, strict=True):
                dealt[row] = scores[source]
        return dealt

    score.__name__ = f"permuted_{getattr(reward, '__name__', type(reward).__name__)}"
    return score
