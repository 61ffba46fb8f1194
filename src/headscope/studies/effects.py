"""Effects of every variant's training on every head, and how alike the variants' final circuits are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headscope.comparison import Resampling, effects
from headscope.comparison.circuit_overlap import circuit_overlaps, final_circuits
from headscope.comparison.equal_faithfulness import FAITHFULNESS
from headscope.progress import Progress
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.overlap import EffectMap
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import write_json
from headscope.studies import compare
from headscope.studies.study import Study

FILE = "effects.json"


@dataclass(frozen=True)
class Done:
    """Units of one variant: its comparison, and scores and faithfulness of its final checkpoint."""

    comparison: Unit
    scores: Unit
    curve: Unit


def unit(study: Study, run: RunDirectory, variants: Mapping[str, Done]) -> Unit:
    """``effects.json`` of a study: arithmetic on saved comparisons, scores and curves."""
    settings = study.discover
    config = {name: getattr(settings, name) for name in ("fraction", "resamples")} | {"seed": study.seed}
    inputs = {
        f"{name} {what}": each
        for name, done in variants.items()
        for what, each in (("comparison", done.comparison), ("scores", done.scores), ("curve", done.curve))
    }

    def work(out: Path, progress: Progress) -> None:
        how = Resampling(settings.fraction, settings.resamples, study.seed)
        found, finals = {}, []
        for name, done in variants.items():
            content = compare.read(run.folder(done.comparison))
            found[name] = effects([Emergence.from_dict(each) for each in content["emergence"]])
            scores = EdgeScores.load(run.folder(done.scores))
            finals.append(final_circuits(name, scores, FaithfulnessCurve.load(run.folder(done.curve)), how))
        write_json(out / FILE, EffectMap(found, circuit_overlaps(finals), FAITHFULNESS).as_dict())

    return Unit("effects", {}, config, work, inputs=inputs)
