"""The plan: every unit a study asks for, from what is on disk and in its file. Nothing is computed and torch is not
loaded.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.results.head_sets import THINK_OFF_ONLY
from headscope.runs import RunDirectory, Unit, Work
from headscope.runs.recipes import BASE, missing_signal
from headscope.runs.units import closure
from headscope.studies.ablation.ablate import Sweep
from headscope.studies.ablation.ablated import ABLATED, ABLATED_SHARD, CONSTANTS, VERDICT
from headscope.studies.ablation.evidence import EVIDENCE
from headscope.studies.ablation.failures import FAILURES
from headscope.studies.ablation.forced import FORCED
from headscope.studies.ablation.head_revert import HEAD_REVERT
from headscope.studies.ablation.head_scaling import HEAD_SCALING
from headscope.studies.ablation.headsets import HEAD_SETS, HeadSources
from headscope.studies.ablation.role_losses import ROLE_LOSSES
from headscope.studies.answers.evaluate import MEASURES, SAMPLES, SHARD, masked_units, measures_unit, samples_unit
from headscope.studies.answers.head_roles import HEAD_ROLES, head_roles_unit
from headscope.studies.answers.traces import TRACES, traces_unit
from headscope.studies.answers.transitions import TRANSITIONS, transitions_unit
from headscope.studies.circuits.attention import ATTENTION, attention_unit
from headscope.studies.circuits.compare import COMPARISON, ScoreUnits, comparison_unit
from headscope.studies.circuits.contrasts import EXCHANGED, PAIRS, exchanged_unit, pair_units
from headscope.studies.circuits.crossed import CROSSED, crossed_unit
from headscope.studies.circuits.discover import FAITHFULNESS, SCORES, faithfulness_unit, scores_unit
from headscope.studies.circuits.relative_changes import RELATIVE_CHANGES, FinalUnits, relative_changes_unit
from headscope.studies.circuits.reward_coupling import REWARD_COUPLING, reward_coupling_units
from headscope.studies.circuits.thinking import THINKING, Mode, think_pairs, thinking_unit
from headscope.studies.circuits.training_effects import (
    HEAD_SCORES,
    POOLED_EFFECTS,
    TRAINING_EFFECTS,
    EffectSources,
    training_effects_units,
)
from headscope.studies.models.stages import Stage, trained_stages
from headscope.studies.models.study_stages import ablated_stage, base_stage, checkpoint_stages, variant_model
from headscope.studies.study_file.ablate import NO_MODES
from headscope.studies.study_file.models import VariantConfig
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study
from headscope.studies.training.train import TRAIN, base_training, foretells_steps, train_unit
from headscope.training import read_log

WORKS: tuple[Work[Any], ...] = (
    TRAIN,
    SHARD,
    SAMPLES,
    MEASURES,
    TRACES,
    TRANSITIONS,
    PAIRS,
    EXCHANGED,
    SCORES,
    FAITHFULNESS,
    COMPARISON,
    CROSSED,
    THINKING,
    RELATIVE_CHANGES,
    HEAD_SCORES,
    TRAINING_EFFECTS,
    POOLED_EFFECTS,
    REWARD_COUPLING,
    ATTENTION,
    HEAD_ROLES,
    HEAD_SETS,
    ABLATED_SHARD,
    ABLATED,
    CONSTANTS,
    VERDICT,
    FAILURES,
    FORCED,
    EVIDENCE,
    ROLE_LOSSES,
    HEAD_SCALING,
    HEAD_REVERT,
)
KINDS = {work.kind: work for work in WORKS}
EFFECTS = ("effects", "training_effects", "pooled_effects")
COMPARED = ("comparison", "crossed", "thinking", *EFFECTS, "reward_coupling", "attention", "head_roles")
ANSWERED = ("measures", "traces", "transitions")
ABLATED_KINDS = ("verdict", "failures", "evidence", "role_losses", "head_scaling", "head_revert")
GOALS = {
    "train": ("train",),
    "discover": ("scores", "faithfulness"),
    "compare": COMPARED,
    "eval": ANSWERED,
    "ablate": ABLATED_KINDS,
    "run": ("train", "scores", "faithfulness", *COMPARED, *ANSWERED, *ABLATED_KINDS),
}


def plan(study: Study, run: RunDirectory, goal: str = "run") -> list[Unit]:
    """Return the units of ``goal`` and all they need, inputs first.

    They come in the order train, evaluate, pairs, scores, compare, ablate.
    """
    if not study.variants and goal not in ("run", "eval"):
        raise InputError(f"study {study.name} has no variants, and {goal} needs at least one")
    return closure([unit for unit in _units(study, run) if unit.kind in GOALS[goal]])


def listed_units(study: Study, run: RunDirectory, units: Iterable[Unit]) -> list[Unit]:
    """Return a goal's ``units`` and whatever else of the study is finished: a narrower verb hides no result."""
    asked = {unit.address for unit in units}
    return [unit for unit in plan(study, run) if unit.address in asked or run.is_done(unit)]


def training_units(units: Iterable[Unit]) -> list[Unit]:
    """Return the trainings of a plan."""
    return [unit for unit in units if unit.kind == "train"]


def certain_units(units: Iterable[Unit]) -> list[Unit]:
    """Return the part of a plan that no training changes: all that reads no training whose data tells its steps.

    Where settings tell them (``max_steps``) the checkpoints are known, so that one worker reads a finished model while
    another still trains.
    """
    certain: list[Unit] = []
    waiting: set[str] = set()  # for such a training
    for unit in units:  # inputs come first
        if unit.kind != "train" and any(
            needed.address in waiting or not foretells_steps(needed) for needed in unit.inputs.values()
        ):
            waiting.add(unit.address)
        else:
            certain.append(unit)
    return certain


def _units(study: Study, run: RunDirectory) -> Iterator[Unit]:
    """Yield every unit of a study, in the order in which each is first needed."""
    trained = trainings_by_name(study)
    base = base_stage(study, trained.get(BASE))
    # Trainings first: what they make decides which checkpoints there are.
    yield from trained.values()
    stages = {}
    for variant in study.variants:
        stages[variant.name] = checkpoint_stages(study, variant, run, trained.get(variant.name))
    yield from _evaluations(study, base, stages)
    yield from _evaluations_over_steps(study, base, stages)
    yield from _circuit_units(study, base, stages, trained)


def trainings_by_name(study: Study) -> dict[str, Unit]:
    """Return the training of the base and of each variant that is trained here; one unit for two that are the same."""
    base_unit = base_training(study)
    base = base_stage(study, base_unit)
    trained = {} if base_unit is None else {BASE: base_unit}
    for variant in study.variants:
        if variant.train is not None:
            chat = variant_model(study, variant).chat
            trained[variant.name] = train_unit(study, variant.name, variant.train, base, chat)
    return trained


def _evaluations(study: Study, base: Stage, stages: Mapping[str, list[Stage]]) -> Iterator[Unit]:
    """Yield what is made of the answers of base and last checkpoints, task by task."""
    for ref in study.tasks:
        before = _AnswerUnits.for_task(study, base, ref)
        yield from (*before.units(study), *_masked_units(study, base, ref))
        for checkpoints in stages.values():
            after = _AnswerUnits.for_task(study, checkpoints[-1], ref)
            yield from (*after.units(study, before), *_masked_units(study, checkpoints[-1], ref))


def _circuit_units(
    study: Study, base: Stage, stages: Mapping[str, list[Stage]], trained: Mapping[str, Unit]
) -> Iterator[Unit]:
    """Yield what is made of circuits: scores, comparisons and ablations by variant, then what compares variants."""
    circuits = {name: _circuits(study, name, base, checkpoints) for name, checkpoints in stages.items()}
    modes = {unit.labels["variant"]: unit for unit in _thinking_units(study, circuits, stages)}
    if THINK_OFF_ONLY in study.ablate.heads and not modes:
        raise InputError(NO_MODES)
    nulls = {variant.name for variant in study.variants if missing_signal(variant.model_dump())}
    finals, effect_sources = {}, {}
    for variant in study.variants:
        units = circuits[variant.name]
        log = _reward_log(variant)
        comparison = comparison_unit(study, variant.name, units.scores, log, trained.get(variant.name))
        finals[variant.name] = FinalUnits(comparison, units.last, units.scores.curves[1])
        fresh = units.pairs["fresh"]
        effect_sources[variant.name] = EffectSources(units.base, units.final, fresh, units.scores.fresh, comparison)
        yield from _variant_units(study, units, comparison)
        if study.discover.attention:
            yield attention_unit(study, units.base, units.final, units.pairs["main"], comparison)
        roles = _role_units(study, units)
        yield from roles
        if study.ablate.null_twins or variant.name not in nulls:
            thinking = modes.get(variant.name)
            yield from _ablation_units(study, base, stages[variant.name], comparison, thinking, roles)
    if finals:
        yield relative_changes_unit(study, finals)
    yield from reward_coupling_units(study, {name: units.comparison for name, units in finals.items()})
    if study.discover.effects:
        yield from training_effects_units(study, effect_sources)
    for thinking in modes.values():
        yield from (thinking.inputs["off again"], thinking)


@dataclass(frozen=True)
class _AnswerUnits:
    """Units of one model's answers to one task."""

    samples: Unit
    traces: Unit

    @classmethod
    def for_task(cls, study: Study, stage: Stage, ref: TaskRef) -> "_AnswerUnits":
        samples = samples_unit(study, stage, ref)
        return cls(samples, traces_unit(study, stage, ref, samples))

    def units(self, study: Study, before: "_AnswerUnits | None" = None) -> list[Unit]:
        """Return what is made of the answers; ``before`` are the base's, to compare with."""
        units = [measures_unit(study, self.samples, None if before is None else before.samples)]
        units.append(self.traces)
        if before is not None:
            units.append(transitions_unit(before.traces, self.traces))
        return units


def _masked_units(study: Study, stage: Stage, ref: TaskRef) -> Iterator[Unit]:
    """Yield the units of a stage's answers without the forbidden markers, if the study forbids any."""
    for measures in masked_units(study, stage, ref):
        yield from (measures, traces_unit(study, stage, ref, measures.inputs["samples"]))


def _evaluations_over_steps(study: Study, base: Stage, stages: Mapping[str, list[Stage]]) -> Iterator[Unit]:
    """Yield what is made of the answers of every ``eval.every``-th checkpoint before the last, all tasks of one after
    another.
    """
    every = study.eval.every
    if every is None:
        return
    for checkpoints in stages.values():
        for stage in trained_stages(checkpoints)[every - 1 : -1 : every]:
            for ref in study.tasks:
                before, after = _AnswerUnits.for_task(study, base, ref), _AnswerUnits.for_task(study, stage, ref)
                yield from after.units(study, before)


@dataclass(frozen=True)
class _Circuits:
    """Units of one variant's circuits."""

    base: Stage
    final: Stage
    pairs: dict[str, Unit]
    scores: ScoreUnits

    @property
    def last(self) -> Unit:
        """Return the scores of the final checkpoint."""
        return self.scores.checkpoints[self.final.step]


def _circuits(study: Study, variant: str, base: Stage, stages: list[Stage]) -> _Circuits:
    pairs = pair_units(study, base, stages[-1])
    later = trained_stages(stages)
    main, fresh = pairs["main"], pairs["fresh"]
    before = scores_unit(study, base, variant, main)
    checkpoints = {stage.step: scores_unit(study, stage, variant, main) for stage in later}
    last = checkpoints[later[-1].step]
    curves = faithfulness_unit(study, base, before), faithfulness_unit(study, later[-1], last)
    scores = ScoreUnits(before, scores_unit(study, base, variant, fresh), checkpoints, curves)
    return _Circuits(base, later[-1], pairs, scores)


def _variant_units(study: Study, circuits: _Circuits, comparison: Unit) -> Iterator[Unit]:
    scores = circuits.scores
    yield from (scores.base, scores.fresh, *scores.checkpoints.values(), *scores.curves)
    yield comparison
    if study.discover.crossed:
        yield from _crossed_units(study, circuits.final.variant, circuits, comparison)


def _role_units(study: Study, circuits: _Circuits) -> list[Unit]:
    if not study.discover.attention:
        return []
    answers = [samples_unit(study, circuits.final, ref) for ref in study.role_tasks]
    return [head_roles_unit(circuits.base, circuits.final, samples) for samples in answers]


def _ablation_units(
    study: Study, base: Stage, stages: list[Stage], comparison: Unit, thinking: Unit | None, roles: list[Unit]
) -> Iterator[Unit]:
    """Yield the ablations of a variant's heads, those of its last checkpoint or of ``ablate.step``."""
    stage = ablated_stage(study, stages)
    if stage is None:
        return
    step = None if stage is stages[-1] else stage.step
    for ref in study.ablate_tasks:
        sources = HeadSources(base, stage, step, comparison, thinking, roles[0] if roles else None)
        yield from Sweep(study, base, sources, ref).units()


def _crossed_units(study: Study, variant: str, circuits: _Circuits, comparison: Unit) -> Iterator[Unit]:
    exchanged = exchanged_unit(circuits.pairs["main"])
    base = scores_unit(study, circuits.base, variant, exchanged)
    post = scores_unit(study, circuits.final, variant, exchanged)
    yield from (base, post)
    yield crossed_unit(study, comparison, (base, circuits.scores.base), (post, circuits.last))


def _thinking_units(
    study: Study, circuits: Mapping[str, _Circuits], stages: Mapping[str, list[Stage]]
) -> Iterator[Unit]:
    """Yield think-on against think-off of every model asked in both modes, labelled with its think-off variant."""
    for on, off in think_pairs([units.final for units in circuits.values()]):
        modes = []
        for name in (on.variant, off.variant):
            samples = [samples_unit(study, stages[name][-1], ref) for ref in study.tasks]
            answers = {str(unit.labels["task"]): unit for unit in samples}
            modes.append(Mode(name, circuits[name].last, circuits[name].scores.curves[1], answers))
        # Think-off on other pairs: what differs between the two scorings of one mode is the null.
        again = scores_unit(study, off, off.variant, circuits[off.variant].pairs["fresh"])
        yield thinking_unit(study, modes[0], modes[1], again)


def _reward_log(variant: VariantConfig) -> Path | None:
    """Return the reward log of a variant trained elsewhere; one that cannot be read is refused before hours of work."""
    if variant.reward_log is None:
        return None
    if all(entry.reward is None for entry in read_log(variant.reward_log)):
        raise InputError(
            f"reward_log {variant.reward_log} of variant {variant.name} logs no reward at any step; give the log of a "
            "training with rewards, or leave it out"
        )
    return Path(variant.reward_log)
