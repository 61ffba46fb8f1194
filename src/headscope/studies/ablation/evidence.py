"""Evidence from teacher forcing about a head set on a task, next to what else could explain it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from headscope.comparison.ablation_evidence import (
    difference_in_differences,
    dose_response,
    guard,
    judge_operators,
    operator_effect,
    pass_difference,
    repair,
)
from headscope.measures.intervals import bootstrap_mean, paired_difference
from headscope.operator_names import ABLATION_OPERATORS, Operator, SharedKv
from headscope.progress import Progress
from headscope.results.estimate import Estimate
from headscope.results.evidence import DoseResponse, Evidence, Guard, OperatorEffect, Repair
from headscope.results.forced_losses import ForcedLosses
from headscope.results.head_sets import ControlledHeads
from headscope.results.samples import Samples
from headscope.runs import Inputs, Unit, Work
from headscope.studies.ablation.ablated import Ablations, describe_revert
from headscope.studies.ablation.forced import forced_unit
from headscope.studies.study_file.config import Config

Shares = Float[np.ndarray, " problem"]
"""Of each problem's answers, the correct ones."""


class EvidenceConfig(Config):
    """The evidence's task and operators, by name. guard: the guard's task, if there is one.

    revert_kv: when ``revert`` reverts the keys and values of a group, if it is one of the operators.
    """

    task: str
    guard: str | None
    operators: tuple[Operator, ...]
    seed: int
    revert_kv: SharedKv | None = Field(default=None, exclude_if=lambda rule: rule is None)


def compute_evidence(config: EvidenceConfig, inputs: Inputs, progress: Progress) -> Evidence:
    """Return the evidence on one group, from its losses under each operator and from generated answers."""
    sets = inputs.load("sets", ControlledHeads)
    losses = {name: inputs.load(f"forced {name}", ForcedLosses) for name in config.operators}
    operators = tuple(_operator_effect(name, forced, config.seed) for name, forced in losses.items())
    first = losses[config.operators[0]]
    stands, reason = judge_operators(
        [effect for effect in operators if effect.operator in ABLATION_OPERATORS], first.texts
    )
    remarks = sets.remarks(max(len(effect.control_effects) for effect in operators))
    training_pass = None
    if "base whole" in inputs:
        training_pass = pass_difference(_shares(inputs, "post"), _shares(inputs, "base"))
    dose, guard_evidence, repair_evidence = _explanations(losses, config, inputs)
    rule = None if config.revert_kv is None else describe_revert(config.revert_kv)
    removing = [forced for name, forced in losses.items() if name in ABLATION_OPERATORS]
    return Evidence(
        task=config.task,
        heads=sets.heads,
        texts=first.texts,
        dropped=first.problems - first.texts,
        operators=operators,
        stands=stands,
        reason="; ".join(note for note in (reason, rule, remarks) if note),
        training=_training_effect(removing[0], config.seed) if removing else None,
        training_pass=training_pass,
        dose=dose,
        guard=guard_evidence,
        repair=repair_evidence,
        graft=_graft_effect(losses["revert"], config.seed) if "revert" in losses else None,
    )


EVIDENCE = Work("evidence", EvidenceConfig, compute_evidence, version=5)


def evidence_unit(edited: Ablations, base: Ablations | None, sets: Unit, guarded: Ablations | None) -> Unit:
    """Return the unit of the evidence on one group in one model.

    base: on the same task, for what training made of the effect; None if the model is the base itself.
    guarded: the same model on the guard's task, if there is one.
    """
    study, operators = edited.study, edited.study.ablate.operators
    inputs = {"sets": sets}
    inputs |= {f"forced {name}": forced_unit(edited, base, sets, name, guarded) for name in operators}
    sampled = {"guard": guarded} if base is None else {"post": edited, "base": base, "guard": guarded}
    for name, ablations in sampled.items():
        if ablations is None:
            continue
        inputs |= {
            f"{name} whole": ablations.whole_answers(),
            f"{name} removed": ablations.answers_without(sets, "zero"),
        }
    guard_task = None if guarded is None else guarded.task.name
    config = EvidenceConfig(
        task=edited.task.name,
        guard=guard_task,
        operators=operators,
        seed=study.seed,
        revert_kv=study.ablate.revert_kv if "revert" in operators else None,
    )
    return EVIDENCE.unit(config, edited.labels(sets), inputs)


def _operator_effect(name: str, losses: ForcedLosses, seed: int) -> OperatorEffect:
    # Rows: the whole model, then the set; the controls have arrays of their own.
    nll, accuracy = losses.nll, losses.accuracy
    change = accuracy[1] - accuracy[0]
    available = losses.controls_available, losses.matched_available
    sets = losses.control_nll, losses.matched_nll
    return operator_effect(name, nll[0], nll[1], *sets, change, available=available, seed=seed)


def _training_effect(losses: ForcedLosses, seed: int) -> Estimate | None:
    """Return what training made of the effect, on the texts that the base reads too; None if it reads none."""
    if losses.base_nll is None:
        return None
    change = losses.nll[1] - losses.nll[0]
    # The two differences are paired by text.
    if losses.base_read is not None:
        change = change[losses.base_read]
    return difference_in_differences(change, losses.base_nll[1] - losses.base_nll[0], seed=seed)


def _graft_effect(losses: ForcedLosses, seed: int) -> Estimate | None:
    """Return what the heads' weights do in the base; None if it reads no text."""
    if losses.base_nll is None:
        return None
    return bootstrap_mean(losses.base_nll[1] - losses.base_nll[0], unit="text", seed=seed)


def _shares(inputs: Inputs, name: str) -> tuple[Shares, Shares]:
    """Return the shares of correct answers with the heads and without them."""
    whole, removed = inputs.load(f"{name} whole", Samples), inputs.load(f"{name} removed", Samples)
    return whole.correct.mean(axis=1), removed.correct.mean(axis=1)


def _explanations(
    losses: Mapping[Any, ForcedLosses], config: EvidenceConfig, inputs: Inputs
) -> tuple[DoseResponse | None, Guard | None, Repair | None]:
    """Return dose-response, guard and self-repair, from zero ablation; None without it."""
    if "zero" not in losses:
        return None, None, None
    zero = losses["zero"]
    whole, removed = zero.nll[0], zero.nll[1]
    dose = None if zero.dose_nll is None else dose_response(zero.doses, whole, zero.dose_nll, seed=config.seed)
    guard_evidence = None
    if config.guard is not None and zero.guard_nll is not None:
        with_heads, without = _shares(inputs, "guard")
        recall = paired_difference(without, with_heads)
        guard_whole, guard_removed = zero.guard_nll[0], zero.guard_nll[1]
        guard_evidence = guard(config.guard, removed - whole, guard_whole, guard_removed, recall, seed=config.seed)
    repair_evidence = None if zero.direct_nll is None else repair(whole, removed, zero.direct_nll, seed=config.seed)
    return dose, guard_evidence, repair_evidence
