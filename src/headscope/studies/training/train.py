"""Train a variant: one resumable unit that holds its checkpoints and log."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import TypeAdapter

from headscope.errors import InputError, OutOfMemoryError, count_noun
from headscope.evaluation import Chat, TaskFile
from headscope.progress import Progress
from headscope.runs import Inputs, Unit, Work
from headscope.runs.digests import digest, folder_digest
from headscope.runs.processes import gpus
from headscope.runs.recipes import BASE
from headscope.storage import Result, read_object
from headscope.studies.data import sources
from headscope.studies.data.encodable import check_encodable, lacks_tokens, message_texts
from headscope.studies.models.files import model_path
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.models.study_stages import origin_stage, variant_model
from headscope.studies.models.tokenizer import tokenizer_of
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study
from headscope.studies.study_file.training import (
    CompletionData,
    GrpoTraining,
    RewardData,
    SftTraining,
    TeacherData,
    Training,
)
from headscope.studies.training import rewards
from headscope.training import (
    TRAINING_METHODS,
    Optimisation,
    Reward,
    TrainingMethod,
    launch,
    list_checkpoints,
    processes,
)
from headscope.training.dataset import as_dataset
from headscope.training.process_group import run_together
from headscope.training.run_record import ARGUMENTS, last_saved_step

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

_TRIED_ROWS = 1000
"""Rows that are tried of a data set, if the tokenizer has tokens for any text."""


class TrainPlace(Config):
    """Places of the data set and the teacher, as the study names them, and of named benchmarks' files."""

    dataset: TaskRef
    teacher: str | None
    data_dir: str | None


class TrainConfig(Config):
    """A training, its base, and how the base is spoken to.

    training: as in the study file, data set and teacher apart.
    data, teacher: digests of what is learned from, or names on the hub; no teacher if it is an input or there is none.
    seed: the study's, which shifts that of the training: another study seed is another run of everything.
    """

    training: dict[str, Any]
    base: ModelSource
    chat: Chat
    data: str
    teacher: str | None
    seed: int
    place: TrainPlace

    def settings(self) -> Training:
        """Return the training as the study file has it, with the study's seed."""
        # The digest holds both seeds; the training uses their sum.
        written = self.training | {"dataset": self.place.dataset, "seed": self.training["seed"] + self.seed}
        written |= {} if self.place.teacher is None else {"teacher": self.place.teacher}
        training: Training = TypeAdapter(Training).validate_python(written)
        return training


@dataclass(frozen=True)
class Trained(Result):
    """A finished training, a ``TrainingRun``; its folder was written while it ran."""

    kind: ClassVar[str] = "train"
    schema: ClassVar[int] = 1

    folder: Path

    def save(self, folder: Path | str) -> None:
        """Do nothing: checkpoints and log lie there."""

    @classmethod
    def load(cls, folder: Path | str) -> "Trained":
        """Return the training in a unit's folder."""
        return cls(Path(folder))


def compute_train(config: TrainConfig, inputs: Inputs, progress: Progress) -> Trained:
    """Train in the unit's own folder, where an interrupted try goes on; in processes of their own if the training asks
    for several devices.
    """
    devices = config.settings().devices
    if processes.count() == 1 and devices > 1:
        _train_together(config, inputs, progress, devices)
    else:
        _train_here(config, inputs, progress)
    return Trained(inputs.scratch)


def _train_together(config: TrainConfig, inputs: Inputs, progress: Progress, devices: int) -> None:
    """Train in several processes of this machine; with at most half the sequences per forward pass whenever these run
    out of memory, as a single process does (``launch.train``).
    """
    visible = gpus()
    if visible and len(visible) < devices:
        raise InputError(f"train.devices is {devices}, and this process sees {count_noun(len(visible), 'GPU')}")
    micro_batch = None
    while True:
        try:
            run_together(_train_here, (config, inputs), devices, progress, micro_batch)
            return
        except OutOfMemoryError:
            arguments = read_object(inputs.scratch / ARGUMENTS)
            micro = arguments["per_device_train_batch_size"]
            if micro == 1:
                raise
            micro_batch = launch.halve_micro_batch(micro, micro * arguments["gradient_accumulation_steps"])


def _train_here(config: TrainConfig, inputs: Inputs, progress: Progress) -> None:
    """Train in this process, or as one of several that were begun with it."""
    processes.wait()  # the first process has made the folder, and finished the training before this one
    settings, base = config.settings(), config.base.stage(inputs)
    base.check_weights_unchanged()
    if settings.devices not in (1, processes.count()):
        raise InputError(
            f"train.devices is {settings.devices}, and the command was begun with {processes.count()} processes"
        )
    method = TRAINING_METHODS[settings.method]
    rows = training_rows(settings, config.chat, config.place.data_dir)
    if isinstance(settings, CompletionData):
        check_readable(tokenizer_of(base), as_dataset(rows, ("prompt", "completion")))
    signal: list[Any] = []
    if isinstance(settings, TeacherData):
        trained = list_checkpoints(inputs.folders["teacher"])[-1].path if "teacher" in inputs else None
        signal.append(trained or model_path(settings.teacher))
    elif isinstance(settings, RewardData):
        signal.append(_rewards(settings))
    # None: the base's own tokenizer and template.
    options = {"tokenizer": tokenizer_of(base) if base.borrows else None, "progress": progress}
    method_config = _method_config(method, settings, config.chat)
    method.run(_base_folder(base), rows, *signal, method_config, inputs.scratch, **options)
    processes.wait()  # the others still read the folder the first one is about to rename


# Only weights are compared: logs and the trainer's state hold times.
TRAIN = Work(
    "train",
    TrainConfig,
    compute_train,
    version=2,
    resumable=True,
    reached=last_saved_step,
    compared="checkpoint-*/*.safetensors",
)


def train_unit(study: Study, name: str, settings: Training, base: Stage, chat: Chat) -> Unit:
    """Return the unit of the training ``settings`` of ``base``; its files are a ``TrainingRun``'s.

    name: of the model it makes. chat: how that is spoken to; it is trained as it is asked, but for a hybrid, which is
        trained both ways.
    """
    taught = _teacher_unit(study, settings, base)
    teacher = settings.teacher if isinstance(settings, TeacherData) else None
    config = TrainConfig(
        training=settings.model_dump(mode="json", exclude={"dataset", "teacher"}),
        base=base.source,
        chat=training_chat(settings, chat),
        data=_data_digest(settings, study.data_dir),
        teacher=None if teacher is None or taught is not None else _model_digest(teacher),
        seed=study.seed,
        place=TrainPlace(dataset=settings.dataset, teacher=teacher, data_dir=study.data_dir),
    )
    return TRAIN.unit(config, {"variant": name}, base.inputs | ({} if taught is None else {"teacher": taught}))


def base_training(study: Study) -> Unit | None:
    """Return the training unit that makes the base; None if the base is a finished model."""
    if study.base.train is None:
        return None
    return train_unit(study, BASE, study.base.train, origin_stage(study), study.base.chat)


def trainings(study: Study) -> dict[str, Training]:
    """Return the trainings of a study by the name of the model they make."""
    by_name = {BASE: study.base.train} | {variant.name: variant.train for variant in study.variants}
    return {name: training for name, training in by_name.items() if training is not None}


def step_sequences(training: Training) -> int:
    """Return how many sequences an optimiser step trains on."""
    if isinstance(training, GrpoTraining):
        return training.prompts_per_step * training.samples
    return training.batch_size


def devices_of(unit: Unit) -> int:
    """Return how many devices a unit takes."""
    return int(unit.config.training.get("devices", 1)) if isinstance(unit.config, TrainConfig) else 1


def foretells_steps(unit: Unit) -> bool:
    """Return whether the plan knows what checkpoints a unit makes before it is done; so of all that trains nothing."""
    return not isinstance(unit.config, TrainConfig) or unit.config.training["max_steps"] is not None


def training_chat(settings: Training, chat: Chat) -> Chat:
    """Return how a variant asked through ``chat`` is spoken to in training: alike, but for a hybrid's two modes."""
    hybrid = isinstance(settings, SftTraining) and settings.hybrid
    return chat.model_copy(update={"enable_thinking": None}) if hybrid else chat


def _method_config(method: TrainingMethod, settings: Training, chat: Chat) -> Optimisation:
    """Return the method's own settings, without what only the study knows: its data and its signal."""
    fields = settings.model_dump(include=set(method.config.model_fields))
    if not isinstance(settings, CompletionData):  # their rows carry the switches
        fields["chat"] = chat.switches() | settings.chat
    return method.config.model_validate(fields)


def training_rows(settings: Training, chat: Chat, data_dir: str | None) -> Any:
    """Return what the variant is trained on: records, or prompts with their gold answers."""
    if isinstance(settings, CompletionData):
        return sft_rows(settings, chat, data_dir)
    prompts = sources.training_prompts(settings.dataset, chat, data_dir)
    if isinstance(settings, RewardData) and settings.control == "shuffled_answers":
        return sources.shuffle_columns(prompts, ("answer", "kind"), settings.seed)
    return prompts


def check_readable(tokenizer: "PreTrainedTokenizerBase", rows: "Dataset") -> None:
    """Raise InputError for the first row of prompts and completions that the tokenizer cannot encode.

    If it has tokens for any text, a lone surrogate is all that could be wrong, and the first rows are tried.
    """
    tried = rows if lacks_tokens(tokenizer) else rows.select(range(min(_TRIED_ROWS, len(rows))))
    check_encodable(tokenizer, message_texts(tried, ("prompt", "completion")), "remove the row, or write it otherwise")


def _rewards(settings: GrpoTraining) -> list[Reward]:
    scorers = rewards.rewards_by_name(settings.rewards, settings.dataset)
    if settings.control == "permuted_rewards":
        return [rewards.permute_reward(scorer, settings.seed) for scorer in scorers]
    return scorers


def sft_rows(settings: SftTraining, chat: Chat, data_dir: str | None) -> Any:
    """Return the records a variant is tuned on, with the switches of the chat template in every row."""
    rows = sources.training_records(settings.dataset, chat, data_dir)
    switches = chat.switches()
    if switches:
        rows = [{**row, "chat_template_kwargs": switches | (row.get("chat_template_kwargs") or {})} for row in rows]
    if settings.control == "shuffled_answers":
        rows = sources.shuffle_columns(rows, ("completion", "chat_template_kwargs"), settings.seed)
    return rows


def _teacher_unit(study: Study, settings: Training, base: Stage) -> Unit | None:
    """Return the training of the variant that teaches; None if the teacher is none of the study's."""
    if not isinstance(settings, TeacherData):
        return None
    for variant in study.variants:
        if variant.name == settings.teacher and variant.train is not None:
            return train_unit(study, variant.name, variant.train, base, variant_model(study, variant).chat)
    return None


def _base_folder(base: Stage) -> str:
    """Return the base's folder or hub id; a pinned one is fetched first, because TRL's trainers take no revision."""
    if base.config.revision is None or Path(base.folder).is_dir():
        return base.folder
    from huggingface_hub import snapshot_download

    return str(snapshot_download(base.folder, revision=base.config.revision))


def _model_digest(model: str) -> str:
    path = model_path(model)
    return folder_digest(Path(path)) if Path(path).is_dir() else path


def _data_digest(settings: Training, data_dir: str | None) -> str:
    """Return a digest of the problems or records that are learned; of a hub id, the id."""
    dataset = settings.dataset
    if not isinstance(settings, CompletionData):
        return sources.task_digest(sources.task(dataset, data_dir).problems)
    if dataset in (*sources.dataset_names(), *sources.task_names()):
        return _named_data_digest(str(dataset), data_dir)
    if isinstance(dataset, TaskFile) or Path(dataset).is_file() or dataset.startswith("lab-"):
        return _records_digest(dataset, data_dir)
    return str(dataset)


@lru_cache(maxsize=64)
def _named_data_digest(name: str, data_dir: str | None) -> str:
    # Kept, because a study is planned several times in one run, and each plan would make all these records again.
    return _records_digest(name, data_dir)


def _records_digest(dataset: TaskRef, data_dir: str | None) -> str:
    return digest([dict(row) for row in sources.training_records(dataset, Chat(), data_dir)])
