"""Losses of a head set and its controls under one operator, teacher-forced on the model's own correct answers.

Controls are run in turn, twenty at a time, for as long as the set's rank among them is open (``measures.permutation``).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from pydantic import Field

from headscope.heads import HeadSet
from headscope.measures.permutation import LOOK_EVERY, is_rank_open
from headscope.operator_names import SharedKv
from headscope.progress import Progress
from headscope.results.forced_losses import ForcedLosses
from headscope.results.head_sets import ControlledHeads
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.runs import Inputs, Unit, Work
from headscope.storage import Arrays
from headscope.studies.ablation.ablated import REFERENCE_TEXTS, Ablations, donor_replacement, replacement
from headscope.studies.answers.texts import ModelOnTask, answered_texts
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import ModelSource
from headscope.studies.study_file.config import Config

if TYPE_CHECKING:
    from headscope.interventions import TeacherForcedMetrics, Text

EditGrid = Float[np.ndarray, "edit layer head"]
EditGrids = Sequence[Float[np.ndarray, "_ layer head"]]
"""Of different lengths."""


class ForcedConfig(Config):
    """The edited model, whose own answers are forced, the base, and what is done to the heads.

    texts: correct answers forced, at most. reference_texts: behind a mean, a donor or a constant.
    doses: factors α the heads' writes are also scaled by. guard: a task on which nothing should happen.
    importance_controls: whether the sets of like importance are measured too.
    donor, revert_kv: for ``revert``, whose weights the heads take, and when with the keys and values of their group.
    base: None if the edited model is the base itself.
    """

    post: ModelSource
    base: ModelSource | None
    task: TaskSource
    guard: TaskSource | None
    operator: str
    texts: int
    reference_texts: int
    doses: tuple[float, ...]
    importance_controls: bool
    seed: int
    donor: ModelSource | None = Field(default=None, exclude_if=lambda donor: donor is None)
    revert_kv: SharedKv | None = Field(default=None, exclude_if=lambda rule: rule is None)


def compute_forced(config: ForcedConfig, inputs: Inputs, progress: Progress) -> ForcedLosses | NotRun:
    """Return losses of the whole model, the set, its layer-matched and its importance-matched controls.

    Also, on those of the texts it can read, of the base model whole and without the set, or for ``revert`` with the
    set's weights grafted into it; for ``zero`` also of the doses, the direct effect, and the set on the guard's texts.
    """
    sets = inputs.load("sets", ControlledHeads)
    post = ModelOnTask(config.post.stage(inputs), config.task.task())
    texts = answered_texts(post, inputs.load("whole", Samples), config.texts, correct=True)
    if not texts:
        return NotRun(f"{config.post.name} gave no correct answer to force")
    matched = sets.importance_controls if config.importance_controls else ()
    edits = _edit_grid([HeadSet(()), sets.heads], sets.shape)
    doses = _dose_grid(config.doses, sets.heads, sets.shape)
    kinds = [_edit_grid(kind, sets.shape) for kind in (sets.controls, matched)]
    # One sweep for sets, doses and the first controls: they share the layers below their first edit.
    losses, drawn = force_in_turn(
        lambda grid: _force(post, config, inputs, texts, grid, progress), np.concatenate([edits, doses]), kinds
    )
    optional = {} if config.base is None else _force_base(config, config.base, inputs, texts, edits, progress)
    if config.operator == "zero":
        optional |= _force_for_zero(post, config, inputs, sets.heads, texts, edits, progress)
    if len(doses):
        optional["dose_nll"] = losses.nll[len(edits) :]
    return ForcedLosses(
        nll=np.concatenate([losses.nll[: len(edits)], *(kind.nll for kind in drawn)]),
        accuracy=np.concatenate([losses.accuracy[: len(edits)], *(kind.accuracy for kind in drawn)]),
        controls=len(drawn[0].nll),
        matched=len(drawn[1].nll),
        controls_available=len(sets.controls),
        matched_available=len(matched),
        problems=len(post.task.problems),
        doses=config.doses,
        **optional,
    )


FORCED = Work("forced", ForcedConfig, compute_forced, version=3)


def forced_unit(edited: Ablations, base: Ablations | None, sets: Unit, operator: str, guard: Ablations | None) -> Unit:
    """Return the unit of a group's losses in a model under one operator.

    base: the model that reads the same texts, with and without the group. guard: is asked under zero ablation alone.
    """
    settings, is_zero = edited.study.ablate, operator == "zero"
    config = ForcedConfig(
        post=edited.stage.source,
        base=None if base is None else base.stage.source,
        task=edited.task,
        guard=guard.task if guard is not None and is_zero else None,
        operator=operator,
        texts=settings.texts,
        reference_texts=REFERENCE_TEXTS,
        doses=settings.scales if is_zero else (),
        importance_controls=operator == settings.operators[0],
        seed=edited.study.seed,
        donor=edited.donor.source if operator == "revert" else None,
        revert_kv=settings.revert_kv if operator == "revert" else None,
    )
    inputs = {"sets": sets, "whole": edited.whole_answers()} | edited.stage.inputs | edited.references(operator)
    if operator == "revert":
        inputs |= edited.donor.inputs
    if base is not None:
        inputs |= base.stage.inputs | {f"base {name}": unit for name, unit in base.references(operator).items()}
    if guard is not None and is_zero:
        inputs["guard"] = guard.whole_answers()
    return FORCED.unit(config, edited.labels(sets, operator), inputs)


def force_in_turn(
    force: "Callable[[EditGrid], TeacherForcedMetrics]", edits: EditGrid, kinds: EditGrids
) -> "tuple[TeacherForcedMetrics, list[TeacherForcedMetrics]]":
    """Return the metrics of ``edits``, and of as many controls of each kind as it takes to know the set's rank.

    edits: the whole model, the set, and what else is forced once. kinds: the controls of each kind.

    1. Force ``edits`` (the whole model, the set, its doses) and the first controls of each kind together.
    2. While a kind's rank is open, force its next controls.
    """
    batches = [controls[:LOOK_EVERY] for controls in kinds]
    first, *drawn = force_parts(force, [edits, *batches])
    whole, removed = first.nll[0], first.nll[1]
    effect = float((removed - whole).mean())
    while True:
        for index, controls in enumerate(kinds):
            effects = (drawn[index].nll - whole).mean(axis=1)
            count = len(effects)
            is_open = is_rank_open(effect, effects, len(controls))
            batches[index] = controls[count : count + LOOK_EVERY] if is_open else controls[:0]
        if not any(map(len, batches)):
            return first, drawn
        more = force_parts(force, batches)
        drawn = [_join(before, after) for before, after in zip(drawn, more, strict=True)]


def force_parts(force: "Callable[[EditGrid], TeacherForcedMetrics]", parts: EditGrids) -> "list[TeacherForcedMetrics]":
    """Return the metrics of each part, from one sweep over all."""
    from headscope.interventions import TeacherForcedMetrics

    metrics = force(np.concatenate(parts))
    ends = np.cumsum([len(part) for part in parts])[:-1]
    nll, accuracy = np.split(metrics.nll, ends), np.split(metrics.accuracy, ends)
    return [TeacherForcedMetrics(*arrays) for arrays in zip(nll, accuracy, strict=True)]


def _join(before: "TeacherForcedMetrics", after: "TeacherForcedMetrics") -> "TeacherForcedMetrics":
    return replace(
        before,
        nll=np.concatenate([before.nll, after.nll]),
        accuracy=np.concatenate([before.accuracy, after.accuracy]),
    )


def _force(
    respondent: ModelOnTask,
    config: ForcedConfig,
    inputs: Inputs,
    texts: "Sequence[Text]",
    edits: EditGrid,
    progress: Progress,
    prefix: str = "",
) -> "TeacherForcedMetrics":
    """Return losses of every edit; ``prefix`` is that of the inputs a replacement is made from, empty for post."""
    from headscope.interventions import teacher_force
    from headscope.studies.models.subjects import load

    subject = load(respondent.stage)
    if config.donor is not None and config.revert_kv is not None:
        donor = config.post if prefix else config.donor
        head_replacement = donor_replacement(respondent.stage, donor.stage(inputs), config.revert_kv)
    else:
        head_replacement = replacement(respondent, inputs, config.operator, config.reference_texts, config.seed, prefix)
    return teacher_force(subject, texts, edits, replacement=head_replacement, progress=progress)


def _force_base(
    config: ForcedConfig,
    source: ModelSource,
    inputs: Inputs,
    texts: "Sequence[Text]",
    edits: EditGrid,
    progress: Progress,
) -> Arrays:
    """Return losses of the base model, and which texts they are of if it lacks a token of the others."""
    from headscope.models import vocabulary_size
    from headscope.studies.models.subjects import load

    base = ModelOnTask(source.stage(inputs), config.task.task())
    vocabulary = vocabulary_size(load(base.stage))
    readable = [index for index, text in enumerate(texts) if max(text.tokens) < vocabulary]
    if not readable:
        return {"base_read": np.array(readable, dtype=np.int64)}
    losses = _force(base, config, inputs, [texts[index] for index in readable], edits, progress, "base ")
    arrays: Arrays = {"base_nll": losses.nll, "base_accuracy": losses.accuracy}
    return arrays if len(readable) == len(texts) else arrays | {"base_read": np.array(readable, dtype=np.int64)}


def _force_for_zero(
    post: ModelOnTask,
    config: ForcedConfig,
    inputs: Inputs,
    heads: HeadSet,
    texts: "Sequence[Text]",
    edits: EditGrid,
    progress: Progress,
) -> Arrays:
    """Return what only zero ablation is asked: the direct effect, and losses of the guard's texts."""
    from headscope.interventions import direct_loss
    from headscope.studies.models.subjects import load

    arrays: Arrays = {"direct_nll": direct_loss(load(post.stage), heads, texts, progress=progress)}
    if config.guard is None:
        return arrays
    guard = ModelOnTask(post.stage, config.guard.task())
    guard_texts = answered_texts(guard, inputs.load("guard", Samples), config.texts, correct=True)
    if guard_texts:
        arrays["guard_nll"] = _force(guard, config, inputs, guard_texts, edits, progress).nll
    return arrays


def _edit_grid(sets: Sequence[HeadSet], shape: tuple[int, int]) -> EditGrid:
    layers, width = shape
    grids = [1 - heads.grid(layers, width) for heads in sets]
    return np.array(grids, dtype=np.float32).reshape(-1, layers, width)


def _dose_grid(alphas: Sequence[float], heads: HeadSet, shape: tuple[int, int]) -> EditGrid:
    layers, width = shape
    grid = heads.grid(layers, width)
    return np.array([np.where(grid, alpha, 1.0) for alpha in alphas], dtype=np.float32).reshape(-1, layers, width)
