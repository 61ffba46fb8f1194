"""Make a study's pairs: sampled openings, texts of a file, the lab's leaf digits, or other pairs with
clean and corrupt exchanged.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from headscope.errors import InputError, count_noun
from headscope.evaluation.chat import Chat, render
from headscope.evaluation.table_files import Row, read_table
from headscope.pairs import Pairs
from headscope.progress import Progress
from headscope.runs import Inputs, Unit, Work
from headscope.runs.digests import digest
from headscope.studies.circuits.openings import FEWEST, OpeningsConfig, opening_configs, sample_pairs
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.discover import PairFile, Positions
from headscope.studies.study_file.study import Study

PROBLEM = "problem"

SETS = ("main", "fresh")
"""Sets of a variant's pairs from different problems: one to score on, one for the test-retest null."""


class TextsConfig(Config):
    """Pairs from a file; ``place`` says which, ``digest`` is over the rows of this set.

    chat: how prompts are asked, if the file has any.
    eos: whether the tokenizer may put EOS after a whole text. It did in pairs from before this was kept, which are made
        anew.
    """

    contrast: Literal["texts"] = "texts"
    digest: str
    set_index: int
    pairs: int
    positions: Positions
    seed: int
    place: PairFile
    # Left out of a dump if it is plain: pairs from before it was kept are right then, and keep their digests.
    chat: Chat = Field(default=Chat(), exclude_if=lambda chat: chat == Chat())
    eos: Literal[False] = False


class LeafConfig(Config):
    """Pairs of the lab's problems that differ in one leaf digit.

    thinking: whether the texts are traces, or bare answers as of a model asked not to think.
    """

    contrast: Literal["lab-leaf"] = "lab-leaf"
    set_index: int
    sets: int
    pairs: int
    seed: int
    thinking: bool


class PairsConfig(Config):
    """The source of the texts, and the models that are asked or must be able to read them."""

    base: ModelSource
    final: ModelSource
    source: Annotated[OpeningsConfig | TextsConfig | LeafConfig, Field(discriminator="contrast")]


class ExchangedConfig(Config):
    """The input's pairs with clean and corrupt texts exchanged."""

    contrast: Literal["exchanged"] = "exchanged"


def compute_pairs(config: PairsConfig, inputs: Inputs, progress: Progress) -> Pairs:
    """Return the pairs that both models can read."""
    from headscope.circuits.disagreement import pairs_at_disagreement
    from headscope.studies.models.subjects import check_loaded, keep_readable, load

    base, final, source = config.base.stage(inputs), config.final.stage(inputs), config.source
    check_loaded(base, final)
    if isinstance(source, OpeningsConfig):
        pairs = sample_pairs(source, base, final, progress)
    elif isinstance(source, TextsConfig):
        pairs = _text_pairs(source, final)
    else:
        pairs = _leaf_pairs(source, final)
    pairs = keep_readable(pairs, base, final)[: source.pairs]
    if isinstance(source, OpeningsConfig) and source.positions == "disagreement":
        pairs = pairs_at_disagreement(load(base), load(final), pairs, progress=progress)
    return pairs


def compute_exchanged(config: ExchangedConfig, inputs: Inputs, progress: Progress) -> Pairs:
    """Return the pairs of ``main``, exchanged: nothing is sampled."""
    return inputs.load("main", Pairs).exchange()


PAIRS = Work("pairs", PairsConfig, compute_pairs, version=3)
EXCHANGED = Work("exchanged", ExchangedConfig, compute_exchanged)


def pair_units(study: Study, base: Stage, final: Stage) -> dict[str, Unit]:
    """Return two sets of pairs from different problems: ``main`` and, for the test-retest null, ``fresh``."""
    units = {}
    for name, source in zip(SETS, _pair_sources(study, final), strict=True):
        units[name] = _pairs_unit(base, final, source, name)
    return units


def recall_unit(study: Study, base: Stage, final: Stage) -> Unit:
    """Return pairs of openings of the guard's problems: knowledge without reasoning."""
    settings, guard = study.discover, study.ablate.guard
    assert guard is not None
    positions = settings.positions if settings.contrast == "openings" else "last"
    source = opening_configs(study, (guard,), positions, len(SETS))[0]
    return _pairs_unit(base, final, source, "recall")


def _pairs_unit(base: Stage, final: Stage, source: OpeningsConfig | TextsConfig | LeafConfig, name: str) -> Unit:
    config = PairsConfig(base=base.source, final=final.source, source=source)
    return PAIRS.unit(config, {"variant": final.variant, "pairs": name}, base.inputs | final.inputs)


def exchanged_unit(main: Unit) -> Unit:
    """Return the pairs whose clean text is the base-style one; those of ``main`` have the variant's."""
    return EXCHANGED.unit(ExchangedConfig(), main.labels | {"pairs": "exchanged"}, {"main": main})


def _pair_sources(study: Study, final: Stage) -> "Sequence[OpeningsConfig | TextsConfig | LeafConfig]":
    settings, contrast = study.discover, study.discover.contrast
    if contrast == "openings":
        return opening_configs(study, study.discover_tasks, settings.positions, len(SETS))
    if contrast == "lab-leaf":
        drawn = {"pairs": settings.pairs, "seed": study.seed, "thinking": final.chat.enable_thinking is not False}
        return [LeafConfig(set_index=index, sets=len(SETS), **drawn) for index in range(len(SETS))]
    sets_of_rows = _deal_rows(_read_rows(contrast), study.seed)
    return [
        TextsConfig(
            digest=digest(rows),
            set_index=index,
            pairs=settings.pairs,
            positions=settings.positions,
            seed=study.seed,
            place=contrast,
            chat=final.chat if contrast.prompt else Chat(),
        )
        for index, rows in enumerate(sets_of_rows)
    ]


def _text_pairs(config: TextsConfig, final: Stage) -> Pairs:
    from headscope.studies.models.subjects import load

    rows = _deal_rows(_read_rows(config.place), config.seed)[config.set_index]
    if digest(rows) != config.digest:
        raise InputError(f"the pairs in {config.place.file} have changed since the study was planned; run it again")
    tokenizer = load(final).tokenizer
    prompts = [render(tokenizer, row["prompt"], config.chat) for row in rows] if config.place.prompt else None
    clean, corrupt = [row["clean"] for row in rows], [row["corrupt"] for row in rows]
    positions = config.positions if isinstance(config.positions, str) else list(config.positions)
    problems = [row[PROBLEM] for row in rows]
    return Pairs.from_text(tokenizer, clean, corrupt, prompts=prompts, positions=positions, problems=problems)


def _leaf_pairs(config: LeafConfig, final: Stage) -> Pairs:
    from headscope.lab.pairs import lab_pairs
    from headscope.studies.models.subjects import load

    count = config.sets * config.pairs
    # Bare answers: more are drawn, because in some problems no leaf changes the answer.
    spare = 0 if config.thinking else count
    tokenizer = load(final).tokenizer
    pairs = lab_pairs(tokenizer, count + spare, kind="leaf", seed=config.seed, thinking=config.thinking)[:count]
    return pairs[config.set_index :: config.sets]


def _read_rows(source: PairFile) -> list[dict[str, str]]:
    """Return ``clean``, ``corrupt`` and, if the file has them, ``prompt`` and ``problem`` of every pair."""
    path = Path(source.file).expanduser()
    columns = {"clean": source.clean, "corrupt": source.corrupt}
    columns |= {} if source.prompt is None else {"prompt": source.prompt}
    rows = []
    for number, row in enumerate(read_table(path, "pair file"), start=1):
        for column in columns.values():
            if not isinstance(row.get(column), str) or not row[column]:
                raise InputError(f"row {number} of {path} has no text in column {column!r}; it has {', '.join(row)}")
        pair = {side: row[column] for side, column in columns.items()}
        if source.problem is not None:
            pair[PROBLEM] = _read_problem(row, source.problem, f"row {number} of {path}")
        rows.append(pair)
    _check_pairs_of_two_problems(rows, path)
    return rows


def _check_pairs_of_two_problems(rows: list[dict[str, str]], path: Path) -> None:
    """Raise InputError if two rows with the same texts are said to be of two problems: one pair would count twice."""
    first: dict[tuple[str, ...], tuple[int, str]] = {}
    for number, row in enumerate(rows, start=1):
        if PROBLEM not in row:
            continue
        texts = tuple(text for side, text in row.items() if side != PROBLEM)
        earlier, problem = first.setdefault(texts, (number, row[PROBLEM]))
        if problem != row[PROBLEM]:
            raise InputError(
                f"rows {earlier} and {number} of {path} are the same pair, of problems {problem!r} and "
                f"{row[PROBLEM]!r}; problems are what is counted, so give it to one of them"
            )


def _read_problem(row: Row, column: str, location: str) -> str:
    problem = row.get(column)
    if not isinstance(problem, str | int) or isinstance(problem, bool) or problem == "":
        has = ", ".join(row)
        raise InputError(f"{location} has no text or whole number in column {column!r}; it has {has}")
    return str(problem)


def _deal_rows(rows: list[dict[str, str]], seed: int) -> list[list[dict[str, str]]]:
    """Return different rows, dealt to as many sets as there are, those of one problem together, and named by it.

    Without a column of problems, rows with one prompt, or without prompts with one clean text, are of one problem; it
    is named by its number in the file.
    """
    problems: dict[str, list[dict[str, str]]] = {}
    # By content: a row that stands twice in the file is one pair.
    for row in {tuple(row.items()): row for row in rows}.values():
        problems.setdefault(row.get(PROBLEM, row.get("prompt", row["clean"])), []).append(row)
    keys = list(problems)
    numbers = {key: str(number) for number, key in enumerate(keys, start=1)}
    random.Random(seed).shuffle(keys)
    dealt: list[list[dict[str, str]]] = [[] for _ in SETS]
    for index, key in enumerate(keys):
        dealt[index % len(SETS)] += [{PROBLEM: numbers[key]} | row for row in problems[key]]
    if len(keys) < FEWEST * len(SETS):
        problem_count = count_noun(len(keys), "problem")
        pairs = sum(map(len, dealt))
        raise InputError(
            f"the file of discover.contrast holds {problem_count} with {pairs} different pairs; "
            f"needed are {FEWEST} problems in each of {len(SETS)} sets of pairs"
        )
    return dealt
