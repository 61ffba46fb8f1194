"""Stages: every model a study looks at, the base and each checkpoint of each variant. No torch: a plan needs no
weights.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headscope import named_models
from headscope.errors import InputError
from headscope.evaluation import Chat
from headscope.model_folder import check_compatible, check_same_vocabulary, check_weights, read_model_config
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import folder_digest
from headscope.studies.study import ModelConfig, Study, VariantConfig
from headscope.training import list_checkpoints


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
        borrowed = self.borrowed_tokenizer
        return known if borrowed is None else known | {"tokenizer": _content(borrowed, None)}

    @property
    def borrowed_tokenizer(self) -> str | None:
        """Folder or hub id of the tokenizer to use, where the model's own folder has none."""
        folder = Path(self.folder)
        own = not folder.is_dir() or any(file for name in ("tokenizer*", "vocab.json") for file in folder.glob(name))
        return None if own or self.config.tokenizer is None else model_path(self.config.tokenizer)

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
            _finished(variant.name, config.model_copy(update={"model": str(each.path)}), each.step) for each in found
        ]
    else:
        stages = [_finished(variant.name, config)]
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
        "tokenizer": study.base.tokenizer or study.base.model,
    }
    return study.base.model_copy(update=changes)


def _finished(variant: str, config: ModelConfig, step: int = 0) -> Stage:
    folder = model_path(config.model)
    local = Path(folder)
    if local.is_dir():
        check_weights(local)
    return Stage(variant, step, folder, config, digest=_content(folder, config.revision))


def _content(folder: str, revision: str | None) -> str:
    """What tells two models or tokenizers apart: the digest of a folder, or a hub id with its revision."""
    return folder_digest(Path(folder)) if Path(folder).is_dir() else f"{folder}@{revision or 'main'}"


def model_path(model: str) -> str:
    """A folder or a hub id; a built-in name becomes its folder. InputError for a path that does not exist."""
    named = named_models.named_model(model)
    if named is not None:
        return named
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
