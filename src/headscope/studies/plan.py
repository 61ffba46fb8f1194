"""The plan: every unit a study asks for, from what is on disk and in its file. Nothing is computed and torch is not
loaded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headscope.errors import InputError
from headscope.runs import RunDirectory, Unit
from headscope.runs.units import closure
from headscope.studies import ablate, compare, contrasts, crossed, discover, effects, evaluate, thinking, train
from headscope.studies.stages import Stage, base_stage, checkpoint_stages, variant_model
from headscope.studies.study import Study, VariantConfig
from headscope.training import read_log

COMPARED = ("comparison", "crossed", "thinking", "effects")
GOALS = {
    "train": ("train",),
    "discover": ("scores", "faithfulness"),
    "compare": COMPARED,
    "eval": ("measures",),
    "ablate": ("verdict", "evidence"),
    "run": ("train", "scores", "faithfulness", *COMPARED, "measures", "verdict", "evidence"),
}


def plan(study: Study, run: RunDirectory, goal: str = "run") -> list[Unit]:
    """Units of ``goal`` and all they need, inputs first, in the order train, evaluate, pairs, scores, compare,
    ablate.
    """
    if not study.variants and goal not in ("run", "eval"):
        raise InputError(f"study {study.name} has no variants, and {goal} needs at least one")
    wanted = [unit for unit in _units(study, run) if unit.kind in GOALS[goal]]
    return closure(wanted)


def training_units(units: Iterable[Unit]) -> list[Unit]:
    """The part of a plan that must be done before the number of checkpoints is certain."""
    return [unit for unit in units if unit.kind == "train"]


def _units(study: Study, run: RunDirectory) -> Iterator[Unit]:
    base = base_stage(study)
    trained = {
        each.name: train.unit(study, each, base, variant_model(study, each).chat)
        for each in study.variants
        if each.train is not None
    }
    yield from trained.values()
    stages = {each.name: checkpoint_stages(study, each, run, trained.get(each.name)) for each in study.variants}
    answers: dict[str, dict[str, Unit]] = {name: {} for name in stages}
    for ref in study.tasks:
        before = evaluate.samples_unit(study, base, ref)
        yield evaluate.measures_unit(study, run, before)
        for name, found in stages.items():
            samples = evaluate.samples_unit(study, found[-1], ref)
            answers[name][str(samples.labels["task"])] = samples
            yield evaluate.measures_unit(study, run, samples, before)
    circuits = {each.name: _circuits(study, run, each.name, base, stages[each.name]) for each in study.variants}
    done = {}
    for variant in study.variants:
        each, rewards = circuits[variant.name], _reward_log(run, variant, trained.get(variant.name))
        comparison = compare.unit(study, run, variant.name, each.scored, rewards)
        done[variant.name] = effects.Done(comparison, each.last, each.curves[1])
        yield from _variant_units(study, run, variant.name, each, comparison)
    if done:
        yield effects.unit(study, run, done)
    yield from _thinking_units(study, run, circuits, answers)


@dataclass(frozen=True)
class _Circuits:
    """Units of one variant's circuits. curves: faithfulness of base and final."""

    base: Stage
    final: Stage
    pairs: dict[str, Unit]
    scored: compare.Scored
    curves: tuple[Unit, Unit]

    @property
    def last(self) -> Unit:
        """Scores of the final checkpoint."""
        return self.scored.checkpoints[self.final.step]


def _circuits(study: Study, run: RunDirectory, variant: str, base: Stage, stages: list[Stage]) -> _Circuits:
    pairs = contrasts.units(study, base, stages[-1])
    # Checkpoint 0 of a training run is the base itself, which is scored as such.
    later = [stage for stage in stages if stage.step > 0] or stages[-1:]
    main, fresh = pairs["main"], pairs["fresh"]
    scored = compare.Scored(
        discover.unit(study, run, base, variant, main),
        discover.unit(study, run, base, variant, fresh),
        {stage.step: discover.unit(study, run, stage, variant, main) for stage in later},
    )
    last = scored.checkpoints[later[-1].step]
    curves = (
        discover.faithfulness_unit(study, run, base, scored.base),
        discover.faithfulness_unit(study, run, later[-1], last),
    )
    return _Circuits(base, later[-1], pairs, scored, curves)


def _variant_units(study: Study, run: RunDirectory, variant: str, found: _Circuits, comparison: Unit) -> Iterator[Unit]:
    scored = found.scored
    yield from (scored.base, scored.fresh, *scored.checkpoints.values(), *found.curves)
    yield comparison
    if study.discover.crossed:
        yield from _crossed_units(study, run, variant, found)
    for ref in study.ablate_tasks:
        yield from ablate.Sweep(study, run, found.final, comparison, ref).units()


def _crossed_units(study: Study, run: RunDirectory, variant: str, found: _Circuits) -> Iterator[Unit]:
    exchanged = crossed.pairs_unit(run, found.pairs["main"])
    base, post = (discover.unit(study, run, stage, variant, exchanged) for stage in (found.base, found.final))
    yield from (base, post)
    yield crossed.unit(study, run, variant, (base, found.scored.base), (post, found.last))


def _thinking_units(
    study: Study, run: RunDirectory, circuits: dict[str, _Circuits], answers: dict[str, dict[str, Unit]]
) -> Iterator[Unit]:
    for on, off in thinking.modes([each.final for each in circuits.values()]):
        one, other = (
            thinking.Mode(name, circuits[name].last, circuits[name].curves[1], answers[name])
            for name in (on.variant, off.variant)
        )
        again = discover.unit(study, run, off, off.variant, circuits[off.variant].pairs["fresh"])
        yield again
        yield thinking.unit(study, run, one, other, again)


def _reward_log(run: RunDirectory, variant: VariantConfig, trained: Unit | None) -> compare.RewardLog | None:
    if trained is not None:
        return compare.RewardLog(run.folder(trained) / "log.jsonl", trained)
    if variant.reward_log is None:
        return None
    log = Path(variant.reward_log)
    read_log(log)  # one that cannot be read is refused here, not after hours of scoring
    return compare.RewardLog(log)
