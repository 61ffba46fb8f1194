"""Failures: which kinds of failure a head set's removal raises or lowers, among matched random sets."""

from headscope.report.run_results import RunResults, ablation_columns, with_result
from headscope.results.failures import FailureChanges, KindChange
from headscope.results.not_run import NotRun
from headscope.results.numbers import format_number
from headscope.results.table import Cell, Row, Table, estimate_cell, p_cell
from headscope.runs.records import Finished

_PLACE = ("variant", "heads", "operator", "task")


def failures(results: RunResults) -> Table:
    """Return one row per head set, operator and task: what is raised and lowered, in a sentence."""
    rows: list[Row] = []
    for unit in results.in_order(FailureChanges):
        result, row = unit.result, ablation_columns(unit, *_PLACE)
        if isinstance(result, NotRun):
            rows.append(row | {"n": None, "random sets": None, "reading": f"not run: {result.reason}"})
        else:
            size = f"{result.problems} × {result.samples}"
            rows.append(row | {"n": size, "random sets": result.controls, "reading": result.reason})
    caption = (
        "What the intervention does to each kind of failure, by rules fixed beforehand. n: problems × samples. Random "
        "sets have as many heads in every layer, unless the reading says otherwise; intervals are over problems."
    )
    return Table("failures", tuple(rows), caption)


def failure_kinds(results: RunResults) -> Table:
    """Return one row per kind of failure of each head set, operator and task."""
    rows: list[Row] = []
    for unit, result in with_result(results.in_order(FailureChanges)):
        rows += kind_rows(unit, result)
    caption = (
        "Shares of all answers, with minus without the intervention, paired by problem, 95 % intervals over problems. "
        "Failures are of wrong answers, one each; right answers can have a slip or a loop too. Random sets: mean "
        "change. Rank: among the random sets and the set itself in the direction of its change, 1 the strongest. p: "
        "of standing out among them in any kind (max T); q: of a change over problems, adjusted over kinds "
        "(Benjamini-Hochberg)."
    )
    return Table("failure-kinds", tuple(rows), caption)


def kind_rows(unit: Finished[FailureChanges], result: FailureChanges) -> list[Row]:
    """Return the rows of one head set, operator and task."""
    return [ablation_columns(unit, *_PLACE) | _columns(kind) for kind in result.kinds]


def _columns(kind: KindChange) -> Row:
    controls = len(kind.control_effects)
    mean = float(kind.control_effects.mean()) if controls else float("nan")
    return {
        "kind": kind.name,
        "share before": estimate_cell(kind.whole),
        "share after": estimate_cell(kind.removed),
        "change": estimate_cell(kind.change, sign=True),
        "random sets": Cell(format_number(mean, sign=True), {"mean": mean, "effects": kind.control_effects}),
        "rank": Cell(f"{kind.rank} of {1 + controls}", kind.rank),
        "p": p_cell(kind.adjusted_p),
        "q": p_cell(kind.q_value),
        "reading": kind.direction or "–",
    }
