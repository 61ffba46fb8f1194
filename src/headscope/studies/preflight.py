"""Look for what would stop a study hours later, before it starts.

Data that a method cannot use, prompts that a template cannot ask, a variant that is the base itself, counts too small
for a verdict. Reads tokenizers and data, no weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from headscope.comparison.ablation import FEWEST_CONTROLS, FEWEST_PROBLEMS
from headscope.errors import InputError, count_noun
from headscope.evaluation import check_golds, prompt_ids
from headscope.evaluation.completions import check_room
from headscope.evaluation.forbidden import forbidden_tokens
from headscope.heads import HeadSet
from headscope.model_files.chat_templates import stop_tokens
from headscope.model_files.config_sizes import HEADS, LAYERS, config_size
from headscope.model_files.folder import (
    adapter_base,
    check_same_attention,
    is_untrained_adapter,
    read_model_config,
    vocabulary_entries,
)
from headscope.model_files.named_models import model_title
from headscope.model_files.vocabularies import check_same_vocabulary
from headscope.model_files.weight_files import has_all_weights, have_same_weights
from headscope.results.numbers import ALPHA
from headscope.runs import RunDirectory
from headscope.studies.answers.evaluate import GREEDY, repeats_itself
from headscope.studies.data import sources
from headscope.studies.data.encodable import check_encodable, message_texts
from headscope.studies.models.files import local_files
from headscope.studies.models.stages import Stage, files_of
from headscope.studies.models.study_stages import checkpoint_stages, origin_stage, teacher_stage, variant_model
from headscope.studies.models.tokenizer import tokenizer_of
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study
from headscope.studies.study_file.training import CompletionData, RewardData, Training
from headscope.studies.training import rewards, train
from headscope.training import distill, launch, rendering
from headscope.training.dataset import as_dataset, check_enough_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS = 1000
"""Training rows looked at; the training itself looks at all."""


@dataclass(frozen=True)
class _StudyModel:
    """A model of the study with the tokenizer it is asked through. training: what makes it, if it is trained here."""

    stage: Stage
    tokenizer: "PreTrainedTokenizerBase"
    training: Training | None = None


def check_and_read_first_rows(study: Study, run: RunDirectory) -> dict[str, str]:
    """Check all that the study names, and return the first training row, marked, of each variant trained here.

    Raises InputError for gold answers that cannot be read, a model that is the base itself or that the sampling engine
    cannot serve, a prompt that a model's template cannot render, a marker that it cannot write, heads that cannot be
    reverted or do not exist, and training data that its method cannot use.
    """
    for ref, problems in study.checked_tasks:
        check_golds(sources.task(ref, study.data_dir).first(problems))
    first_rows = {}
    with launch.quiet():
        for stage in _finished_stages(study, run):
            _check_loads(stage)
            _check_served(study, stage)
        for model in _study_models(study, run):
            if model.training is None:  # else it reads through the base's tokenizer, which came first
                _check_texts(study, model)
            _check_prompts(study, model)
            _check_forbidden(study, model)
            _check_reverts(study, model)
            _check_named(study, model)
            if model.training is not None:
                first_rows[model.stage.variant] = _check_training(study, model, model.training)
    return first_rows


def find_other_bases(study: Study, run: RunDirectory) -> list[str]:
    """Return a sentence for each variant that is an adapter of another model than the study's base."""
    base, *stages = _finished_stages(study, run)
    base_files = files_of(base)
    names = {variant.name for variant in study.variants}
    found = {}
    for stage in stages:
        if stage.variant not in names or stage.variant in found:  # a teacher's base is its own affair
            continue
        folder, files = local_files(stage.folder, stage.config.revision), files_of(stage)
        if folder is None or files is None or adapter_base(folder) is None or base_files is None:
            continue
        if files.resolve() == base_files.resolve() or not (has_all_weights(base_files) and has_all_weights(files)):
            continue
        if not have_same_weights(base_files, files):
            found[stage.variant] = (
                f"variant {stage.variant} is an adapter of {adapter_base(folder)}, which is not the base: what differs "
                "between those two counts as its training"
            )
    return list(found.values())


def find_small_counts(study: Study) -> list[str]:
    """List the counts with which a verdict can never decide, or that are not what they seem, a sentence each."""
    settings = study.eval
    is_greedy = repeats_itself(settings.temperature, settings.samples, max(settings.ks, default=1))
    greedy = [f"eval.temperature is 0: {GREEDY.format(k=max(settings.ks))}"] if is_greedy else []
    if not study.variants:
        return greedy
    few = [_describe_few_problems(study, ref, settings.problems, "eval.problems") for ref in study.tasks]
    sentences = [*greedy, *few, _describe_few_openings(study)]
    if not study.ablate.heads:
        return list(filter(None, sentences))
    sentences += [
        _describe_few_problems(study, ref, study.ablate.problems, "ablate.problems") for ref in study.ablate_tasks
    ]
    sentences += _describe_left_out(study)
    if study.ablate.texts < FEWEST_PROBLEMS:
        sentences.append(
            f"ablate.texts is {study.ablate.texts}: the evidence on a head set is decided by no fewer than "
            f"{FEWEST_PROBLEMS} texts"
        )
    for key, count in (("controls", study.ablate.controls), ("generated_controls", study.ablate.generated_controls)):
        if count < FEWEST_CONTROLS:
            sentences.append(
                f"ablate.{key} is {count}: with fewer than {FEWEST_CONTROLS} random sets p ≤ {ALPHA:g} cannot be "
                "reached, and no verdict is supported"
            )
    return list(dict.fromkeys(filter(None, sentences)))


def _describe_left_out(study: Study) -> list[str]:
    """Return a sentence on every finished model if ``ablate.step`` names a checkpoint: it has none."""
    step = study.ablate.step
    finished = [variant.name for variant in study.variants if step is not None and variant.model is not None]
    return [
        f"ablate.step is {step}: {name} is one finished model, and none of its heads is removed" for name in finished
    ]


def _describe_few_problems(study: Study, ref: TaskRef, limit: int | None, key: str) -> str:
    task = sources.task(ref, study.data_dir).first(limit)
    if len(task) >= FEWEST_PROBLEMS:
        return ""
    problems = count_noun(len(task), "problem")
    taken = f"{key} takes {problems} of task {task.name}" if limit == len(task) else f"task {task.name} has {problems}"
    return f"{taken}: no verdict on it is decided by fewer than {FEWEST_PROBLEMS}"


def _describe_few_openings(study: Study) -> str:
    """Return a sentence if several pairs must come from one problem; "" if not."""
    if study.discover.contrast != "openings":
        return ""
    problems = sum(len(sources.task(ref, study.data_dir)) for ref in study.discover_tasks)
    share = problems // 2  # of the smaller of the two sets
    if share >= study.discover.pairs:
        return ""
    return (
        f"discover.pairs is {study.discover.pairs}, and each of the two sets of pairs has {share} of the {problems} "
        "problems of discover.tasks: several pairs come from one problem, and problems are what is counted"
    )


def _study_models(study: Study, run: RunDirectory) -> Iterator[_StudyModel]:
    """Yield the base and the last checkpoint of every variant; one trained here speaks through the base's tokenizer."""
    base = origin_stage(study)
    tokenizer = tokenizer_of(base)
    yield _StudyModel(base, tokenizer)
    if study.base.train is not None:
        yield _StudyModel(base, tokenizer, study.base.train)
    for variant in study.variants:
        if variant.train is not None:
            config = base.config.model_copy(update={"chat": variant_model(study, variant).chat})
            yield _StudyModel(replace(base, variant=variant.name, config=config), tokenizer, variant.train)
        else:
            final = checkpoint_stages(study, variant, run, None)[-1]
            _check_different(base, final)
            yield _StudyModel(final, tokenizer_of(final))


def _finished_stages(study: Study, run: RunDirectory) -> Iterator[Stage]:
    """Yield the base, every checkpoint of a variant trained elsewhere, and the teachers of those trained here."""
    yield origin_stage(study)
    for variant in study.variants:
        if variant.train is None:
            yield from checkpoint_stages(study, variant, run, None)
        elif (teacher := teacher_stage(study, variant.train)) is not None:
            yield teacher


def _check_loads(stage: Stage) -> None:
    """Raise InputError if a stage's weights have no place in its class, or an adapter's base's; none are read."""
    from headscope.models.loading import check_loads

    files = files_of(stage)
    if files is not None and has_all_weights(files):
        check_loads(str(files), trust_remote_code=stage.config.trust_remote_code)


def _check_served(study: Study, stage: Stage) -> None:
    """Raise InputError for a model that vLLM cannot serve, or not with the devices that a unit has here."""
    if study.eval.engine != "vllm":
        return
    from headscope.evaluation import vllm_engine
    from headscope.evaluation.vllm_settings import Checkpoint, devices_per_engine

    config = stage.config
    checkpoint = Checkpoint(stage.folder, config.dtype, config.revision, trust_remote_code=config.trust_remote_code)
    model, memory = vllm_engine.served_model(checkpoint), vllm_engine.device_bytes()
    if memory is not None:
        # A worker has one device, and those of a Ray cluster are taken to be like this machine's.
        devices_per_engine(model, len(vllm_engine.devices()) if study.executor.kind == "local" else 1, memory)


def _check_different(base: Stage, final: Stage) -> None:
    """Raise InputError if a variant has the base's weights and is asked as the base is."""
    if base.chat == final.chat and is_untrained_adapter(Path(final.folder)):
        raise InputError(
            f"variant {final.variant} ({final.folder}) is an adapter that was never trained: one factor of each pair "
            "is zero; name a later checkpoint"
        )
    if base.chat == final.chat and _have_same_weights(base, final):
        raise InputError(
            f"variant {final.variant} ({final.folder}) has the same weights as the base ({base.folder}); name the "
            "post-trained model, or ask one of them otherwise (chat:)"
        )


def _check_reverts(study: Study, model: _StudyModel) -> None:
    """Raise InputError if the study reverts heads and a variant's cannot take the base's weights, or have them."""
    ablate, base, stage = study.ablate, origin_stage(study), model.stage
    is_trained_here = model.training is not None  # then it has the base's shape, and weights still to come
    if "revert" not in (*ablate.operators, *ablate.generated) or stage.variant == "base" or is_trained_here:
        return
    if _have_same_weights(base, stage):
        raise InputError(
            f"variant {stage.variant} ({stage.folder}) has the same weights as the base, which differs from it in its "
            "chat alone, so revert changes nothing; leave revert out of ablate.operators and ablate.generated"
        )
    base_files, files = files_of(base), files_of(stage)
    if base_files is not None and files is not None:
        configs = read_model_config(files), read_model_config(base_files)
        check_same_attention(*configs, model_name=f"variant {stage.variant}", donor_name="base")


def _check_named(study: Study, model: _StudyModel) -> None:
    """Raise InputError if ``ablate.named`` names a head that a model does not have."""
    files = files_of(model.stage)
    config = {} if files is None else read_model_config(files)
    layers, heads = config_size(config, LAYERS), config_size(config, HEADS)
    if layers is not None and heads is not None:
        HeadSet.of(study.ablate.named).grid(layers, heads)


def _have_same_weights(base: Stage, final: Stage) -> bool:
    base_files = local_files(base.folder, base.config.revision)
    final_files = local_files(final.folder, final.config.revision)
    # An adapter's tensors are not its model's, and a hub model still to fetch has none.
    if base_files is None or final_files is None or not (has_all_weights(base_files) and has_all_weights(final_files)):
        return base.digest == final.digest
    return have_same_weights(base_files, final_files)


def _check_prompts(study: Study, model: _StudyModel) -> None:
    """Encode the first and the longest prompt of every task through the model's own template, and leave room."""
    files = files_of(model.stage)
    config = {} if files is None else read_model_config(files)
    context = (config.get("text_config") or config).get("max_position_embeddings")
    # vLLM cuts an answer at the end of the context; our own engine, which all ablations use, refuses.
    cut = study.eval.engine == "vllm" and not (study.variants and study.ablate.heads)
    new_tokens = 0 if cut else study.eval.max_new_tokens
    answered = [(ref, count, new_tokens, "eval.max_new_tokens") for ref, count in study.checked_tasks]
    opening = study.discover.opening_tokens
    opened = [(ref, None, opening, "discover.opening_tokens") for ref in study.discover_tasks]
    for ref, count, new, setting in dict.fromkeys([*answered, *opened]):
        problems = sources.task(ref, study.data_dir).first(count).problems
        # The first shows what a template lacks, the longest what the context does.
        for problem in {problems[0], max(problems, key=lambda problem: len(problem.prompt))}:
            try:
                ids = prompt_ids(model.tokenizer, problem.prompt, model.stage.chat)
                check_room(len(ids), new, context, setting=setting)
            except InputError as error:
                raise InputError(f"{model.stage.variant} cannot be asked {problem.id}: {error}") from error


def _check_forbidden(study: Study, model: _StudyModel) -> None:
    """Raise InputError for a marker that the model cannot write, or must."""
    try:
        forbidden_tokens(model.tokenizer, study.eval.forbid, stop_tokens(model.tokenizer))
    except InputError as error:
        raise InputError(f"{model.stage.variant} cannot be sampled: {error}") from error


def _check_texts(study: Study, model: _StudyModel) -> None:
    """Raise InputError for the first prompt of any task that the model's tokenizer cannot encode."""
    start = f"{model.stage.variant} cannot be asked"
    advice = "give the task a prompt: of its own, such as '{question}', or remove the problem"
    for ref, count in dict.fromkeys([*study.checked_tasks, *((ref, None) for ref in study.discover_tasks)]):
        problems = sources.task(ref, study.data_dir).first(count).problems
        texts = ((f"{start} {problem.id}: its prompt", problem.prompt) for problem in problems)
        check_encodable(model.tokenizer, texts, advice)


def _check_training(study: Study, model: _StudyModel, settings: Training) -> str:
    """Check that the method can use its data, and return the first row as it is trained on."""
    chat = train.training_chat(settings, model.stage.chat)
    try:
        if isinstance(settings, CompletionData):
            switches_column = ["chat_template_kwargs"] if settings.hybrid else []
            columns = ("prompt", "completion", *switches_column)
            rows = as_dataset(train.sft_rows(settings, chat, study.data_dir), columns)
            first = rows.select(range(min(ROWS, len(rows))))
            rendering.check_completions(model.tokenizer, first)
            train.check_readable(model.tokenizer, rows)
            return rendering.describe_rows(model.tokenizer, first, max_length=settings.max_length)
        _check_teacher(study, model, settings)
        prompts = sources.training_prompts(settings.dataset, chat, study.data_dir)
        if isinstance(settings, RewardData):
            rewards.rewards_by_name(settings.rewards, settings.dataset)
            check_enough_prompts(len(prompts), "prompts_per_step", settings.prompts_per_step)
        else:
            check_enough_prompts(len(prompts), "batch_size", settings.batch_size)
        check_encodable(model.tokenizer, message_texts(prompts, ["prompt"]), "remove the problem")
        switches = chat.switches() | settings.chat
        return rendering.describe_row(model.tokenizer, prompts[0], switches)
    except InputError as error:
        raise InputError(f"variant {model.stage.variant} cannot be trained: {error}") from error


def _check_teacher(study: Study, model: _StudyModel, settings: Training) -> None:
    """Raise InputError unless the teacher's vocabulary is the student's: their distributions are compared."""
    teacher = teacher_stage(study, settings)
    if teacher is None:
        return
    base_files, teacher_files = files_of(origin_stage(study)), files_of(teacher)
    if base_files is None or teacher_files is None:
        return
    student_size, teacher_size = vocabulary_entries(base_files), vocabulary_entries(teacher_files)
    if student_size is not None and teacher_size is not None:
        distill.check_vocabulary(model.stage.folder, student_size, model_title(teacher.folder), teacher_size)
    check_same_vocabulary(
        base_files,
        teacher_files,
        variant_name=f"teacher {model_title(teacher.folder)}",
        advice="give a teacher with the model's own vocabulary",
    )
