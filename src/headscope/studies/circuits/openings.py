"""Pairs from sampled openings: the same problem, begun as the post-trained model begins it and as the base does."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from headscope.errors import InputError, count_noun
from headscope.evaluation import Problem, Sampling, prompt_ids, sample
from headscope.pairs import Pairs
from headscope.progress import Progress
from headscope.studies.data import sources
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import Stage
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.discover import Positions
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study

CANDIDATES_PER_PAIR = 4  # some answers are too short, some openings equal

FEWEST = 2
"""Problems of a set of pairs: one says nothing of others."""


class OpeningsConfig(Config):
    """Pairs of openings sampled from base and final model.

    tasks: whose problems are asked; they are shuffled by ``seed`` and dealt to as many sets as there are.
    set_index, sets: which of the sets this is.
    pairs: how many the set has. candidates: openings drawn for each of them.
    opening_tokens: length of an opening. positions: of an opening, where next-token distributions are read.
    """

    contrast: Literal["openings"] = "openings"
    tasks: tuple[TaskSource, ...]
    set_index: int
    sets: int
    pairs: int
    candidates: int
    opening_tokens: int
    temperature: float
    positions: Positions
    seed: int

    def problems(self) -> list[tuple[str, Problem]]:
        """Return the problems of this set with their names, in the order they are asked.

        A name is an id with its task's name before it, because ids are unique within a task alone.
        """
        problems = []
        for source in self.tasks:
            task = source.task()
            problems += [
                (f"{task.name}/{problem.id.removeprefix(f'{task.name}/')}", problem) for problem in task.problems
            ]
        random.Random(self.seed).shuffle(problems)
        return problems[self.set_index :: self.sets]


def opening_configs(study: Study, tasks: Sequence[TaskRef], positions: Positions, sets: int) -> list[OpeningsConfig]:
    """Return the settings of as many sets of pairs, from different problems of these tasks.

    Raises InputError if there are fewer than ``FEWEST`` problems for each set.
    """
    task_sources = tuple(TaskSource.from_ref(ref, study.data_dir) for ref in tasks)
    problems = sum(len(sources.task(ref, study.data_dir)) for ref in tasks)
    if problems < FEWEST * sets:
        raise InputError(
            f"discover.tasks hold {count_noun(problems, 'problem')}; needed are {FEWEST} problems in each of {sets} "
            "pair sets"
        )
    settings = study.discover
    return [
        OpeningsConfig(
            tasks=task_sources,
            set_index=index,
            sets=sets,
            pairs=settings.pairs,
            candidates=CANDIDATES_PER_PAIR,
            opening_tokens=settings.opening_tokens,
            temperature=settings.temperature,
            positions=positions,
            seed=study.seed,
        )
        for index in range(sets)
    ]


def sample_pairs(config: OpeningsConfig, base: Stage, final: Stage, progress: Progress) -> Pairs:
    """Return candidates that both models sampled, in the order in which pairs are taken from them."""
    from headscope.studies.models.subjects import load

    problems = config.problems()
    openings = config.candidates * config.pairs
    per_problem = max(1, math.ceil(openings / len(problems)))
    drawn = problems[: math.ceil(openings / per_problem)]
    opened = [problem for _, problem in drawn]
    sampling = Sampling(per_problem, config.opening_tokens, config.temperature, 1.0, config.seed)
    corrupt = _openings(base, opened, sampling, progress)
    # Another seed: with shared random numbers two like models would open alike, and equal openings are no pair.
    clean = _openings(final, opened, replace(sampling, seed=config.seed + 1), progress)
    prompts = [prompt for prompt in _prompts(final, opened) for _ in range(per_problem)]
    # All problems once, then all of them again: the first so many pairs come from as many problems as there are.
    order = [index for turn in range(per_problem) for index in range(turn, len(prompts), per_problem)]
    return Pairs.from_openings(
        [prompts[index] for index in order],
        [clean[index] for index in order],
        [corrupt[index] for index in order],
        config.opening_tokens,
        _evaluated_positions(config),
        bos=load(final).tokenizer.bos_token_id,
        problems=[drawn[index // per_problem][0] for index in order],
    )


def _evaluated_positions(config: OpeningsConfig) -> str | list[int]:
    """Return evaluated positions as ``Pairs`` counts them: texts differ in length, so an opening's from the end."""
    if config.positions == "disagreement":
        return "answer"  # to choose from, once the pairs are made
    if isinstance(config.positions, str):
        return config.positions
    return [position if position < 0 else position - config.opening_tokens for position in config.positions]


def _prompts(stage: Stage, problems: list[Problem]) -> list[list[int]]:
    from headscope.studies.models.subjects import load

    tokenizer = load(stage).tokenizer
    return [prompt_ids(tokenizer, problem.prompt, stage.chat) for problem in problems]


def _openings(stage: Stage, problems: list[Problem], sampling: Sampling, progress: Progress) -> list[tuple[int, ...]]:
    """Return the first tokens of the stage's answers, problem-major."""
    from headscope.studies.models.subjects import load

    subject = load(stage)
    answers = sample(subject.model, subject.tokenizer, _prompts(stage, problems), sampling, progress=progress)
    return [answer.tokens for answer in answers]
