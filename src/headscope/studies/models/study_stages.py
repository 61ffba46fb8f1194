"""List the stages of a study: the base and each checkpoint of each variant, those still to be trained included."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from headscope.errors import InputError
from headscope.model_files import hub
from headscope.model_files.folder import (
    adapter_base,
    check_cached,
    check_compatible,
    check_weights,
    read_model_config,
)
from headscope.model_files.vocabularies import check_same_vocabulary
from headscope.runs import RunDirectory, Unit
from headscope.runs.recipes import BASE
from headscope.runs.records import check_unit
from headscope.studies.models.files import content_key, has_tokenizer, local_files, model_path
from headscope.studies.models.stages import Stage, files_of
from headscope.studies.study_file.models import HubCheckpoints, ModelConfig, VariantConfig, check_step
from headscope.studies.study_file.study import Study
from headscope.studies.study_file.training import SftTraining, TeacherData, Training
from headscope.training import Checkpoint, list_checkpoints, step_of


def origin_stage(study: Study) -> Stage:
    """Return the model that the base is, or is trained from."""
    return _finished_stage(BASE, study.base)


def base_stage(study: Study, training: Unit | None) -> Stage:
    """Return the base; ``training`` is the unit that makes it, if one does."""
    origin = origin_stage(study)
    if training is None:
        return origin
    config = origin.config.model_copy(update={"revision": None})  # it was that of the model the training began from
    return replace(origin, config=config, unit=training, digest="")


def checkpoint_stages(study: Study, variant: VariantConfig, run: RunDirectory, train: Unit | None) -> list[Stage]:
    """Return a variant's checkpoints by step; of one still to be trained here, those its settings foretell."""
    config = variant_model(study, variant)
    if train is not None:
        folder = run.folder(train)
        paths = {step: folder / f"checkpoint-{step}" for step in variant.saved_steps}
        if run.is_done(train):
            paths = {point.step: point.path for point in _trained_checkpoints(folder, train.name)}
        adapts = _adapted_model(study, variant)
        return [Stage(variant.name, step, str(path), config, train, adapts=adapts) for step, path in paths.items()]
    changes: list[tuple[int, dict[str, str]]] = [(0, {})]
    if isinstance(variant.checkpoints, HubCheckpoints):
        changes = [(step, {"revision": name}) for step, name in revisions_by_step(variant.checkpoints).items()]
    elif variant.checkpoints is not None:
        changes = [(point.step, {"model": str(point.path)}) for point in list_checkpoints(variant.checkpoints)]
    stages = []
    for step, change in changes:
        settings = _lend_tokenizer(study.base, config.model_copy(update=change))
        stages.append(_finished_stage(variant.name, settings, step))
    _check_comparable(origin_stage(study), stages)
    return stages


def ablated_stage(study: Study, stages: list[Stage]) -> Stage | None:
    """Return the checkpoint whose heads are removed: the last, or that of ``ablate.step``.

    None for a finished model if a step is named, as it has no other checkpoint. The last checkpoint too for a training
    that is still to be done and whose number of steps only its data tells.

    Raises InputError if there is no such checkpoint.
    """
    step = study.ablate.step
    if step is None:
        return stages[-1]
    steps = [stage.step for stage in stages]
    if steps == [0]:
        return stages[-1] if stages[-1].unit is not None else None
    try:
        check_step(step, stages[-1].variant, steps)
    except ValueError as error:
        raise InputError(str(error)) from None
    return stages[steps.index(step)]


def _adapted_model(study: Study, variant: VariantConfig) -> str | None:
    """Return the digest of the model that the variant's training puts an adapter on; None if it trains whole weights,
    or on a base that the study trains."""
    is_adapter = isinstance(variant.train, SftTraining) and variant.train.lora_rank is not None
    return origin_stage(study).digest if is_adapter and study.base.train is None else None


def _trained_checkpoints(folder: Path, name: str) -> list[Checkpoint]:
    """Return the checkpoints of a finished training unit; one that cannot be read is a damaged unit."""
    try:
        return list_checkpoints(folder)
    except InputError:
        check_unit(folder, name)
        raise


def revisions_by_step(checkpoints: HubCheckpoints) -> dict[int, str]:
    """Return the revisions sorted by step.

    Raises InputError if a name tells no step, or two are of one step.
    """
    listed, name = checkpoints.revisions, checkpoints.model
    steps = listed if isinstance(listed, dict) else {revision: step_of(revision) for revision in listed}
    revisions: dict[int, str] = {}
    for revision, step in steps.items():
        if step is None:
            raise InputError(
                f"revision {revision} of {name} tells no step; give revisions as a mapping, {{{revision}: <step>, …}}"
            )
        if step in revisions:
            raise InputError(
                f"revisions {revisions[step]} and {revision} of {name} are both step {step}; leave one out, or give "
                "revisions as a mapping from name to step"
            )
        revisions[step] = revision
    return dict(sorted(revisions.items()))


def variant_model(study: Study, variant: VariantConfig) -> ModelConfig:
    """Return the variant's settings as a model's: what it does not say itself comes from the base."""
    chat = study.base.chat.model_copy(update=variant.chat.model_dump(exclude_unset=True))
    published = variant.checkpoints.model if isinstance(variant.checkpoints, HubCheckpoints) else None
    changes = {
        "chat": chat,
        "revision": variant.revision,
        "model": variant.model or published or study.base.model,
        "tokenizer": variant.tokenizer,
        "chat_template": variant.chat_template,
    }
    return study.base.model_copy(update=changes)


def _lend_tokenizer(base: ModelConfig, config: ModelConfig) -> ModelConfig:
    """Return the variant's settings, with the base's tokenizer and chat template if its files hold no tokenizer."""
    path = model_path(config.model)
    folder = local_files(path, config.revision)
    if config.tokenizer is not None or folder is None or has_tokenizer(folder):
        return config
    if not Path(path).is_dir() and adapter_base(folder) is None:
        return config  # the hub may still have to send its tokenizer
    template = config.chat_template or base.chat_template
    return config.model_copy(update={"tokenizer": base.tokenizer or base.model, "chat_template": template})


def _finished_stage(variant: str, config: ModelConfig, step: int = 0) -> Stage:
    folder = model_path(config.model)
    if Path(folder).is_dir():
        check_weights(Path(folder))
    else:
        check_cached(folder, config.revision)
    return Stage(variant, step, folder, config, digest=content_key(folder, config.revision))


def check_there(study: Study) -> None:
    """Raise InputError if a model of the study is neither on this machine nor on the hub."""
    for config in _finished_models(study):
        name = model_path(config.model)
        if not Path(name).is_dir():
            hub.check_model_exists(name, config.revision)


def _finished_models(study: Study) -> Iterator[ModelConfig]:
    """Yield the base and every model that is not trained here; of local checkpoints, nothing: they are listed."""
    yield study.base
    for variant in study.variants:
        config = variant_model(study, variant)
        if isinstance(variant.checkpoints, HubCheckpoints):
            for revision in revisions_by_step(variant.checkpoints).values():
                yield config.model_copy(update={"revision": revision})
        elif variant.model is not None:
            yield config
        if (teacher := _finished_teacher(study, variant.train)) is not None:
            yield teacher


def teacher_stage(study: Study, training: Training) -> Stage | None:
    """Return the finished model that teaches; None if a variant of the study does, or nobody."""
    teacher = _finished_teacher(study, training)
    return None if teacher is None else _finished_stage("teacher", teacher)


def _finished_teacher(study: Study, training: Training | None) -> ModelConfig | None:
    if not isinstance(training, TeacherData) or training.teacher in {variant.name for variant in study.variants}:
        return None
    return ModelConfig(model=training.teacher)


def _check_comparable(base: Stage, stages: list[Stage]) -> None:
    """Raise InputError unless all stages whose files are here have the base's layers, heads and vocabulary."""
    base_files = files_of(base)
    for stage in stages:
        name = f"variant {stage.variant}" + (f" at step {stage.step}" if stage.step else "")
        files = files_of(stage)
        if base_files is not None and files is not None:
            check_compatible(read_model_config(base_files), read_model_config(files), variant_name=name)
            check_same_vocabulary(base_files, files, variant_name=name)
