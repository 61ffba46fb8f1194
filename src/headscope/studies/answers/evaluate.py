"""Evaluate a stage on a task: a unit that keeps every sample, and one of the measures computed from them, so that
another k draws nothing again.

With ``eval.shard_problems`` the answers are drawn by several units, the shards, and the unit of all samples joins them.
So are those of edited models with ``ablate.shard_problems`` (``ablation.ablated``).
"""

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from pydantic import PlainSerializer

from headscope.evaluation import (
    Sampling,
    check_golds,
    evaluate,
    join_samples,
    majority_at_k,
    pass_at_k,
    success_at_k,
    votes,
)
from headscope.measures.intervals import bootstrap_mean, paired_difference
from headscope.measures.paired_tests import detectable_from, mcnemar, smallest_detectable
from headscope.progress import Progress
from headscope.results.codec import Json
from headscope.results.estimate import Estimate
from headscope.results.measures import McNemar, Measures
from headscope.results.samples import Samples
from headscope.runs import Inputs, Unit, Work
from headscope.studies.data import sources
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.models.tokenizer import tokenizer_of
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.evaluate import EvalConfig
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from headscope.evaluation.vllm_settings import Checkpoint

C = TypeVar("C", bound=Config)

CHECKER = 5
"""Raise it when the same response would get another verdict; ``headscope score`` shows what changes."""


GREEDY = "pass@{k} is that of one answer, because temperature 0 draws the same answer every time; draw with more"


SamplingSettings = Annotated[Sampling, PlainSerializer(Sampling.as_dict)]
"""``Sampling`` in a unit's settings."""


class SamplesConfig(Config):
    """A model, the problems it answers, and how answers are drawn."""

    model: ModelSource
    task: TaskSource
    sampling: SamplingSettings
    engine: str


class ShardConfig(SamplesConfig):
    """The settings of a samples unit, and which of its problems this unit asks.

    first, end: their places, from 0 on, ``end`` not included.
    """

    first: int
    end: int


def compute_samples(config: SamplesConfig, inputs: Inputs, progress: Progress) -> Samples:
    """Return every response of a model to a task, with its verdict; if there are shards, what they hold."""
    shards = shard_inputs(inputs.folders)
    if shards:
        return join_samples([inputs.load(shard, Samples) for shard in shards])
    return _answer(config, None, inputs, progress)


def compute_shard(config: ShardConfig, inputs: Inputs, progress: Progress) -> Samples:
    """Return the responses of a model to some of a task's problems."""
    return _answer(config, range(config.first, config.end), inputs, progress)


def _answer(config: SamplesConfig, part: range | None, inputs: Inputs, progress: Progress) -> Samples:
    task = config.task.task()
    check_golds(task)  # before a model is loaded
    stage = config.model.stage(inputs)
    model, tokenizer = load_for_engine(stage, config.engine)
    return evaluate(
        model,
        tokenizer,
        task,
        config.sampling,
        chat=stage.chat,
        name=stage.variant,
        engine=config.engine,
        part=part,
        progress=progress,
    )


SAMPLES = Work("samples", SamplesConfig, compute_samples, version=CHECKER)
SHARD = Work("samples_shard", ShardConfig, compute_shard, version=CHECKER)


class MeasuresConfig(Config):
    """Settings of measuring saved answers. k: answers per problem that pass@k is taken over. seed: of the bootstrap."""

    k: tuple[int, ...]
    seed: int


def compute_measures(config: MeasuresConfig, inputs: Inputs, progress: Progress) -> Measures:
    """Return the measures of the input ``samples``; if there is an input ``base``, also the change against it.

    An input ``unmasked`` takes its place for answers without a marker: those of the same model that could use it.
    """
    samples = inputs.load("samples", Samples)
    if "unmasked" in inputs:
        return measure_masked(samples, inputs.load("unmasked", Samples), config.k, config.seed)
    base = inputs.load("base", Samples) if "base" in inputs else None
    return measure(samples, config.k, config.seed, base)


MEASURES = Work("measures", MeasuresConfig, compute_measures, version=4)


def samples_unit(study: Study, stage: Stage, ref: TaskRef, forbid: tuple[str, ...] = ()) -> Unit:
    """Return the unit of every response of ``stage`` to a task, with its verdict. forbid: markers that are masked."""
    task = TaskSource.from_ref(ref, study.data_dir, study.eval.problems)
    config = SamplesConfig(
        model=stage.source,
        task=task,
        sampling=replace(draw_settings(study.eval, study.eval.samples, study.seed), forbid=forbid),
        engine=study.eval.engine,
    )
    labels: dict[str, Json] = {"variant": stage.variant, "step": stage.step, "task": task.name}
    # No label at all without markers: units are found by it, and older runs have none.
    labels |= {"forbid": ", ".join(forbid)} if forbid else {}
    problems = len(sources.task(ref, study.data_dir).first(study.eval.problems))
    whole = SAMPLES.unit(config, labels, stage.inputs)
    return share_out(whole, SHARD, problems, study.eval.shard_problems)


def share_out(whole: Unit, work: Work[C], problems: int, size: int | None) -> Unit:
    """Return the unit that joins the answers of shards of ``size`` problems; ``whole`` itself if one would hold all.

    whole: the unit that draws them all. work: of a shard, whose settings are those of the whole, and ``first`` and
        ``end``.
    """
    if size is None or size >= problems:
        return whole
    starts = range(0, problems, size)
    shards = {}
    for number, start in enumerate(starts, start=1):
        bounds = {"first": start, "end": min(start + size, problems)}
        of_shard = work.config.model_validate(dict(whole.config) | bounds)
        labels = whole.labels | {"shard": f"{number}/{len(starts)}"}
        shards[f"shard {number}"] = work.unit(of_shard, labels, whole.inputs)
    return whole.work.unit(whole.config, whole.labels, shards)


def shard_inputs(names: Iterable[str]) -> list[str]:
    """Return which of a unit's inputs are shards of its answers, in their order; none if it draws them itself."""
    shards = [name for name in names if name.startswith("shard ")]
    return sorted(shards, key=lambda name: int(name.removeprefix("shard ")))


def measures_unit(study: Study, samples: Unit, base: Unit | None = None) -> Unit:
    """Return the unit of a samples unit's measures, compared with ``base``'s samples if there are any."""
    inputs = {"samples": samples} | ({} if base is None else {"base": base})
    return MEASURES.unit(MeasuresConfig(k=study.eval.ks, seed=study.seed), samples.labels, inputs)


def masked_units(study: Study, stage: Stage, ref: TaskRef) -> list[Unit]:
    """Return the unit that compares a stage's answers without the forbidden markers with its answers as they come.

    Problems and seeds are the same. No unit if the study forbids nothing.
    """
    if not study.eval.forbid:
        return []
    masked = samples_unit(study, stage, ref, study.eval.forbid)
    inputs = {"samples": masked, "unmasked": samples_unit(study, stage, ref)}
    return [MEASURES.unit(MeasuresConfig(k=study.eval.ks, seed=study.seed), masked.labels, inputs)]


def load_for_engine(
    stage: Stage, engine: str
) -> tuple["PreTrainedModel | Checkpoint", "PreTrainedTokenizerBase | None"]:
    """Return what ``evaluation.sample`` takes as its model, and the tokenizer.

    For vLLM that is the checkpoint, whose weights its engine loads; for transformers the loaded model.
    """
    if engine == "vllm":
        from headscope.evaluation.vllm_settings import Checkpoint

        stage.check_weights_unchanged()
        config = stage.config
        checkpoint = Checkpoint(
            stage.folder, config.dtype, config.revision, stage.borrowed_tokenizer, config.trust_remote_code
        )
        return checkpoint, tokenizer_of(stage)
    from headscope.studies.models.subjects import load

    subject = load(stage)
    return subject.model, subject.tokenizer


def draw_settings(settings: EvalConfig, samples: int, seed: int) -> Sampling:
    """Return how ``samples`` answers per problem are drawn."""
    return Sampling(
        samples,
        settings.max_new_tokens,
        settings.temperature,
        settings.top_p,
        seed,
        top_k=settings.top_k or 0,
        min_p=settings.min_p,
    )


def measure(samples: Samples, ks: tuple[int, ...], seed: int, base: Samples | None = None) -> Measures:
    """Return pass@k, success@k and majority@k for every k, the rates of each verdict and lengths in tokens.

    base: the base's answers to the same problems, to compare with.
    Warns if more than one of several greedy answers is asked for.
    """
    settings = samples.settings.get("sampling", {})
    if repeats_itself(settings.get("temperature"), samples.correct.shape[1], max(ks)):
        warnings.warn(f"{samples.model} on {samples.task}: {GREEDY.format(k=max(ks))}", stacklevel=2)
    correct, lengths, ballots = samples.correct, samples.lengths, votes(samples)
    change, flips, detectable = (None, None, None) if base is None else _against(base, samples)
    return Measures(
        problems=correct.shape[0],
        samples=correct.shape[1],
        pass_at_k={k: pass_at_k(correct, k) for k in ks},
        success_at_k={k: success_at_k(correct, k) for k in ks},
        majority_at_k={k: majority_at_k(correct, ballots, k) for k in ks},
        rates=samples.rates(),
        mean_tokens=bootstrap_mean(lengths.mean(axis=1), seed=seed),
        median_tokens=float(np.median(lengths)),
        unreadable_golds=tuple(samples.settings.get("unreadable_golds", ())),
        change=change,
        flips=flips,
        detectable=detectable,
    )


def measure_masked(samples: Samples, unmasked: Samples, ks: tuple[int, ...], seed: int) -> Measures:
    """Return the measures of answers without a marker, and their changes against the same model's ``unmasked`` ones."""
    longer = samples.lengths.mean(axis=1) - unmasked.lengths.mean(axis=1)
    return replace(measure(samples, ks, seed, unmasked), tokens_change=bootstrap_mean(longer, seed=seed))


def repeats_itself(temperature: float | int | None, samples: int, k: int) -> bool:
    """Return whether pass@k is asked of several samples that are all the same answer."""
    return temperature == 0 and samples > 1 and k > 1


def _against(before: Samples, after: Samples) -> tuple[Estimate, McNemar, float]:
    """Return the change of pass@1, the test of each problem's first sample, and the smallest change to be found."""
    change = paired_difference(after.correct.mean(axis=1), before.correct.mean(axis=1))
    return change, mcnemar(after.first_correct, before.first_correct), detectable_from(change)


def detectable_differences(study: Study) -> list[dict[str, Any]]:
    """Return per task, before anything is run: problems, samples, and the smallest difference of pass@1 between two
    variants that would be found four times in five.
    """
    rows = []
    for ref in study.tasks:
        task = sources.task(ref, study.data_dir).first(study.eval.problems)
        smallest = smallest_detectable(len(task), study.eval.samples)
        rows.append({"task": task.name, "problems": len(task), "samples": study.eval.samples, "difference": smallest})
    return rows
