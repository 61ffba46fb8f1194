"""The plan: every unit a study asks for, from what is on disk and in its file. Nothing is computed and torch is not
loaded.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from headscope.errors import InputError
from headscope.runs import RunDirectory, Unit
from headscope.runs.units import closure
from headscope.studies import ablate, compare, discover, evaluate, openings, train
from headscope.studies.stages import Stage, base_stage, checkpoint_stages, variant_model
from headscope.studies.study import Study, VariantConfig
from headscope.training import read_log

GOALS = {
    "train": ("train",),
    "discover": ("scores", "faithfulness"),
    "compare": ("comparison",),
    "eval": ("measures",),
    "ablate": ("verdict", "evidence"),
    "run": ("train", "scores", "faithfulness", "comparison", "measures", "verdict", "evidence"),
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
    for ref in study.tasks:
        before = evaluate.samples_unit(study, base, ref)
        yield evaluate.measures_unit(study, run, before)
        for found in stages.values():
            yield evaluate.measures_unit(study, run, evaluate.samples_unit(study, found[-1], ref), before)
    for variant in study.variants:
        yield from _variant_units(study, run, variant, base, stages[variant.name], trained.get(variant.name))


def _variant_units(
    study: Study,
    run: RunDirectory,
    variant: VariantConfig,
    base: Stage,
    stages: list[Stage],
    trained: Unit | None,
) -> Iterator[Unit]:
    pairs = openings.units(study, base, stages[-1])

    def scores(stage: Stage, name: str) -> Unit:
        return discover.unit(study, run, stage, variant.name, name, pairs[name])

    # Checkpoint 0 of a training run is the base itself, which is scored as such.
    later = [stage for stage in stages if stage.step > 0] or stages[-1:]
    scored = compare.Scored(
        scores(base, "main"), scores(base, "fresh"), {stage.step: scores(stage, "main") for stage in later}
    )
    yield from (scored.base, scored.fresh, *scored.checkpoints.values())
    yield discover.faithfulness_unit(study, run, base, scored.base)
    yield discover.faithfulness_unit(study, run, later[-1], scored.checkpoints[later[-1].step])
    comparison = compare.unit(study, run, variant.name, scored, _reward_log(run, variant, trained))
    yield comparison
    for ref in study.ablate_tasks:
        yield from ablate.Sweep(study, run, stages[-1], comparison, ref).units()


def _reward_log(run: RunDirectory, variant: VariantConfig, trained: Unit | None) -> compare.RewardLog | None:
    if trained is not None:
        return compare.RewardLog(run.folder(trained) / "log.jsonl", trained)
    if variant.reward_log is None:
        return None
    log = Path(variant.reward_log)
    read_log(log)  # one that cannot be read is refused here, not after hours of scoring
    return compare.RewardLog(log)
