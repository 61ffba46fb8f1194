"""Facts in a study's file about the claims it can decide, read before anything is run or any model is loaded."""

from collections.abc import Iterator
from pathlib import Path

from headscope.comparison.claims import Gap, RecipeFacts, StudyFacts, TaskFacts, find_gaps
from headscope.errors import InputError
from headscope.evaluation import TaskFile
from headscope.evaluation.benchmarks import BENCHMARKS
from headscope.lab import builtin_data
from headscope.model_files.config_sizes import HEADS, LAYERS, config_size
from headscope.model_files.folder import read_model_config, whole_model_folder
from headscope.runs.recipes import distills_traces, null_twins, seeds_of, training_method, variants_by_name
from headscope.studies.data import sources
from headscope.studies.models.files import local_files, model_path
from headscope.studies.models.study_stages import revisions_by_step, variant_model
from headscope.studies.study_file.models import HubCheckpoints, VariantConfig
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study
from headscope.studies.study_file.training import RewardData
from headscope.training import list_checkpoints


def study_gaps(study: Study) -> dict[str, list[Gap]]:
    """Return what the study lacks to decide each claim, by its name."""
    return find_gaps(study_facts(study))


def gap_lines(gaps: dict[str, list[Gap]]) -> list[str]:
    """Return a line per claim: whether the study can decide it, and what it lacks."""
    lines = []
    for name, of_claim in gaps.items():
        blocking = [gap.sentence for gap in of_claim if gap.blocks]
        weak = [gap.sentence for gap in of_claim if not gap.blocks]
        verdict = "not decided: " + "; ".join(blocking) if blocking else "can be decided"
        lines.append(f"{name} {verdict}" + (f" ({'; '.join(weak)})" if weak and not blocking else ""))
    return lines


def gaps_json(gaps: dict[str, list[Gap]]) -> list[dict[str, object]]:
    """Return the same as plain data: per claim, whether it can be decided, what is missing, and what is weak."""
    rows: list[dict[str, object]] = []
    for name, of_claim in gaps.items():
        missing = [gap.sentence for gap in of_claim if gap.blocks]
        weak = [gap.sentence for gap in of_claim if not gap.blocks]
        rows.append({"claim": name, "decidable": not missing, "missing": missing, "weak": weak})
    return rows


def study_facts(study: Study) -> StudyFacts:
    """Return what claims depend on, from the study's file and the checkpoints and configs that are on this machine."""
    settings = study.ablate
    layers, layer_heads = _size_of_base(study)
    return StudyFacts(
        recipes=tuple(_recipes(study)),
        pairs=study.discover.pairs,
        thinking=_asks_both_modes(study),
        opening_tokens=opening_tokens(study),
        groups=tuple(settings.heads),
        operators=tuple(settings.generated),
        scales=tuple(settings.generated_scales),
        controls=settings.generated_with_controls,
        ablated=tuple(_task_facts(study, ref, settings.problems) for ref in study.ablate_tasks),
        ablated_samples=settings.samples,
        evaluated=tuple(_task_facts(study, ref, study.eval.problems) for ref in study.tasks),
        samples=study.eval.samples,
        layers=layers,
        layer_heads=layer_heads,
    )


def opening_tokens(study: Study) -> int | None:
    """Return the length of the openings that pairs differ in; None if they differ in something else."""
    return study.discover.opening_tokens if study.discover.contrast == "openings" else None


def is_recall(study: Study, ref: TaskRef) -> bool:
    """Return whether a task asks what is known: the guard, one of aliases, or the lab's facts (K, KR)."""
    if ref == study.ablate.guard:
        return True
    if isinstance(ref, TaskFile):
        return ref.kind == "alias"
    return (ref in BENCHMARKS and BENCHMARKS[ref].kind == "alias") or builtin_data.TASKS.get(ref, "").startswith("K")


def _recipes(study: Study) -> Iterator[RecipeFacts]:
    variants = variants_by_name(study.model_dump(mode="json"))
    configs = {variant.name: variant for variant in study.variants}
    for name, runs in seeds_of(variants).items():
        variant = configs[runs[0]]
        yield RecipeFacts(
            name=name,
            method=training_method(variants[runs[0]]),
            on_traces=distills_traces(variants[runs[0]]),
            seeds=len(runs),
            checkpoints=_count_checkpoints(variant),
            null_twins=len(null_twins(runs[0], variants)),
            rewards=isinstance(variant.train, RewardData) or variant.reward_log is not None,
        )


def _count_checkpoints(variant: VariantConfig) -> int | None:
    """Return how many checkpoints are scored, step 0 left out; None if that is not known yet."""
    if variant.train is not None:
        return len(variant.saved_steps) - 1 if variant.train.max_steps else None
    if isinstance(variant.checkpoints, HubCheckpoints):
        steps = list(revisions_by_step(variant.checkpoints))
    elif variant.checkpoints is not None:
        try:
            steps = [point.step for point in list_checkpoints(variant.checkpoints)]
        except InputError:  # not there yet, and named when the study is planned
            return None
    else:
        return 1
    return max(1, sum(step > 0 for step in steps))


def _asks_both_modes(study: Study) -> bool:
    """Return whether two variants are one model asked with thinking on and off."""
    modes: dict[str, set[bool]] = {}
    for variant in study.variants:
        config = variant_model(study, variant)
        if config.chat.enable_thinking is not None:
            origin = repr((variant.train, variant.checkpoints, variant.model, variant.revision))
            modes.setdefault(origin, set()).add(config.chat.enable_thinking)
    return any(len(asked) == 2 for asked in modes.values())


def _task_facts(study: Study, ref: TaskRef, limit: int | None) -> TaskFacts:
    name = (ref.name or Path(ref.file).stem) if isinstance(ref, TaskFile) else ref
    return TaskFacts(name, _count_problems(study, ref, limit), is_recall(study, ref))


def _count_problems(study: Study, ref: TaskRef, limit: int | None) -> int | None:
    """Return how many problems are asked; of a benchmark that the hub may have to send, those asked for at most."""
    if isinstance(ref, str) and ref in BENCHMARKS:
        return limit
    try:
        return len(sources.task(ref, study.data_dir).first(limit))
    except InputError:  # a file that is not there is named when the study is planned
        return limit


def _size_of_base(study: Study) -> tuple[int | None, int | None]:
    """Return the base's numbers of layers and of heads in each; None for what no file here tells."""
    try:
        folder = local_files(model_path(study.base.model), study.base.revision)
    except InputError:
        return None, None
    folder = None if folder is None else whole_model_folder(folder)
    if folder is None:
        return None, None
    config = read_model_config(folder)
    return config_size(config, LAYERS), config_size(config, HEADS)
