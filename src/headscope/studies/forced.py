"""Losses of a head set and its controls under one operator, teacher-forced on the model's own correct answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headscope import storage
from headscope.heads import HeadSet
from headscope.progress import Progress
from headscope.runs import Unit
from headscope.studies import headsets
from headscope.studies.ablated import Ablations

if TYPE_CHECKING:
    from headscope.interventions import TeacherForcedMetrics, Text

SCHEMA_VERSION = 1
NAME = "losses"


def unit(post: Ablations, base: Ablations, sets: Unit, operator: str, guard: Ablations | None) -> Unit:
    """``losses``: [edit, text] of the whole model, the set, its layer-matched and its importance-matched controls.

    Beside them, on those of the texts it can read, the base model whole and without the set; for ``zero`` also the
    doses, the direct effect, and the set on the guard's texts. Empty where there is no head or no correct answer.
    """
    settings = post.study.ablate
    first = operator == settings.operators[0]
    doses = settings.scales if operator == "zero" else ()

    def work(out: Path, progress: Progress) -> None:
        found, texts = headsets.read(post.run.folder(sets)), post.texts(settings.texts, correct=True)
        about = {"texts": len(texts), "problems": len(post.task.problems), "doses": list(doses)}
        if not found.heads or not texts:
            storage.save(out, NAME, SCHEMA_VERSION, {}, about | {"empty": True})
            return
        matched = found.importance_controls if first else []
        edits = _edits([HeadSet(()), found.heads, *found.controls, *matched], found.shape)
        dosed = _doses(doses, found.heads, found.shape)
        swept = _forced(post, operator, texts, np.concatenate([edits, dosed]), progress)
        arrays = {"nll": swept.nll[: len(edits)], "accuracy": swept.accuracy[: len(edits)]}
        arrays |= _base(base, operator, texts, edits[:2], progress)
        if len(dosed):
            arrays["dose_nll"] = swept.nll[len(edits) :]
        if operator == "zero":
            arrays |= _beside(post, found.heads, texts, edits[:2], guard, progress)
        counts = {"controls": len(found.controls), "matched": len(matched), "empty": False}
        storage.save(out, NAME, SCHEMA_VERSION, arrays, about | counts)

    labels = {"variant": post.stage.variant, "heads": sets.labels["heads"], "operator": operator}
    inputs = {"sets": sets, "whole": post.whole()} | post.stage.inputs | post.references(operator)
    inputs |= {f"base {role}": each for role, each in base.references(operator).items()}
    if guard is not None and operator == "zero":
        inputs["guard"] = guard.whole()
    config = {
        "operator": operator,
        "texts": settings.texts,
        "doses": list(doses),
        "matched": first,
        "seed": post.study.seed,
        "base": base.stage.identity,
    }
    return Unit("forced", labels | {"task": post.task.name}, config, work, inputs=inputs)


def read(folder: Path) -> tuple[dict[str, Any], storage.Arrays]:
    """Counts and losses from a unit's folder; no losses where ``empty``."""
    return storage.load(folder, NAME, SCHEMA_VERSION, keys=["empty", "texts", "problems"], arrays=[])


def _forced(
    model: Ablations,
    operator: str,
    texts: Sequence["Text"],
    edits: Float[np.ndarray, "edit layer head"],
    progress: Progress,
) -> "TeacherForcedMetrics":
    from headscope.interventions import teacher_force
    from headscope.studies.subjects import load

    subject = load(model.stage)
    by = model.stand_in(subject, operator)
    return teacher_force(subject, texts, edits, fill=by.fill, reader=by.reader, progress=progress)


def _base(
    base: Ablations,
    operator: str,
    texts: Sequence["Text"],
    edits: Float[np.ndarray, "edit layer head"],
    progress: Progress,
) -> storage.Arrays:
    """Losses of the base model, and which texts they are of, by ``base_read``, where it lacks a token of the others."""
    from headscope.models import vocabulary_size
    from headscope.studies.subjects import load

    vocabulary = vocabulary_size(load(base.stage))
    read = [index for index, text in enumerate(texts) if max(text.tokens) < vocabulary]
    if not read:
        return {"base_read": np.array(read, dtype=np.int64)}
    losses = _forced(base, operator, [texts[index] for index in read], edits, progress)
    arrays: storage.Arrays = {"base_nll": losses.nll, "base_accuracy": losses.accuracy}
    return arrays if len(read) == len(texts) else arrays | {"base_read": np.array(read, dtype=np.int64)}


def _beside(
    post: Ablations,
    heads: HeadSet,
    texts: Sequence["Text"],
    edits: Float[np.ndarray, "edit layer head"],
    guard: Ablations | None,
    progress: Progress,
) -> storage.Arrays:
    """What only zero ablation is asked: the direct effect, and the guard's texts."""
    from headscope.interventions import direct_loss
    from headscope.studies.subjects import load

    found = {"direct_nll": direct_loss(load(post.stage), heads, texts, progress=progress)}
    others = [] if guard is None else guard.texts(post.study.ablate.texts, correct=True)
    if others:
        found["guard_nll"] = _forced(post, "zero", others, edits, progress).nll
    return found


def _edits(sets: Sequence[HeadSet], shape: tuple[int, ...]) -> Float[np.ndarray, "edit layer head"]:
    layers, width = shape
    return np.stack([1 - each.grid(layers, width) for each in sets]).astype(np.float32)


def _doses(alphas: Sequence[float], heads: HeadSet, shape: tuple[int, ...]) -> Float[np.ndarray, "edit layer head"]:
    layers, width = shape
    grid = heads.grid(layers, width)
    return np.array([np.where(grid, alpha, 1.0) for alpha in alphas], dtype=np.float32).reshape(-1, layers, width)
