"""Stages: every model a study looks at, the base and each checkpoint of each variant. No torch: a plan needs no
weights.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.evaluation import Chat
from headscope.lab import base as lab
from headscope.model_folder import check_compatible, check_same_vocabulary, check_weights, read_model_config
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import digest, folder_digest
from headscope.studies.study import ModelConfig, Study, VariantConfig
from headscope.training import list_checkpoints
from headscope.turns import local_template


@dataclass(frozen=True)
class Stage:
    """One model at one step.

    variant: ``base`` or the variant's name. step: of training; 0 for the base and for finished models.
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
    def identity(self) -> dict[str, Any]:
        """What of this stage decides a result, for a unit's config: never a path."""
        known = {"step": self.step if self.unit else None, "dtype": self.config.dtype, "weights": self.digest}
        borrowed, template = self.borrowed_tokenizer, self.config.chat_template
        known |= {} if borrowed is None else {"tokenizer": _content(borrowed, None)}
        if template is None:
            return known
        text = local_template(template_path(template))
        return known | {"chat_template": template if text is None else digest(text)}

    @property
    def borrowed_tokenizer(self) -> str | None:
        """Folder or hub id of the tokenizer to use instead of the model's own; None for its own."""
        return None if self.config.tokenizer is None else model_path(self.config.tokenizer)

    @property
    def borrows(self) -> bool:
        """Whether the model is spoken to through another tokenizer or chat template than its own."""
        return self.config.tokenizer is not None or self.config.chat_template is not None

    @property
    def inputs(self) -> dict[str, Unit]:
        """The training unit, for a unit's inputs."""
        return {} if self.unit is None else {f"train {self.variant}": self.unit}

    @property
    def chat(self) -> Chat:
        """How this model is spoken to."""
        return self.config.chat


def base_stage(study: Study) -> Stage:
    """The base model."""
    return _finished("base", study.base)


def checkpoint_stages(study: Study, variant: VariantConfig, run: RunDirectory, train: Unit | None) -> list[Stage]:
    """A variant's checkpoints by step. For one trained here that is not finished yet: the steps its settings
    foretell.
    """
    config = variant_model(study, variant)
    if train is not None:
        folder = run.folder(train)
        if run.is_done(train):
            return [Stage(variant.name, each.step, str(each.path), config, train) for each in list_checkpoints(folder)]
        return [
            Stage(variant.name, step, str(folder / f"checkpoint-{step}"), config, train)
            for step in planned_steps(variant)
        ]
    if variant.checkpoints is not None:
        found = list_checkpoints(variant.checkpoints)
        stages = [
            _finished(variant.name, _lent(study.base, config.model_copy(update={"model": str(each.path)})), each.step)
            for each in found
        ]
    else:
        stages = [_finished(variant.name, _lent(study.base, config))]
    _check_comparable(base_stage(study), stages)
    return stages


def planned_steps(variant: VariantConfig) -> list[int]:
    """Steps at which the settings save; without ``max_steps`` only the first is known before the data is read."""
    assert variant.train is not None
    last = variant.train.max_steps or 0
    return sorted({*range(0, last + 1, variant.train.save_every), last})


def variant_model(study: Study, variant: VariantConfig) -> ModelConfig:
    """The variant's settings as a model's: what it does not say itself comes from the base."""
    chat = study.base.chat.model_copy(update=variant.chat.model_dump(exclude_unset=True))
    changes = {
        "chat": chat,
        "revision": variant.revision,
        "model": variant.model or study.base.model,
        "tokenizer": variant.tokenizer,
        "chat_template": variant.chat_template,
    }
    return study.base.model_copy(update=changes)


def _lent(base: ModelConfig, config: ModelConfig) -> ModelConfig:
    """The variant's settings, with the base's tokenizer and chat template if its folder holds no tokenizer."""
    folder = Path(model_path(config.model))
    if config.tokenizer is not None or not folder.is_dir() or has_tokenizer(folder):
        return config
    template = config.chat_template or base.chat_template
    return config.model_copy(update={"tokenizer": base.tokenizer or base.model, "chat_template": template})


def _finished(variant: str, config: ModelConfig, step: int = 0) -> Stage:
    folder = model_path(config.model)
    local = Path(folder)
    if local.is_dir():
        check_weights(local)
    return Stage(variant, step, folder, config, digest=_content(folder, config.revision))


def _content(folder: str, revision: str | None) -> str:
    """What tells two models or tokenizers apart: the digest of a folder, or a hub id with its revision."""
    return folder_digest(Path(folder)) if Path(folder).is_dir() else f"{folder}@{revision or 'main'}"


def has_tokenizer(folder: Path) -> bool:
    """Whether a model's folder holds a tokenizer of its own."""
    return any(file for name in ("tokenizer*", "vocab.json") for file in folder.glob(name))


def template_path(source: str) -> str:
    """Where the chat template a study names lies: a file, a folder, a shipped name or a hub id."""
    return str(lab.model_folder(source)) if source.startswith("lab-") else source


def model_path(model: str) -> str:
    """A folder or a hub id; a built-in name becomes its folder. InputError for a path that does not exist."""
    if model.startswith("lab-"):
        return str(lab.model_folder(model))
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    path = Path(model).expanduser()
    if looks_local and not path.is_dir():
        raise InputError(f"model folder {model} does not exist")
    return str(path) if path.is_dir() else model


def _check_comparable(base: Stage, stages: list[Stage]) -> None:
    """Every stage that lies in a folder has the base's layers, heads and vocabulary."""
    if not Path(base.folder).is_dir():
        return
    expected = read_model_config(base.folder)
    for stage in stages:
        if Path(stage.folder).is_dir():
            name = f"variant {stage.variant}" + (f" at step {stage.step}" if stage.step else "")
            check_compatible(expected, read_model_config(stage.folder), variant_name=name)
            check_same_vocabulary(Path(base.folder), Path(stage.folder), variant_name=name)
