"""Think on and off: two variants that are one model asked in both modes, found in the study and held side by side."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headscope.comparison import Resampling, reasoning_leak, think_on_off
from headscope.progress import Progress
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.results.samples import Samples
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import write_json
from headscope.studies.stages import Stage
from headscope.studies.study import Study

FILE = "thinking.json"


@dataclasses.dataclass(frozen=True)
class Mode:
    """Units of one mode: scores on its own pairs, the faithfulness of their circuits, answers by task."""

    variant: str
    scores: Unit
    curve: Unit
    samples: Mapping[str, Unit]


def modes(finals: Sequence[Stage]) -> Iterator[tuple[Stage, Stage]]:
    """(think-on, think-off) of every model among these that is asked with ``enable_thinking`` both true and false.

    Weights, step and all other chat settings are the same; a model asked twice in one mode is paired by its first.
    """
    found: dict[str, dict[bool, Stage]] = {}
    for stage in finals:
        if stage.chat.enable_thinking is not None:
            found.setdefault(_asked(stage), {}).setdefault(stage.chat.enable_thinking, stage)
    return ((each[True], each[False]) for each in found.values() if len(each) == 2)


def _asked(stage: Stage) -> str:
    """What is the same in both modes of one model."""
    trained = None if stage.unit is None else stage.unit.digest
    chat: dict[str, Any] = stage.chat.model_dump(exclude={"enable_thinking"})
    return repr((stage.identity, trained, chat))


def unit(study: Study, run: RunDirectory, on: Mode, off: Mode, off_again: Unit) -> Unit:
    """``thinking.json``: think-on against think-off, arithmetic on saved scores, curves and answers.

    off_again: scores of think-off on its fresh pairs, for the null.
    """
    settings = study.discover
    config = {name: getattr(settings, name) for name in ("fraction", "resamples")} | {"seed": study.seed}
    inputs = {"off again": off_again}
    for name, mode in (("on", on), ("off", off)):
        inputs |= {f"{name} scores": mode.scores, f"{name} curve": mode.curve}
        inputs |= {f"{name} {task}": samples for task, samples in mode.samples.items()}

    def work(out: Path, progress: Progress) -> None:
        leak = {
            task: reasoning_leak(*(Samples.load(run.folder(mode.samples[task])) for mode in (on, off)), seed=study.seed)
            for task in on.samples
        }
        found = think_on_off(
            EdgeScores.load(run.folder(on.scores)),
            EdgeScores.load(run.folder(off.scores)),
            FaithfulnessCurve.load(run.folder(on.curve)),
            FaithfulnessCurve.load(run.folder(off.curve)),
            off_again=EdgeScores.load(run.folder(off_again)),
            resampling=Resampling(settings.fraction, settings.resamples, study.seed),
        )
        write_json(out / FILE, dataclasses.replace(found, leak=leak).as_dict())

    labels = {"variant": off.variant, "think_on": on.variant}
    return Unit("thinking", labels, config, work, inputs=inputs)
