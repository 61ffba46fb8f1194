"""Studies of known models for positive controls: what they run, and the results that claims are judged on.

A model is lab-s with heads silenced or scaled (``Doses``), or one that a control has made itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from headscope.comparison.claims import StudyResults
from headscope.interventions import edit_weights
from headscope.models import load_model
from headscope.studies.claims import study_results
from headscope.studies.run import run_study
from headscope.studies.study_file.study import Study

MODEL = "lab-s"

Doses = dict[str, float]
"""The factor on what each head of lab-s writes; heads that are not named keep 1."""


@dataclass(frozen=True)
class Size:
    """pairs: of the leaf contrast. checkpoints: of GRPO. problems: of ablations. steps: of trainings, in some controls
    times a factor. seed: of all that is drawn.
    """

    pairs: int = 16
    checkpoints: int = 16
    problems: int = 128
    steps: int = 200
    seed: int = 0


QUICK = Size(pairs=16, checkpoints=6, problems=24)


@dataclass(frozen=True)
class Variant:
    """A variant of a study: its method, and the doses of each checkpoint. rewards: by checkpoint, if it logs any."""

    name: str
    method: str
    checkpoints: Sequence[Doses]
    rewards: Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class Outcome:
    """Results of a control, and of its twins by what they lack."""

    control: StudyResults
    twins: dict[str, StudyResults]


@cache
def _lab_subject() -> Any:
    return load_model(MODEL)


def save_doses(doses: Doses, folder: Path) -> None:
    """Save lab-s with heads silenced or scaled."""
    save_subject(edit_weights(_lab_subject(), dict(doses)), folder)


def save_subject(subject: Any, folder: Path) -> None:
    """Save a model with its tokenizer."""
    subject.model.save_pretrained(folder)
    subject.tokenizer.save_pretrained(folder)


def run_variants(
    base: Doses, variants: Sequence[Variant], folder: Path, size: Size, *, goal: str = "compare", **settings: Any
) -> StudyResults:
    """Write the models, run their study, and return its results as claims are judged on."""
    save_doses(base, folder / "base")
    described = []
    for variant in variants:
        for step, doses in enumerate(variant.checkpoints, start=1):
            save_doses(doses, folder / variant.name / f"checkpoint-{step}")
        keys = {"name": variant.name, "method": variant.method}
        keys["checkpoints"] = str(folder / variant.name / "checkpoint-*")
        if variant.rewards:
            log = folder / f"{variant.name}.jsonl"
            rows = [
                {"step": step, "reward": reward, "loss": 0.0, "learning_rate": 0.0}
                for step, reward in enumerate(variant.rewards, start=1)
            ]
            log.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            keys["reward_log"] = str(log)
        described.append(keys)
    return run_control({"model": str(folder / "base")}, described, folder / "run", size, goal=goal, **settings)


def run_control(
    base: dict[str, Any],
    variants: Sequence[dict[str, Any]],
    folder: Path,
    size: Size,
    *,
    goal: str = "compare",
    **settings: Any,
) -> StudyResults:
    """Run a study of the lab to a goal, and return its results as claims are judged on; settings: of its sections."""
    discover = {"contrast": "lab-leaf", "pairs": size.pairs, "nodes": 8, "fraction": 0.1, "sizes": [0.1]}
    evaluate = {"samples": 1, "k": [1], "temperature": 0.0, "max_new_tokens": 8, "problems": size.problems}
    study = Study.model_validate(
        {
            "name": "control",
            "seed": size.seed,
            "base": base,
            "variants": variants,
            "tasks": settings.get("tasks", ["lab-k"]),
            "discover": discover | settings.get("discover", {}),
            "ablate": settings.get("ablate", {"heads": []}),
            "eval": evaluate | settings.get("eval", {}),
        }
    )
    run, outcome = run_study(study, folder, goal=goal)
    if outcome.failed:
        raise SystemExit(f"a control could not be run: {outcome.failed}")
    return study_results(study, run)
