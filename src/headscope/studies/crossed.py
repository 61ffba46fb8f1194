"""Cross model and prompt: base and final checkpoint also scored with base's openings as the clean text."""

from pathlib import Path

from headscope.comparison import Resampling, crossed
from headscope.pairs import Pairs
from headscope.progress import Progress
from headscope.results.edges import EdgeScores
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import write_json
from headscope.studies.study import Study

FILE = "crossed.json"
EXCHANGED = "exchanged"
"""The pair set whose clean text is the base-style one; ``main`` has the variant's."""

Cells = tuple[Unit, Unit]
"""Scores on base-style and on reasoning-style clean, of one model."""


def pairs_unit(run: RunDirectory, main: Unit) -> Unit:
    """The ``main`` pairs with clean and corrupt exchanged: nothing is sampled."""

    def work(out: Path, progress: Progress) -> None:
        Pairs.load(run.folder(main)).exchange().save(out)

    return Unit("pairs", main.labels | {"pairs": EXCHANGED}, {"set": EXCHANGED}, work, inputs={"main": main})


def unit(study: Study, run: RunDirectory, variant: str, base: Cells, post: Cells) -> Unit:
    """``crossed.json`` of a variant: arithmetic on the scores of four cells."""
    settings = study.discover
    config = {name: getattr(settings, name) for name in ("fraction", "resamples")} | {"seed": study.seed}
    cells = dict(zip(("base base-style", "base", "post base-style", "post"), (*base, *post), strict=True))

    def work(out: Path, progress: Progress) -> None:
        how = Resampling(settings.fraction, settings.resamples, study.seed)
        loaded = [EdgeScores.load(run.folder(cell)) for cell in cells.values()]
        write_json(out / FILE, crossed((loaded[0], loaded[1]), (loaded[2], loaded[3]), how).as_dict())

    return Unit("crossed", {"variant": variant}, config, work, inputs=cells, version=2)
