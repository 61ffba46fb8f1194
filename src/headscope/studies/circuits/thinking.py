"""Think on and off: two variants that are one model asked in both modes, found in the study and compared."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headscope.comparison import reasoning_leak, think_on_off
from headscope.progress import Progress
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve, FaithfulnessEstimates
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking
from headscope.runs import Inputs, Unit, Work
from headscope.studies.models.stages import Stage
from headscope.studies.study_file.config import CircuitConfig
from headscope.studies.study_file.study import Study


@dataclasses.dataclass(frozen=True)
class Mode:
    """Units of one mode: scores on its own pairs, the faithfulness of their circuits, answers by task."""

    variant: str
    scores: Unit
    curve: Unit
    samples: Mapping[str, Unit]


class ThinkingConfig(CircuitConfig):
    """Sizes of circuits, and the ``tasks`` that both modes answered."""

    tasks: tuple[str, ...]


def compute_thinking(config: ThinkingConfig, inputs: Inputs, progress: Progress) -> Thinking:
    """Return think-on against think-off: arithmetic on saved scores, curves and answers."""
    on_scores, off_scores = inputs.load("on scores", EdgeScores), inputs.load("off scores", EdgeScores)
    on_curve, off_curve = (
        inputs.load("on curve", FaithfulnessEstimates),
        inputs.load("off curve", FaithfulnessEstimates),
    )
    circuit = config.choose(off_curve, on_curve, off_scores.graph)
    thinking = think_on_off(
        on_scores,
        off_scores,
        inputs.load("on curve", FaithfulnessCurve),
        inputs.load("off curve", FaithfulnessCurve),
        off_again=inputs.load("off again", EdgeScores),
        resampling=config.resampling(circuit.fraction),
        faithfulness=config.faithfulness,
    )
    leak = {}
    for task in config.tasks:
        on, off = inputs.load(f"on {task}", Samples), inputs.load(f"off {task}", Samples)
        leak[task] = reasoning_leak(on, off, seed=config.seed)
    return dataclasses.replace(thinking, leak=leak, circuit=circuit)


THINKING = Work("thinking", ThinkingConfig, compute_thinking, version=7)


def think_pairs(finals: Sequence[Stage]) -> Iterator[tuple[Stage, Stage]]:
    """Yield (think-on, think-off) of every model among these that is asked with ``enable_thinking`` true and false.

    Weights, step and all other chat settings are the same; a model asked twice in one mode is paired by its first.
    """
    modes: dict[str, dict[bool, Stage]] = {}
    for stage in finals:
        if stage.chat.enable_thinking is not None:
            modes.setdefault(_model_asked(stage), {}).setdefault(stage.chat.enable_thinking, stage)
    return ((stages[True], stages[False]) for stages in modes.values() if len(stages) == 2)


def _model_asked(stage: Stage) -> str:
    """Return what is the same in both modes of one model."""
    trained = None if stage.unit is None else stage.unit.digest
    source: dict[str, Any] = stage.source.model_dump(exclude={"name", "trained_by", "place", "chat"})
    chat: dict[str, Any] = stage.chat.model_dump(exclude={"enable_thinking"})
    return repr((source, trained, chat))


def thinking_unit(study: Study, on: Mode, off: Mode, off_again: Unit) -> Unit:
    """Return the unit of think-on against think-off. off_again: scores of think-off on fresh pairs, for the null."""
    inputs = {"off again": off_again}
    for name, mode in (("on", on), ("off", off)):
        inputs |= {f"{name} scores": mode.scores, f"{name} curve": mode.curve}
        inputs |= {f"{name} {task}": samples for task, samples in mode.samples.items()}
    config = ThinkingConfig(tasks=tuple(on.samples), **study.bootstrap.model_dump(), **study.circuit)
    return THINKING.unit(config, {"variant": off.variant, "think_on": on.variant}, inputs)
