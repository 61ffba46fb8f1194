"""Train a variant: one resumable unit that holds its checkpoints and log."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from headscope.evaluation import Chat, TaskFile
from headscope.progress import Progress
from headscope.runs import Inputs, Unit, Work
from headscope.runs.digests import digest, folder_digest
from headscope.storage import Result
from headscope.studies import rewards, sources
from headscope.studies.config import Config
from headscope.studies.stages import ModelSource, Stage, model_path, variant_model
from headscope.studies.study import (
    DistillTraining,
    GrpoTraining,
    SftTraining,
    Study,
    TaskRef,
    Training,
    VariantConfig,
)
from headscope.studies.tokenizer import tokenizer_of
from headscope.training import (
    DistillConfig,
    GrpoConfig,
    SftConfig,
    list_checkpoints,
    processes,
    run_distill,
    run_grpo,
    run_sft,
)


class TrainPlace(Config):
    """Where the data set and the teacher lie, as the study names them, and files of named benchmarks."""

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
        written = self.training | {"dataset": self.place.dataset, "seed": self.training["seed"] + self.seed}
        written |= {"teacher": self.place.teacher} if self.training["method"] == "distill" else {}
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
    """Train in the unit's own folder, where an interrupted try goes on."""
    processes.wait()  # the first process has made the folder, and finished the training before this one
    settings, base, out = config.settings(), config.base.stage(inputs), inputs.scratch
    if isinstance(settings, SftTraining):
        _sft(settings, base, config, out, progress)
    elif isinstance(settings, GrpoTraining):
        _grpo(settings, base, config, out, progress)
    else:
        teacher = list_checkpoints(inputs.folders["teacher"])[-1].path if "teacher" in inputs else None
        _distill(settings, teacher or model_path(settings.teacher), base, config, out, progress)
    processes.wait()  # the others still read the folder the first one is about to rename
    return Trained(out)


# Only weights are compared: logs and the trainer's state hold times.
TRAIN = Work("train", TrainConfig, compute_train, version=2, resumable=True, compared="checkpoint-*/*.safetensors")


def train_unit(study: Study, variant: VariantConfig, base: Stage, chat: Chat) -> Unit:
    """The training unit of a variant with ``train``; its files are a ``TrainingRun``'s.

    chat: how the variant is spoken to; it is trained as it is asked, but for a hybrid, which is trained both ways.
    """
    settings = variant.train
    assert settings is not None
    taught = _teacher_unit(study, settings, base)
    is_outside = isinstance(settings, DistillTraining) and taught is None
    teacher = settings.teacher if isinstance(settings, DistillTraining) else None
    config = TrainConfig(
        training=settings.model_dump(mode="json", exclude={"dataset", "teacher"}),
        base=base.source,
        chat=trained_as(settings, chat),
        data=_data_digest(settings, study.data_dir),
        teacher=_model_digest(teacher) if is_outside and teacher is not None else None,
        seed=study.seed,
        place=TrainPlace(dataset=settings.dataset, teacher=teacher, data_dir=study.data_dir),
    )
    return TRAIN.unit(config, {"variant": variant.name}, {} if taught is None else {"teacher": taught})


def trained_as(settings: Training, chat: Chat) -> Chat:
    """How a variant that is asked through ``chat`` is spoken to in training: alike, but for a hybrid's two modes."""
    hybrid = isinstance(settings, SftTraining) and settings.hybrid
    return chat.model_copy(update={"enable_thinking": None}) if hybrid else chat


def _sft(settings: SftTraining, base: Stage, config: TrainConfig, out: Path, progress: Progress) -> None:
    training = SftConfig(**settings.model_dump(exclude={"dataset", "control"}))
    rows = sft_rows(settings, config.chat, config.place.data_dir)
    run_sft(_folder(base), rows, training, out, tokenizer=_tokenizer(base), progress=progress)


def sft_rows(settings: SftTraining, chat: Chat, data_dir: str | None) -> Any:
    """The records a variant is tuned on, with the switches of the chat template in every row."""
    rows = sources.training_records(settings.dataset, chat, data_dir)
    switches = template_switches(chat)
    if switches:
        rows = [{**row, "chat_template_kwargs": switches | (row.get("chat_template_kwargs") or {})} for row in rows]
    if settings.control == "shuffled_answers":
        rows = sources.shuffled(rows, ("completion", "chat_template_kwargs"), settings.seed)
    return rows


def _distill(
    settings: DistillTraining, teacher: Path | str, base: Stage, config: TrainConfig, out: Path, progress: Progress
) -> None:
    changes = {"chat": template_switches(config.chat) | settings.chat}
    training = DistillConfig(**settings.model_dump(exclude={"dataset", "teacher"}) | changes)
    prompts = sources.training_prompts(settings.dataset, config.chat, config.place.data_dir)
    run_distill(_folder(base), prompts, teacher, training, out, tokenizer=_tokenizer(base), progress=progress)


def _grpo(settings: GrpoTraining, base: Stage, config: TrainConfig, out: Path, progress: Progress) -> None:
    changes = {"chat": template_switches(config.chat) | settings.chat}
    training = GrpoConfig(**settings.model_dump(exclude={"dataset", "rewards", "control"}) | changes)
    prompts: Any = sources.training_prompts(settings.dataset, config.chat, config.place.data_dir)
    if settings.control == "shuffled_answers":
        prompts = sources.shuffled(prompts, ("answer", "kind"), settings.seed)
    scorers = rewards.named(settings.rewards, settings.dataset)
    if settings.control == "permuted_rewards":
        scorers = [rewards.permuted(each, settings.seed) for each in scorers]
    run_grpo(_folder(base), prompts, scorers, training, out, tokenizer=_tokenizer(base), progress=progress)


def _teacher_unit(study: Study, settings: Training, base: Stage) -> Unit | None:
    """The training of the variant that teaches, where the teacher is one."""
    if not isinstance(settings, DistillTraining):
        return None
    for each in study.variants:
        if each.name == settings.teacher:
            return train_unit(study, each, base, variant_model(study, each).chat)
    return None


def template_switches(chat: Chat) -> dict[str, Any]:
    """What the chat template is told beside the messages."""
    return chat.model_dump(exclude={"system"}, exclude_none=True)


def _folder(base: Stage) -> str:
    """The base as a folder: TRL's trainers take no revision, so a pinned hub model is fetched at its pin first."""
    if base.config.revision is None or Path(base.folder).is_dir():
        return base.folder
    from huggingface_hub import snapshot_download

    return str(snapshot_download(base.folder, revision=base.config.revision))


def _tokenizer(base: Stage) -> Any:
    """What the study gives the base instead of its own tokenizer or template; None for its own."""
    return tokenizer_of(base) if base.borrows else None


def _model_digest(model: str) -> str:
    path = model_path(model)
    return folder_digest(Path(path)) if Path(path).is_dir() else path


def _data_digest(settings: Training, data_dir: str | None) -> str:
    """Of a task's problems or a local file; a hub id stands for itself."""
    if not isinstance(settings, SftTraining):
        return sources.task_digest(sources.task(settings.dataset, data_dir).problems)
    return _records_digest(settings.dataset, data_dir)


def _records_digest(dataset: TaskRef, data_dir: str | None) -> str:
    """Of the records themselves; a hub id stands for itself."""
    known = isinstance(dataset, TaskFile) or Path(dataset).is_file() or dataset in sources.task_names()
    if known or str(dataset).startswith("lab-"):
        return digest([dict(row) for row in sources.training_records(dataset, Chat(), data_dir)])
    return str(dataset)
