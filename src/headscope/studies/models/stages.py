"""Stages: every model a study looks at, the base and each checkpoint of each variant. No torch: a plan needs no
weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from headscope.errors import InputError
from headscope.evaluation import Chat
from headscope.model_files import hub, named_models
from headscope.model_files.chat_templates import local_template
from headscope.model_files.folder import (
    adapter_base,
    check_cached,
    check_compatible,
    check_weights,
    read_model_config,
    whole_model_folder,
)
from headscope.model_files.vocabularies import check_same_vocabulary
from headscope.runs import Inputs, RunDirectory, Unit
from headscope.runs.digests import digest, folder_digest
from headscope.runs.recipes import BASE
from headscope.runs.records import check_unit
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.models import Dtype, HubCheckpoints, ModelConfig, VariantConfig, check_step
from headscope.studies.study_file.study import Study
from headscope.studies.study_file.training import TeacherData, Training
from headscope.training import Checkpoint, list_checkpoints, step_of


class ModelPlace(Config):
    """Where a model lies: ``folder``, or the id it has on the hub; empty for a checkpoint that a unit of the run makes.

    revision: of the hub model. tokenizer, chat_template: where those lie that are used instead of the model's own.
    """

    folder: str
    revision: str | None
    tokenizer: str | None
    chat_template: str | None
    trust_remote_code: bool


class ModelSource(Config):
    """What a unit's function must know to load a model and speak to it.

    name, step: what results call it, and which checkpoint it is of the training.
    trained_by: name of the input that makes it; None for a model that was there before.
    weights: digest of its files, or hub id and revision; empty if ``trained_by`` decides.
    tokenizer, chat_template: digests of those used instead of the model's own.
    """

    name: str
    step: int
    trained_by: str | None
    weights: str
    dtype: Dtype
    chat: Chat
    tokenizer: str | None
    chat_template: str | None
    place: ModelPlace

    def stage(self, inputs: Inputs) -> "Stage":
        """Return the stage as the study saw it, its checkpoint found among the inputs.

        Raises InputError if a borrowed tokenizer or the template has changed since.
        """
        folder = self.place.folder
        if self.trained_by is not None:
            trained = inputs.folders[self.trained_by]
            checkpoint = (
                list_checkpoints(trained)[-1].path if self.name == BASE else trained / f"checkpoint-{self.step}"
            )
            folder = str(checkpoint)
        config = ModelConfig(
            model=folder,
            tokenizer=self.place.tokenizer,
            chat_template=self.place.chat_template,
            revision=self.place.revision,
            dtype=self.dtype,
            chat=self.chat,
            trust_remote_code=self.place.trust_remote_code,
        )
        stage = Stage(self.name, self.step, folder, config, digest=self.weights)
        self._check_unchanged(stage)
        return stage

    def _check_unchanged(self, stage: "Stage") -> None:
        """Raise InputError unless tokenizer and template on this machine are those the unit was planned with."""
        source = stage.source
        if source.tokenizer != self.tokenizer and _is_local(self.tokenizer):
            raise _changed(f"tokenizer {self.place.tokenizer}")
        if source.chat_template != self.chat_template:
            raise _changed(f"chat template {self.place.chat_template}")


def check_weights_unchanged(stage: "Stage") -> None:
    """Raise InputError unless the files of a model that lies on this machine are those the stage was planned with.

    A training unit's own checkpoint is compared with its digests where inputs are read. Files are read once per process
    for this, if they do not change.
    """
    if stage.digest and _is_local(stage.digest):
        try:
            is_changed = _content_key(stage.folder, stage.config.revision) != stage.digest
        except FileNotFoundError:  # replaced while they were read
            is_changed = True
        if is_changed:
            raise _changed(f"model {stage.folder}")


def _is_local(key: str | None) -> bool:
    """Tell whether a content key is that of a folder, and not a hub id with its revision."""
    return key is not None and "@" not in key.split(" on ")[0]


def _changed(what: str) -> InputError:
    return InputError(f"{what} changed after the study was planned; run it again")


@dataclass(frozen=True)
class Stage:
    """One model at one step.

    variant: ``base`` or the variant's name. step: of training; 0 for the base, trained here or not, and for finished
        models.
    folder: where it lies or its hub id. unit: the training unit that makes it, if one does; folder is then inside it.
    digest: of the weights' folder, or the hub id with its revision.
    """

    variant: str
    step: int
    folder: str
    config: ModelConfig
    unit: Unit | None = None
    digest: str = ""

    @property
    def source(self) -> ModelSource:
        """Return what a unit's function must know of this model."""
        borrowed, template = self.borrowed_tokenizer, self.config.chat_template
        text = None if template is None else local_template(template_path(template))
        place = ModelPlace(
            folder="" if self.unit is not None else self.folder,
            revision=self.config.revision,
            tokenizer=self.config.tokenizer,
            chat_template=template,
            trust_remote_code=self.config.trust_remote_code,
        )
        return ModelSource(
            name=self.variant,
            step=self.step,
            trained_by=next(iter(self.inputs), None),
            weights=self.digest,
            dtype=self.config.dtype,
            chat=self.chat,
            tokenizer=None if borrowed is None else _content_key(borrowed, None),
            chat_template=template if text is None else digest(text),
            place=place,
        )

    @property
    def borrowed_tokenizer(self) -> str | None:
        """Return folder or hub id of the tokenizer to use instead of the model's own; None for its own."""
        return None if self.config.tokenizer is None else model_path(self.config.tokenizer)

    @property
    def borrows(self) -> bool:
        """Return whether the model is spoken to through another tokenizer or chat template than its own."""
        return self.config.tokenizer is not None or self.config.chat_template is not None

    @property
    def inputs(self) -> dict[str, Unit]:
        """Return the training unit by its name as an input; empty if nothing of the study makes the model."""
        return {} if self.unit is None else {f"train {self.variant}": self.unit}

    @property
    def chat(self) -> Chat:
        """Return how this model is spoken to."""
        return self.config.chat


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
        return [Stage(variant.name, step, str(path), config, train) for step, path in paths.items()]
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


def trained_stages(stages: list[Stage]) -> list[Stage]:
    """Return a variant's stages without checkpoint 0 of a training run, which is the base itself."""
    return [stage for stage in stages if stage.step > 0] or stages[-1:]


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


def local_files(model: str, revision: str | None) -> Path | None:
    """Return the folder on this machine that holds a model's own files; None for a hub model not yet fetched."""
    return Path(model) if Path(model).is_dir() else hub.cached_snapshot(model, revision)


def _finished_stage(variant: str, config: ModelConfig, step: int = 0) -> Stage:
    folder = model_path(config.model)
    if Path(folder).is_dir():
        check_weights(Path(folder))
    else:
        check_cached(folder, config.revision)
    return Stage(variant, step, folder, config, digest=_content_key(folder, config.revision))


def _content_key(folder: str, revision: str | None) -> str:
    """Return what tells two models or tokenizers apart: a folder's digest (an adapter's with its base's), or a hub id
    with its revision."""
    if Path(folder).is_dir():
        key = folder_digest(Path(folder))
        base = adapter_base(folder)
    else:
        key = f"{folder}@{revision or 'main'}"
        snapshot = hub.cached_snapshot(folder, revision)
        base = None if snapshot is None else adapter_base(snapshot)
    return key if base is None else f"{key} on {_content_key(base, None)}"


def has_tokenizer(folder: Path) -> bool:
    """Return whether a model's folder holds a tokenizer of its own."""
    return any(file for name in ("tokenizer*", "vocab.json") for file in folder.glob(name))


def template_path(source: str) -> str:
    """Return where the chat template a study names lies: a file, a folder, a shipped name or a hub id."""
    return named_models.named_model(source) or source


def model_path(model: str) -> str:
    """Return a model's folder or hub id; a built-in name becomes its folder.

    Raises InputError for a path that does not exist.
    """
    builtin = named_models.named_model(model)
    if builtin is not None:
        return builtin
    # A hub id has one slash at most: two are a path.
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    path = Path(model).expanduser()
    if looks_local and not path.is_dir():
        raise InputError(f"model folder {model} does not exist")
    return str(path) if path.is_dir() else model


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


def files_of(stage: Stage) -> Path | None:
    """Return the folder on this machine that has the stage's config and tokenizer; None if none has."""
    folder = local_files(stage.folder, stage.config.revision)
    return None if folder is None else whole_model_folder(folder)


def _check_comparable(base: Stage, stages: list[Stage]) -> None:
    """Raise InputError unless all stages whose files are here have the base's layers, heads and vocabulary."""
    base_files = files_of(base)
    for stage in stages:
        name = f"variant {stage.variant}" + (f" at step {stage.step}" if stage.step else "")
        files = files_of(stage)
        if base_files is not None and files is not None:
            check_compatible(read_model_config(base_files), read_model_config(files), variant_name=name)
            check_same_vocabulary(base_files, files, variant_name=name)
