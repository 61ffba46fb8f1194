"""``evidence.json``: what teacher forcing says of a head set on a task, with what else could explain it beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headscope import storage
from headscope.comparison.ablation_evidence import (
    difference_in_differences,
    dose_response,
    guard,
    judge_operators,
    operator_effect,
    pass_difference,
    repair,
)
from headscope.measures.intervals import paired_difference
from headscope.progress import Progress
from headscope.results.estimate import Estimate
from headscope.results.evidence import Evidence, OperatorEffect
from headscope.results.samples import Samples
from headscope.runs import Unit
from headscope.runs.files import write_json
from headscope.studies import forced, headsets
from headscope.studies.ablated import Ablations

FILE = "evidence.json"


def unit(post: Ablations, base: Ablations, sets: Unit, beside: Ablations | None) -> Unit:
    """Evidence on one group; ``{"empty": true, "reason": …}`` where there is no head or no correct answer to force.

    beside: the guard's task, if the study names one.
    """
    study, group = post.study, sets.labels["heads"]
    losses = {name: forced.unit(post, base, sets, name, beside) for name in study.ablate.operators}
    sampled = {"post": (post.whole(), post.removed(sets, "zero")), "base": (base.whole(), base.removed(sets, "zero"))}
    if beside is not None:
        sampled["guard"] = (beside.whole(), beside.removed(sets, "zero"))

    def work(out: Path, progress: Progress) -> None:
        read = {name: forced.read(post.run.folder(each)) for name, each in losses.items()}
        about = next(iter(read.values()))[0]
        heads = headsets.read(post.run.folder(sets)).heads
        if about["empty"]:
            why = "gave no correct answer to force" if heads else f"has no {group} heads at its last checkpoint"
            reason = f"{post.stage.variant} {why}"
            write_json(out / FILE, {"schema_version": 1, "empty": True, "reason": reason})
            return
        operators = tuple(_operator(name, *each, study.seed) for name, each in read.items())
        stands, reason = judge_operators(operators, about["texts"])
        shares = {
            name: tuple(Samples.load(post.run.folder(each)).correct.mean(axis=1) for each in pair)
            for name, pair in sampled.items()
        }
        first = next(iter(read.values()))[1]
        result = Evidence(
            task=post.task.name,
            heads=heads,
            texts=about["texts"],
            dropped=about["problems"] - about["texts"],
            operators=operators,
            stands=stands,
            reason=reason,
            training=_training(first, study.seed),
            training_pass=pass_difference(shares["post"], shares["base"]),
            **_beside(read, beside, shares, study.seed),
        )
        write_json(out / FILE, result.as_dict())

    labels = {"variant": post.stage.variant, "heads": group, "task": post.task.name}
    inputs = {"sets": sets} | {f"forced {name}": each for name, each in losses.items()}
    inputs |= {f"{name} {what}": each for name, pair in sampled.items() for what, each in zip("+-", pair, strict=True)}
    return Unit("evidence", labels, {"seed": study.seed}, work, inputs=inputs, version=2)


def _operator(name: str, about: dict[str, Any], arrays: storage.Arrays, seed: int) -> OperatorEffect:
    nll, accuracy, after = arrays["nll"], arrays["accuracy"], 2 + about["controls"]
    return operator_effect(name, nll[0], nll[1], nll[2:after], nll[after:], accuracy[1] - accuracy[0], seed=seed)


def _change(arrays: storage.Arrays, prefix: str = "") -> Any:
    nll = arrays[f"{prefix}nll"]
    return nll[1] - nll[0]


def _training(arrays: storage.Arrays, seed: int) -> Estimate | None:
    """Return what training made of the effect, on the texts that the base reads too; None where it reads none."""
    if "base_nll" not in arrays:
        return None
    read = arrays.get("base_read", slice(None))
    return difference_in_differences(_change(arrays)[read], _change(arrays, "base_"), seed=seed)


def _beside(
    read: Mapping[Any, tuple[dict[str, Any], storage.Arrays]], beside: Ablations | None, shares: Any, seed: int
) -> dict[str, Any]:
    """Dose-response, guard and self-repair: from zero ablation, where it was run."""
    if "zero" not in read:
        return {}
    about, arrays = read["zero"]
    nll = arrays["nll"]
    found: dict[str, Any] = {"repair": repair(nll[0], nll[1], arrays["direct_nll"], seed=seed)}
    if "dose_nll" in arrays:
        found["dose"] = dose_response(about["doses"], nll[0], arrays["dose_nll"], seed=seed)
    if beside is not None and "guard_nll" in arrays:
        recall: Estimate = paired_difference(shares["guard"][1], shares["guard"][0])
        found["guard"] = guard(
            beside.task.name, _change(arrays), arrays["guard_nll"][0], arrays["guard_nll"][1], recall, seed=seed
        )
    return found
