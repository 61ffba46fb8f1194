"""Verdicts: what ablating a head set does to the answers, among matched random sets."""

from collections.abc import Sequence

from headscope.report.palette import READINGS
from headscope.report.run_results import RunResults, ablation_columns
from headscope.results.not_run import NotRun
from headscope.results.numbers import format_number
from headscope.results.table import Cell, Row, Table, estimate_cell, interval_columns, p_cell
from headscope.results.verdict import AblationVerdict
from headscope.runs.records import Finished

_COLUMNS = ("n", "pass@1 before", "pass@1 after", "Δ pass@1", "random sets", "rank", "p")
_DATA_COLUMNS = ("n", "samples", "effect", "low", "high", "random mean", "random sd", "random sets", "rank", "p")


def verdicts(results: RunResults) -> Table:
    """Return one row per head set, operator and task, with the sentence its verdict rests on."""
    rows = tuple(_row(unit, _columns(unit.result)) for unit in results.verdicts)
    caption = (
        "Each verdict with the sentence it rests on. Emergent: the variant's new heads. n: problems × "
        "samples; Δ: with minus without the intervention, "
        "paired by problem, 95 % intervals over problems; random sets: mean change and how many, with as many heads "
        "in every layer unless the reason says otherwise; rank among them and "
        "the set itself, 1 the strongest."
    )
    return Table("verdicts", rows, caption)


def verdict_data(units: Sequence[Finished[AblationVerdict]]) -> Table:
    """Return the data of the forest plot."""
    rows = tuple(_row(unit, _data_columns(unit.result)) for unit in units)
    return Table("ablation", rows, "One row per head set, operator and task.")


def _row(unit: Finished[AblationVerdict], columns: Row) -> Row:
    result = unit.result
    reading = "not run" if isinstance(result, NotRun) else f"{READINGS[result.reading]} {result.reading}"
    place = ablation_columns(unit, "variant", "heads", "operator", "task")
    return place | {"verdict": reading} | columns | {"reason": result.reason}


def _columns(result: AblationVerdict | NotRun) -> Row:
    if isinstance(result, NotRun):
        return dict.fromkeys(_COLUMNS)
    random: Cell | str = "none exist"
    if result.controls:
        mean = format_number(result.control_mean, sign=True)
        random = Cell(f"{mean} ({result.controls} sets)", {"mean": result.control_mean, "sets": result.controls})
    return {
        "n": f"{result.problems} × {result.samples}",
        "pass@1 before": estimate_cell(result.baseline),
        "pass@1 after": estimate_cell(result.ablated),
        "Δ pass@1": estimate_cell(result.effect, sign=True),
        "random sets": random,
        "rank": Cell(f"{result.rank} of {1 + result.controls}", result.rank),
        "p": p_cell(result.p_value),
    }


def _data_columns(result: AblationVerdict | NotRun) -> Row:
    if isinstance(result, NotRun):
        return dict.fromkeys(_DATA_COLUMNS)
    return {
        "n": result.problems,
        "samples": result.samples,
        **interval_columns("effect", result.effect),
        "random mean": result.control_mean,
        "random sd": result.control_sd,
        "random sets": result.controls,
        "rank": result.rank,
        "p": result.p_value,
    }
