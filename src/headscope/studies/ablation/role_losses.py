"""Loss of each role of tokens once a single head is removed, teacher-forced on the model's own correct answers: a unit
per model and ablation task."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from headscope.comparison.head_sweep import HeadSweep
from headscope.comparison.role_losses import role_losses
from headscope.heads import HeadId, HeadSet
from headscope.lab.labels import symbols
from headscope.lab.token_roles import LAB_TOKEN_ROLES, lab_token_roles
from headscope.progress import Progress
from headscope.results.head_sets import ControlledHeads
from headscope.results.not_run import NotRun
from headscope.results.role_losses import RoleLosses
from headscope.results.samples import Samples
from headscope.results.traces import Reader
from headscope.runs import Inputs, Unit, Work
from headscope.studies.ablation.ablated import Ablations
from headscope.studies.answers.texts import ModelOnTask, answers_with_texts
from headscope.studies.answers.traces import decoder, reader_of, statements_of
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import ModelSource
from headscope.studies.study_file.config import Config
from headscope.traces.reading import read_text
from headscope.traces.spans import TokenTexts, place_steps
from headscope.traces.token_roles import TEXT_TOKEN_ROLES, text_token_roles

if TYPE_CHECKING:
    from headscope.models import Subject

MOST_TEXTS = 32
"""Correct answers forced, at most."""
ALL_HEADS = 64
"""A model with at most so many heads has each of them removed; a larger one those of the study's head sets."""

TokenRoles = Int[np.ndarray, "token"]


class RoleLossesConfig(Config):
    """The post-trained model and the task whose correct answers are forced. texts: of these at most.

    groups: names of the inputs with head sets. all_heads: a model with at most so many heads has each one removed.
    """

    post: ModelSource
    task: TaskSource
    texts: int
    groups: tuple[str, ...]
    all_heads: int


def compute_role_losses(config: RoleLossesConfig, inputs: Inputs, progress: Progress) -> RoleLosses | NotRun:
    """Return the change of each role's loss without each head, in one sweep over ``whole``'s right answers."""
    from headscope.interventions import teacher_force
    from headscope.studies.models.subjects import load

    respondent = ModelOnTask(config.post.stage(inputs), config.task.task())
    answers = answers_with_texts(respondent, inputs.load("whole", Samples), config.texts, correct=True)
    subject = load(respondent.stage)
    sweep = choose_sweep(subject, config, inputs)
    if isinstance(sweep, NotRun):
        return sweep
    prompts = config.task.prompts()
    reader = reader_of(prompts[row["problem"]] for row, _ in answers)
    roles = _roles_of(reader)
    texts, groups = [], []
    texts_of = TokenTexts(decoder(subject.tokenizer))
    for row, text in answers:
        group = _token_groups(row, prompts[row["problem"]], len(text.response), reader, texts_of)
        if group is not None:
            texts.append(text)
            groups.append(group)
    if not texts:
        return NotRun(f"{config.post.name} gave no correct answer whose tokens have a role")
    metrics = teacher_force(subject, texts, sweep.edits(0.0), groups=groups, progress=progress)
    tokens = np.array([[(group == role).sum() for role in range(len(roles))] for group in groups])
    assert metrics.group_nll is not None
    return role_losses(metrics.group_nll, tokens, roles, sweep, reader=reader)


ROLE_LOSSES = Work("role_losses", RoleLossesConfig, compute_role_losses)


def role_losses_unit(ablations: Ablations, sets: Mapping[str, Unit]) -> Unit:
    """Return the unit of the losses by role. sets: the units of the study's head sets, by group."""
    study, stage = ablations.study, ablations.stage
    config = RoleLossesConfig(
        post=stage.source,
        task=ablations.task,
        texts=min(study.ablate.texts, MOST_TEXTS),
        groups=tuple(sets),
        all_heads=ALL_HEADS,
    )
    inputs = {"whole": ablations.whole_answers()} | {f"sets {group}": unit for group, unit in sets.items()}
    step = {} if ablations.step is None else {"step": ablations.step}
    labels = {"variant": stage.variant} | step | {"task": ablations.task.name}
    return ROLE_LOSSES.unit(config, labels, inputs | stage.inputs)


def choose_sweep(subject: "Subject", config: RoleLossesConfig, inputs: Inputs) -> HeadSweep | NotRun:
    """Return which heads of the model are edited, one at a time; NotRun if there are none."""
    from headscope.models import head_access

    access = head_access(subject.model)
    shape = len(access.layers), access.heads
    heads, heads_are = _choose_heads(shape, config, inputs)
    if not heads:
        return NotRun(f"{config.post.name} has {shape[0] * shape[1]} heads, and no head set names some of them")
    return HeadSweep(heads, heads_are, shape, config.task.name, len(config.task.task().problems))


def _choose_heads(shape: tuple[int, int], config: RoleLossesConfig, inputs: Inputs) -> tuple[HeadSet, str]:
    """Return which heads are removed, and which of the model's they are, in words."""
    layers, width = shape
    count = layers * width
    if count <= config.all_heads:
        return HeadSet(tuple(HeadId(*place) for place in np.ndindex(layers, width))), f"all {count} heads"
    heads = HeadSet(())
    for group in config.groups:
        sets = inputs.result(f"sets {group}", ControlledHeads)
        if isinstance(sets, ControlledHeads):
            heads = heads | sets.heads
    return heads, f"the {len(heads)} of {count} heads in the sets {', '.join(config.groups)}"


def _roles_of(reader: Reader) -> tuple[str, ...]:
    """Return the roles that tokens of the reader's answers can have."""
    return LAB_TOKEN_ROLES if reader == "lab" else TEXT_TOKEN_ROLES


def _token_groups(
    row: Mapping[Any, Any], prompt: str, length: int, reader: Reader, texts: TokenTexts
) -> TokenRoles | None:
    """Return the role of each response token as a number, −1 for none; None if steps and tokens do not fit together.

    length: of the response with the token that ends it, which has the last role (form, or other).
    """
    ids, response = row["token_ids"], row["response"]
    roles = _roles_of(reader)
    if reader == "lab":
        if len(symbols(response)) != len(ids):
            return None
        names = lab_token_roles(prompt, response)
    else:
        ends = texts.ends(ids, response)
        if ends is None:
            return None
        steps = read_text(response, statements_of(row["kind"] or "math"))
        names = text_token_roles(place_steps(steps, ends), len(ids))
    group = np.full(length, -1, dtype=np.int64)
    group[: len(names)] = [roles.index(name) for name in names]
    group[len(ids) :] = len(roles) - 1
    return group
