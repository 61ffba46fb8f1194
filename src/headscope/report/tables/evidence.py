"""Evidence: what teacher forcing says of a head set, and what could explain it."""

from collections.abc import Sequence

from headscope.report.run_results import RunResults, ablation_columns, with_result
from headscope.results.evidence import DoseResponse, Evidence, OperatorEffect
from headscope.results.not_run import NotRun
from headscope.results.numbers import format_estimate, state_p
from headscope.results.table import Cell, Row, Table, Value, estimate_cell, interval_columns
from headscope.runs.records import Finished

STANDS = {True: "stands", False: "does not stand", None: "undecided"}

_CHECKS = ("post − base", "off-task", "repaired", "doses")
_COLUMNS = ("texts", "Δ nats", "rank", "rank, like importance", "operators", *_CHECKS)

_REVERTED = (
    " Reverted: the effect of giving the heads the base's weights, and its rank; grafted: of giving the base's heads "
    "theirs. Neither has a vote: they tell what training the heads did, not whether the heads matter."
)


def evidence(results: RunResults) -> Table:
    """Return one row per head set and task: effect, rank, agreement of operators, and the checks around them."""
    rows: list[Row] = []
    is_reverted = any(result.reverted is not None for _, result in with_result(results.evidence))
    for unit in results.evidence:
        result = unit.result
        columns = dict.fromkeys(_COLUMNS) if isinstance(result, NotRun) else _columns(result)
        columns |= _reverted_columns(result) if is_reverted else {}
        reading = "not run" if isinstance(result, NotRun) else STANDS[result.stands]
        place = ablation_columns(unit, "variant", "heads", "task")
        rows.append(place | {"verdict": reading} | columns | {"reason": result.reason})
    caption = (
        "Change of the loss on the model's own correct answers when the heads are replaced, nats per token, positive "
        "if it hurts; 95 % bootstrap over texts. Δ and ranks: of the first operator, among random sets with as many "
        "heads per layer (or in the layers next to them, if the reason says so) and among sets of like importance in "
        "the base, run twenty at a time until ten of them do as "
        "much or none are left. Operators: that support the set. Post − base: "
        "the effect in the variant minus in the base. Off-task: the effect on another task. Repaired: direct minus "
        "total effect. Doses: Page's test that the loss rises as the heads' writes are scaled down or up."
    )
    return Table("evidence", tuple(rows), caption + (_REVERTED if is_reverted else ""))


def _columns(evidence: Evidence) -> Row:
    first = evidence.operators[0]
    signed: dict[str, Value] = {
        "post − base": estimate_cell(evidence.training, 3, sign=True),
        "off-task": None if evidence.guard is None else estimate_cell(evidence.guard.effect, 3, sign=True),
        "repaired": None if evidence.repair is None else estimate_cell(evidence.repair.repaired, 3, sign=True),
    }
    effect = f"{format_estimate(first.effect, 3, sign=True)} ({first.operator})"
    voting = len(evidence.voting)
    agreeing = {"agreeing": evidence.agreeing, "asked": voting}
    return {
        "texts": evidence.texts,
        "Δ nats": Cell(effect, {"operator": first.operator, "effect": first.effect}),
        "rank": _rank(first.rank, len(first.control_effects), first.controls_available),
        "rank, like importance": _rank(
            first.importance_rank, len(first.importance_effects), first.importance_available
        ),
        "operators": Cell(f"{evidence.agreeing} of {voting}", agreeing),
        **signed,
        "doses": _doses(evidence.dose),
    }


def _reverted_columns(evidence: Evidence | NotRun) -> Row:
    """Return what undoing the heads' training does, and what it does to the base."""
    effect = None if isinstance(evidence, NotRun) else evidence.reverted
    grafted = None if isinstance(evidence, NotRun) else evidence.graft
    return {
        "reverted": None if effect is None else estimate_cell(effect.effect, 3, sign=True),
        "rank, reverted": (
            None if effect is None else _rank(effect.rank, len(effect.control_effects), effect.controls_available)
        ),
        "grafted": estimate_cell(grafted, 3, sign=True),
    }


def _has_rank(effect: OperatorEffect) -> bool:
    return len(effect.control_effects) > 0


def _rank(rank: int, sets: int, available: int) -> Cell | None:
    """Return the set's rank among itself and the random sets run, and how many were left if it was settled early."""
    if sets == 0:
        return None
    stopped = f", stopped early after {sets} of {available}" if sets < available else ""
    return Cell(f"{rank} of {1 + sets}{stopped}", rank)


def _doses(dose: DoseResponse | None) -> Cell | None:
    arms = {} if dose is None else {"down": dose.below, "up": dose.above}
    p_values = {name: trend.p_value for name, trend in arms.items() if trend is not None}
    text = ", ".join(f"{name} {state_p(p_value)}" for name, p_value in p_values.items())
    return Cell(text, p_values) if p_values else None


def evidence_data(units: Sequence[Finished[Evidence]]) -> Table:
    """Return the data of the evidence figure."""
    rows: list[Row] = []
    for unit, evidence in with_result(units):
        for effect in evidence.operators:
            place = ablation_columns(unit, "variant", "heads", "task")
            rows.append(place | _operator_columns(evidence, effect) | _context_columns(evidence))
    return Table("evidence-operators", tuple(rows), "One row per operator.")


def _operator_columns(evidence: Evidence, effect: OperatorEffect) -> Row:
    return {
        "operator": effect.operator,
        "texts": evidence.texts,
        **interval_columns("effect", effect.effect),
        "rank": effect.rank if _has_rank(effect) else None,
        "random sets": len(effect.control_effects),
        "random sets there are": effect.controls_available,
        "p": effect.p_value,
        "p like importance": effect.importance_p_value,
        "supported": "yes" if effect.supported else "no",
    }


def _context_columns(evidence: Evidence) -> Row:
    guard, repair, training = evidence.guard, evidence.repair, evidence.training
    return {
        "post − base": None if training is None else training.value,
        "off-task": None if guard is None else guard.effect.value,
        "specific": None if guard is None else guard.specific.value,
        "direct − total": None if repair is None else repair.repaired.value,
        "stands": STANDS[evidence.stands],
        "reason": evidence.reason,
    }
