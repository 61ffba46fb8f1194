"""Evaluate a stage on a task: a unit that keeps every sample, and one of the measures computed from them, so that
another k draws nothing again.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headscope.evaluation import (
    Sampling,
    check_golds,
    evaluate,
    majority_at_k,
    pass_at_k,
    success_at_k,
    votes,
)
from headscope.measures.intervals import bootstrap_mean, paired_difference
from headscope.measures.paired_tests import detectable_from, mcnemar, smallest_detectable
from headscope.progress import Progress
from headscope.results.samples import Samples
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import write_json
from headscope.studies import sources
from headscope.studies.stages import Stage
from headscope.studies.study import EvalConfig, Study, TaskRef
from headscope.studies.tokenizer import tokenizer_of

SCHEMA_VERSION = 1
CHECKER = 2
"""Raise it when the same response would get another verdict; ``headscope score`` shows what changes."""


def samples_unit(study: Study, stage: Stage, ref: TaskRef) -> Unit:
    """Every response of ``stage`` to a task, with its verdict."""
    task = sources.task(ref, study.data_dir).first(study.eval.problems)
    config = {
        "sampling": study.eval.model_dump(mode="json", exclude={"problems", "k"}),
        "seed": study.seed,
        "problems": sources.task_digest(task.problems),
        "model": stage.identity | stage.config.chat.model_dump(),
    }

    def work(out: Path, progress: Progress) -> None:
        check_golds(task)  # before a model is loaded
        model, tokenizer = respondent(stage, study.eval.engine)
        drawn = sampling(study.eval, study.eval.samples, study.seed)
        options: dict[str, Any] = {"chat": stage.chat, "name": stage.variant, "engine": study.eval.engine}
        evaluate(model, tokenizer, task, drawn, **options, progress=progress).save(out)

    labels = {"variant": stage.variant, "step": stage.step, "task": task.name}
    return Unit("samples", labels, config, work, inputs=stage.inputs, version=CHECKER)


def measures_unit(study: Study, run: RunDirectory, samples: Unit, base: Unit | None = None) -> Unit:
    """``measures.json`` of a samples unit; beside ``base``'s samples also the change against them."""

    def work(out: Path, progress: Progress) -> None:
        found = Samples.load(run.folder(samples))
        content = measures(found, study.eval.ks, study.seed)
        if base is not None:
            content |= against(Samples.load(run.folder(base)), found)
        write_json(out / "measures.json", content)

    inputs = {"samples": samples} | ({} if base is None else {"base": base})
    config = {"k": study.eval.ks, "seed": study.seed}
    return Unit("measures", samples.labels, config, work, inputs=inputs, version=2)


def respondent(stage: Stage, engine: str) -> tuple[Any, Any]:
    """What ``evaluation.sample`` asks, and its tokenizer: the loaded model, or for vLLM the checkpoint it serves, whose
    weights are not loaded here.
    """
    if engine == "vllm":
        from headscope.evaluation.vllm_engine import Checkpoint

        config = stage.config
        checkpoint = Checkpoint(
            stage.folder, config.dtype, config.revision, stage.borrowed_tokenizer, config.trust_remote_code
        )
        return checkpoint, tokenizer_of(stage)
    from headscope.studies.subjects import load

    subject = load(stage)
    return subject.model, subject.tokenizer


def sampling(settings: EvalConfig, samples: int, seed: int) -> Sampling:
    """The study's way of drawing answers."""
    return Sampling(samples, settings.max_new_tokens, settings.temperature, settings.top_p, seed)


def measures(samples: Samples, ks: tuple[int, ...], seed: int) -> dict[str, Any]:
    """pass@k, success@k and majority@k for every k, the rates of each verdict and lengths in tokens, as JSON."""
    correct, lengths, cast = samples.correct, samples.lengths, votes(samples)
    return {
        "schema_version": SCHEMA_VERSION,
        "n_problems": correct.shape[0],
        "samples": correct.shape[1],
        "pass_at_k": {str(k): pass_at_k(correct, k).as_dict() for k in ks},
        "success_at_k": {str(k): success_at_k(correct, k).as_dict() for k in ks},
        "majority_at_k": {str(k): majority_at_k(correct, cast, k).as_dict() for k in ks},
        "rates": samples.rates(),
        "mean_tokens": bootstrap_mean(lengths.mean(axis=1), seed=seed).as_dict(),
        "median_tokens": float(np.median(lengths)),
        "unreadable_golds": samples.settings.get("unreadable_golds", []),
    }


def against(before: Samples, after: Samples) -> dict[str, Any]:
    """The paired comparison of two models on one task, as JSON values.

    change: of pass@1, positive where ``after`` answers more. flips: exact McNemar test of each problem's first sample.
    detectable: the smallest change this comparison could have been expected to find.
    """
    change = paired_difference(after.correct.mean(axis=1), before.correct.mean(axis=1))
    flips = mcnemar(after.first_correct, before.first_correct)
    return {"change": change.as_dict(), "flips": flips.as_dict(), "detectable": detectable_from(change)}


def detectable(study: Study) -> list[dict[str, Any]]:
    """Per task, before anything is run: problems, samples, and the smallest difference of pass@1 between two variants
    that would be found four times in five.
    """
    rows = []
    for ref in study.tasks:
        task = sources.task(ref, study.data_dir).first(study.eval.problems)
        smallest = smallest_detectable(len(task), study.eval.samples)
        rows.append({"task": task.name, "problems": len(task), "samples": study.eval.samples, "difference": smallest})
    return rows
