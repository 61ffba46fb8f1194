"""Train a variant: one resumable unit that holds its checkpoints and log."""

from pathlib import Path
from typing import Any

from headscope.evaluation import Chat, TaskFile
from headscope.progress import Progress
from headscope.runs import Unit
from headscope.runs.files import digest, folder_digest
from headscope.studies import rewards, sources
from headscope.studies.stages import Stage, model_path, variant_model
from headscope.studies.study import (
    CompletionData,
    GrpoTraining,
    RewardData,
    SftTraining,
    Study,
    TaskRef,
    TeacherData,
    Training,
    VariantConfig,
)
from headscope.studies.tokenizer import tokenizer_of
from headscope.training import TRAINING_METHODS, Optimisation, Reward, TrainingMethod, list_checkpoints, processes


def unit(study: Study, variant: VariantConfig, base: Stage, chat: Chat) -> Unit:
    """The training unit of a variant with ``train``; its files are a ``TrainingRun``'s.

    chat: how the variant is spoken to; it is trained as it is asked, but for a hybrid, which is trained both ways.
    """
    settings = variant.train
    assert settings is not None
    chat = trained_as(settings, chat)
    config = {
        "train": settings.model_dump(mode="json"),
        "seed": study.seed,
        "base": base.identity | {"revision": base.config.revision},
        "chat": chat.model_dump(),
    }
    teacher = _teacher_unit(study, settings, base)

    def work(out: Path, progress: Progress) -> None:
        processes.wait()  # the first process has made the folder, and finished the training before this one
        # Seeds of a study shift those of its trainings: another study seed is another run of everything.
        seeded = settings.model_copy(update={"seed": settings.seed + study.seed})
        method = TRAINING_METHODS[seeded.method]
        config = _config(method, seeded, chat)
        rows = _rows(seeded, chat, study.data_dir)
        signal: list[Any] = []
        if isinstance(seeded, TeacherData):
            # Units of one kind lie next to each other, this one's unfinished folder among them.
            trained = None if teacher is None else list_checkpoints(out.parent / teacher.digest)[-1].path
            signal.append(trained or model_path(seeded.teacher))
        elif isinstance(seeded, RewardData):
            signal.append(_rewards(seeded))
        method.run(_folder(base), rows, *signal, config, out, tokenizer=_tokenizer(base), progress=progress)
        processes.wait()  # the others still read the folder the first one is about to rename

    outside = {"data": _data_digest(settings, study.data_dir)}
    if isinstance(settings, TeacherData) and teacher is None:
        outside["teacher"] = _model_digest(settings.teacher)
    inputs = {} if teacher is None else {"teacher": teacher}
    return Unit("train", {"variant": variant.name}, config, work, inputs=inputs, outside=outside, resumable=True)


def trained_as(settings: Training, chat: Chat) -> Chat:
    """How a variant that is asked through ``chat`` is spoken to in training: alike, but for a hybrid's two modes."""
    hybrid = isinstance(settings, SftTraining) and settings.hybrid
    return chat.model_copy(update={"enable_thinking": None}) if hybrid else chat


def _config(method: TrainingMethod, settings: Training, chat: Chat) -> Optimisation:
    """Return the method's own settings, without what only the study knows: its data and its signal."""
    fields = settings.model_dump(include=set(method.config.model_fields))
    if not isinstance(settings, CompletionData):  # their rows carry the switches
        fields["chat"] = template_switches(chat) | settings.chat
    return method.config.model_validate(fields)


def _rows(settings: Training, chat: Chat, data_dir: str | None) -> Any:
    """Return what the variant is trained on: records, or prompts with their gold answers."""
    if isinstance(settings, CompletionData):
        return sft_rows(settings, chat, data_dir)
    prompts = sources.training_prompts(settings.dataset, chat, data_dir)
    if isinstance(settings, RewardData) and settings.control == "shuffled_answers":
        return sources.shuffled(prompts, ("answer", "kind"), settings.seed)
    return prompts


def _rewards(settings: GrpoTraining) -> list[Reward]:
    scorers = rewards.named(settings.rewards, settings.dataset)
    if settings.control == "permuted_rewards":
        return [rewards.permuted(scorer, settings.seed) for scorer in scorers]
    return scorers


def sft_rows(settings: SftTraining, chat: Chat, data_dir: str | None) -> Any:
    """The records a variant is tuned on, with the switches of the chat template in every row."""
    rows = sources.training_records(settings.dataset, chat, data_dir)
    switches = template_switches(chat)
    if switches:
        rows = [{**row, "chat_template_kwargs": switches | (row.get("chat_template_kwargs") or {})} for row in rows]
    if settings.control == "shuffled_answers":
        rows = sources.shuffled(rows, ("completion", "chat_template_kwargs"), settings.seed)
    return rows


def _teacher_unit(study: Study, settings: Training, base: Stage) -> Unit | None:
    """The training of the variant that teaches, where the teacher is one."""
    if not isinstance(settings, TeacherData):
        return None
    for variant in study.variants:
        if variant.name == settings.teacher:
            return unit(study, variant, base, variant_model(study, variant).chat)
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
    if not isinstance(settings, CompletionData):
        return sources.task_digest(sources.task(settings.dataset, data_dir).problems)
    return _records_digest(settings.dataset, data_dir)


def _records_digest(dataset: TaskRef, data_dir: str | None) -> str:
    """Of the records themselves; a hub id stands for itself."""
    known = isinstance(dataset, TaskFile) or Path(dataset).is_file() or dataset in sources.task_names()
    if known or str(dataset).startswith("lab-"):
        return digest([dict(row) for row in sources.training_records(dataset, Chat(), data_dir)])
    return str(dataset)
