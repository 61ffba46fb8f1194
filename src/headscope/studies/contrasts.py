"""What a study's pairs contrast: sampled openings, or texts that were given."""

import random
from pathlib import Path

from headscope.errors import InputError
from headscope.evaluation.table_files import read_table
from headscope.pairs import Pairs
from headscope.progress import Progress
from headscope.runs import Unit
from headscope.runs.files import digest
from headscope.studies import openings
from headscope.studies.stages import Stage
from headscope.studies.study import PairFile, Study

FEWEST = 2
"""Pairs of a set."""


def units(study: Study, base: Stage, final: Stage) -> dict[str, Unit]:
    """Two sets of pairs from different problems: ``main`` and, for the test-retest null, ``fresh``."""
    contrast = study.discover.contrast
    if contrast == "openings":
        return openings.units(study, base, final)
    parts = _parted(_rows(contrast), study.seed) if isinstance(contrast, PairFile) else [[] for _ in openings.SETS]
    return {name: _unit(study, base, final, name, part) for name, part in zip(openings.SETS, parts, strict=True)}


def _unit(study: Study, base: Stage, final: Stage, name: str, rows: list[dict[str, str]]) -> Unit:
    settings, index = study.discover, openings.SETS.index(name)
    config = {
        "contrast": settings.contrast if isinstance(settings.contrast, str) else digest(rows),
        "pairs": settings.pairs,
        "positions": settings.positions,
        "seed": study.seed,
        "set": index,
        "base": base.identity,
        "final": final.identity | final.config.chat.model_dump(),
    }

    def work(out: Path, progress: Progress) -> None:
        from headscope.studies.subjects import check_loaded, load, readable

        check_loaded(base, final)
        tokenizer = load(final).tokenizer
        if isinstance(settings.contrast, PairFile):
            asked = [final.chat.messages(row["prompt"]) for row in rows] if settings.contrast.prompt else None
            clean, corrupt = ([row[side] for row in rows] for side in ("clean", "corrupt"))
            positions = settings.positions if isinstance(settings.positions, str) else list(settings.positions)
            pairs = Pairs.from_text(tokenizer, clean, corrupt, prompts=asked, positions=positions)
        else:
            from headscope.lab.pairs import lab_pairs

            drawn = lab_pairs(tokenizer, len(openings.SETS) * settings.pairs, kind="leaf", seed=study.seed)
            pairs = drawn[index :: len(openings.SETS)]
        readable(pairs, base, final)[: settings.pairs].save(out)

    labels = {"variant": final.variant, "pairs": name}
    return Unit("pairs", labels, config, work, inputs=base.inputs | final.inputs)


def _rows(source: PairFile) -> list[dict[str, str]]:
    """``clean``, ``corrupt`` and, where the file has it, ``prompt`` of every pair."""
    path = Path(source.file).expanduser()
    columns = {"clean": source.clean, "corrupt": source.corrupt}
    columns |= {} if source.prompt is None else {"prompt": source.prompt}
    found = []
    for number, row in enumerate(read_table(path), start=1):
        for column in columns.values():
            if not isinstance(row.get(column), str) or not row[column]:
                raise InputError(f"row {number} of {path} has no text in column {column!r}; it has {', '.join(row)}")
        found.append({side: row[column] for side, column in columns.items()})
    return found


def _parted(rows: list[dict[str, str]], seed: int) -> list[list[dict[str, str]]]:
    """Different rows in as many parts as there are sets; those of one prompt, or one clean text, stay together."""
    problems: dict[str, list[dict[str, str]]] = {}
    for row in {tuple(each.items()): each for each in rows}.values():
        problems.setdefault(row.get("prompt", row["clean"]), []).append(row)
    keys, sets = list(problems), len(openings.SETS)
    random.Random(seed).shuffle(keys)
    parts = [[row for key in keys[i::sets] for row in problems[key]] for i in range(sets)]
    if min(map(len, parts)) < FEWEST:
        raise InputError(
            f"the file of discover.contrast holds {len(keys)} problems with {sum(map(len, parts))} different pairs; "
            f"needed are {FEWEST} pairs in each of {sets} sets of different problems"
        )
    return parts
