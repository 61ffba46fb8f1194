"""Discover circuits: edge scores of every stage of a variant on the variant's pairs, and how faithful its circuits
are.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from headscope.measures.intervals import bootstrap
from headscope.pairs import Pairs
from headscope.progress import Progress
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import write_json
from headscope.studies.stages import Stage
from headscope.studies.study import DiscoverConfig, Study

SCHEMA_VERSION = 1


def unit(study: Study, run: RunDirectory, stage: Stage, variant: str, pairs: Unit) -> Unit:
    """Edge scores of ``stage`` on a set of ``variant``'s pairs, kept per pair so that every bootstrap is arithmetic."""
    settings = study.discover
    config = _attribution(settings) | {"model": stage.identity}
    labels = {"variant": variant, "step": stage.step, "pairs": pairs.labels["pairs"], "model": stage.variant}

    def work(out: Path, progress: Progress) -> None:
        from headscope.circuits import attribute
        from headscope.studies.subjects import load

        scores = attribute(
            load(stage),
            Pairs.load(run.folder(pairs)),
            **_attribution(settings),
            keep_pairs=True,
            progress=progress,
        )
        # By the study's name for it: a path would tie the result to this machine.
        named = scores.settings | {"model": f"{stage.variant} step {stage.step}"}
        dataclasses.replace(scores, settings=named).save(out)

    return Unit("scores", labels, config, work, inputs={"pairs": pairs} | stage.inputs)


def faithfulness_unit(study: Study, run: RunDirectory, stage: Stage, scores: Unit) -> Unit:
    """How much of the behaviour the circuits of ``scores`` carry alone, over the ladder of sizes.

    ``curve.safetensors`` holds the metric per pair; ``faithfulness.json`` the curve of the means, and CPR and CMD over
    the study's sizes, with intervals.
    """
    settings, pairs = study.discover, scores.inputs["pairs"]
    sizes = sorted({*settings.sizes, settings.fraction})

    def work(out: Path, progress: Progress) -> None:
        from headscope.circuits import faithfulness_curve
        from headscope.studies.subjects import load

        found = EdgeScores.load(run.folder(scores))
        texts = Pairs.load(run.folder(pairs))
        curve = faithfulness_curve(load(stage), texts, found, settings.metric, fractions=sizes, progress=progress)
        named = curve.settings | {"model": found.settings["model"]}
        dataclasses.replace(curve, settings=named).save(out)
        areas = curve.take(settings.sizes)

        def interval(statistic: Callable[[Float[np.ndarray, " pair"]], float]) -> dict[str, Any]:
            return bootstrap(statistic, len(texts), unit="pair", seed=study.seed).as_dict()

        content = {
            "schema_version": SCHEMA_VERSION,
            "metric": settings.metric,
            "fractions": sizes,
            "edges": list(curve.edges),
            "normalised": [interval(partial(_at, curve, size)) for size in range(len(curve))],
            "cpr": interval(areas.cpr),
            "cmd": interval(areas.cmd),
        }
        write_json(out / "faithfulness.json", content)

    config = {"sizes": sizes, "areas": sorted(settings.sizes), "metric": settings.metric, "seed": study.seed}
    return Unit("faithfulness", dict(scores.labels), config, work, inputs={"scores": scores} | scores.inputs)


def _at(curve: FaithfulnessCurve, size: int, weights: Float[np.ndarray, " pair"]) -> float:
    return float(curve.normalised(weights)[size])


def _attribution(settings: DiscoverConfig) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ("metric", "method", "rule", "nodes", "kv")}
