"""Stages: one model at one step of its training, and what a unit's function must know of it. No torch: a plan needs no
weights.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from headscope.evaluation import Chat
from headscope.model_files.chat_templates import local_template
from headscope.model_files.folder import adapter_base, whole_model_folder
from headscope.runs import Inputs, Unit
from headscope.runs.digests import digest
from headscope.runs.recipes import BASE
from headscope.studies.models.files import (
    changed_error,
    check_unchanged,
    content_key,
    local_files,
    model_path,
    template_path,
)
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.models import Dtype, ModelConfig
from headscope.training import list_checkpoints


class ModelPlace(Config):
    """Place of a model: ``folder``, or the id it has on the hub; empty for a checkpoint that a unit of the run makes.

    revision: of the hub model. tokenizer, chat_template: where those lie that are used instead of the model's own.
    """

    folder: str
    revision: str | None
    tokenizer: str | None
    chat_template: str | None
    trust_remote_code: bool


class ModelSource(Config):
    """Source that a unit's function loads a model from and speaks to it by.

    name, step: what results call it, and which checkpoint it is of the training.
    trained_by: name of the input that makes it; None for a model that was there before.
    weights: digest of its files, or hub id and revision; empty if ``trained_by`` decides.
    adapts: the same of the model that an adapter trained by the run belongs to; None for other models.
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
    adapts: str | None = Field(default=None, exclude_if=lambda key: key is None)

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
        stage = Stage(self.name, self.step, folder, config, digest=self.weights, adapts=self.adapts)
        self._check_unchanged(stage)
        return stage

    def _check_unchanged(self, stage: "Stage") -> None:
        """Raise InputError unless tokenizer and template on this machine are those the unit was planned with."""
        if stage.borrowed_tokenizer is not None and self.tokenizer is not None:
            check_unchanged("tokenizer", stage.borrowed_tokenizer, None, self.tokenizer)
        if self.chat_template is not None and stage.source.chat_template != self.chat_template:
            raise changed_error("chat template", str(self.place.chat_template))


@dataclass(frozen=True)
class Stage:
    """One model at one step.

    variant: ``base`` or the variant's name. step: of training; 0 for the base, trained here or not, and for finished
        models.
    folder: where it lies or its hub id. unit: the training unit that makes it, if one does; folder is then inside it.
    digest: of the weights' folder, or the hub id with its revision; empty if a unit makes them.
    adapts: the digest of the model below an adapter that a unit makes; None if it makes a whole model, or both.
    """

    variant: str
    step: int
    folder: str
    config: ModelConfig
    unit: Unit | None = None
    digest: str = ""
    adapts: str | None = None

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
            tokenizer=None if borrowed is None else content_key(borrowed, None),
            chat_template=template if text is None else digest(text),
            place=place,
            adapts=self.adapts,
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

    def check_weights_unchanged(self) -> None:
        """Raise InputError unless the files of a model on this machine are those the stage was planned with.

        What a training unit wrote is compared with its digests where inputs are read; the model below an adapter is not
        of the unit.
        """
        if self.digest:
            check_unchanged("model", self.folder, self.config.revision, self.digest)
        if self.adapts is not None and (below := adapter_base(self.folder)) is not None:
            check_unchanged("model", below, None, self.adapts)


def files_of(stage: Stage) -> Path | None:
    """Return the folder on this machine that has the stage's config and tokenizer; None if none has."""
    folder = local_files(stage.folder, stage.config.revision)
    return None if folder is None else whole_model_folder(folder)


def trained_stages(stages: list[Stage]) -> list[Stage]:
    """Return a variant's stages without checkpoint 0 of a training run, which is the base itself."""
    return [stage for stage in stages if stage.step > 0] or stages[-1:]
