"""Pairs from sampled openings: the same problem, begun as the post-trained model begins it and as the base does."""

import math
import random
from dataclasses import replace
from pathlib import Path

from headscope.errors import InputError
from headscope.evaluation import Problem, Sampling, prompt_ids, sample
from headscope.pairs import Pairs
from headscope.progress import Progress
from headscope.runs import Unit
from headscope.studies import sources
from headscope.studies.stages import Stage
from headscope.studies.study import DiscoverConfig, Study

SETS = ("main", "fresh")
SPARE = 4  # candidates drawn per wanted pair: some answers are too short, some openings equal


def units(study: Study, base: Stage, final: Stage) -> dict[str, Unit]:
    """The two sets of a variant, from different problems: ``main`` and, for the test-retest null, ``fresh``."""
    problems = [problem for ref in study.discover_tasks for problem in sources.task(ref, study.data_dir).problems]
    if len(problems) < len(SETS):
        raise InputError(
            f"discover.tasks hold {len(problems)} problem; at least {len(SETS)} are needed, one per pair set"
        )
    random.Random(study.seed).shuffle(problems)
    return {name: _unit(study, base, final, name, problems[index :: len(SETS)]) for index, name in enumerate(SETS)}


def _unit(study: Study, base: Stage, final: Stage, name: str, problems: list[Problem]) -> Unit:
    settings = study.discover
    config = {
        "pairs": settings.pairs,
        "opening_tokens": settings.opening_tokens,
        "temperature": settings.temperature,
        "positions": settings.positions,
        "seed": study.seed,
        "problems": sources.task_digest(problems),
        "base": base.identity | base.config.chat.model_dump(),
        "final": final.identity | final.config.chat.model_dump(),
    }

    def work(out: Path, progress: Progress) -> None:
        from headscope.studies.subjects import check_loaded, readable

        check_loaded(base, final)
        per_problem = max(1, math.ceil(SPARE * settings.pairs / len(problems)))
        asked = problems[: math.ceil(SPARE * settings.pairs / per_problem)]
        sampling = Sampling(per_problem, settings.opening_tokens, settings.temperature, 1.0, study.seed)
        corrupt = _openings(base, asked, sampling, progress)
        # Another seed: with shared random numbers two like models would open alike, and equal openings are no pair.
        clean = _openings(final, asked, replace(sampling, seed=study.seed + 1), progress)
        prompts = [prompt for prompt in _prompts(final, asked) for _ in range(per_problem)]
        # All problems once, then all of them again: the first so many pairs come from as many problems as there are.
        turns = [index for turn in range(per_problem) for index in range(turn, len(prompts), per_problem)]
        pairs = Pairs.from_openings(
            [prompts[index] for index in turns],
            [clean[index] for index in turns],
            [corrupt[index] for index in turns],
            settings.opening_tokens,
            _evaluated(settings),
            bos=_bos(final),
        )
        pairs = readable(pairs, base, final)[: settings.pairs]
        if settings.positions == "disagreement":
            pairs = _at_disagreement(base, final, pairs, progress)
        pairs.save(out)

    return Unit("pairs", {"variant": final.variant, "pairs": name}, config, work, inputs=base.inputs | final.inputs)


def _evaluated(settings: DiscoverConfig) -> str | list[int]:
    """Evaluated positions as ``Pairs`` counts them: texts differ in length, so an opening's from the end."""
    if settings.positions == "disagreement":
        return "answer"  # to choose from, once the pairs are made
    if isinstance(settings.positions, str):
        return settings.positions
    return [each if each < 0 else each - settings.opening_tokens for each in settings.positions]


def _at_disagreement(base: Stage, final: Stage, pairs: Pairs, progress: Progress) -> Pairs:
    from headscope.circuits.disagreement import pairs_at_disagreement
    from headscope.studies.subjects import load

    return pairs_at_disagreement(load(base), load(final), pairs, progress=progress)


def _prompts(stage: Stage, problems: list[Problem]) -> list[list[int]]:
    from headscope.studies.subjects import load

    tokenizer = load(stage).tokenizer
    return [prompt_ids(tokenizer, problem.prompt, stage.chat) for problem in problems]


def _openings(stage: Stage, problems: list[Problem], sampling: Sampling, progress: Progress) -> list[tuple[int, ...]]:
    """The first tokens of the stage's answers, problem-major."""
    from headscope.studies.subjects import load

    subject = load(stage)
    answers = sample(subject.model, subject.tokenizer, _prompts(stage, problems), sampling, progress=progress)
    return [answer.tokens for answer in answers]


def _bos(stage: Stage) -> int | None:
    from headscope.studies.subjects import load

    bos: int | None = load(stage).tokenizer.bos_token_id
    return bos
