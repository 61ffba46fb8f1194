"""The summary: one row per model, every number with its interval and null."""

import math

from headscope.report.palette import READINGS
from headscope.report.run_results import RunResults, edited_model, with_result
from headscope.report.tables.faithfulness import faithfulness_cell
from headscope.results.emergence import Emergence
from headscope.results.numbers import format_count, format_estimate, format_number
from headscope.results.table import Cell, Row, Table, count_cell, estimate_cell
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, UNDECIDED, AblationVerdict
from headscope.runs.records import Finished

_COUNTS = "heads kept / new / lost (null)"
_STRENGTH = (SUPPORTED, UNDECIDED, NOT_SUPPORTED)


def summary(results: RunResults) -> Table:
    """Return pass@1 per task, head counts, faithfulness and the strongest ablation of the base and every variant.

    What is not done is a dash.
    """
    rows = []
    for variant in ("base", *results.variants):
        row: Row = {"model": variant}
        for task in results.tasks:
            measures = results.last_measures(variant, task)
            row[_pass_column(results, task)] = None if measures is None else estimate_cell(measures.pass_at_k[1])
        row |= _head_columns(results, variant)
        rows.append(row | {"strongest ablation": strongest_ablation(results, variant)})
    caption = (
        "The models at their last checkpoint. pass@1: intervals over problems, n is problems × samples. Null: the base "
        "against itself on other pairs; after it the null twins, trained without the signal, by name. Of several "
        "ablations the verdict that decides most; its random sets have as many heads in each layer."
    )
    return Table("summary", tuple(rows), caption)


def _pass_column(results: RunResults, task: str) -> str:
    sizes = dict.fromkeys(unit.whole.size for unit in results.last_evaluations if unit.labels["task"] == task)
    return f"pass@1 {task} ({', '.join(sizes)})"


def _head_columns(results: RunResults, variant: str) -> Row:
    columns: Row = {_COUNTS: None, "new above null": None, "faithfulness": None}
    final_of = {comparison.variant: comparison.final for comparison in results.comparisons}
    for comparison in results.comparisons:
        if comparison.variant == variant:
            final, null = comparison.final, comparison.final.null
            chance = " / ".join(format_count(estimate.value) for estimate in (null.kept, null.new, null.lost))
            twins = {name: final_of[name] for name in results.null_twins(variant) if name in final_of}
            controls = [chance, *(f"{name.rpartition('.')[2]} {_counts(twin)}" for name, twin in twins.items())]
            value: dict[str, object] = {"counts": final.counts, "null": null}
            value |= {"twins": {name: twin.counts for name, twin in twins.items()}} if twins else {}
            columns[_COUNTS] = Cell(f"{_counts(final)} ({'; '.join(controls)})", value)
            columns["new above null"] = count_cell(final.excess.new, sign=True)
            columns["faithfulness"] = faithfulness_cell(results, variant, variant, comparison.steps[-1])
    return columns


def _counts(emergence: Emergence) -> str:
    return f"{len(emergence.kept)} / {len(emergence.new)} / {len(emergence.lost)}"


def strongest_ablation(results: RunResults, variant: str) -> Cell | str | None:
    """Return ``emergent zero T1: −0.14 [−0.17, −0.11] (random −0.02, rank 1 of 21) ● supported``.

    Of several: the verdict that decides most, then the lowest p, then the largest effect. ``no heads to remove`` if
    every set asked about was empty; None if nothing was asked.
    """
    # Of the last checkpoint, as all of the row: a verdict on the base or an earlier step has another name.
    verdicts = [unit for unit in results.verdicts if edited_model(unit.labels) == variant]
    measured = with_result(verdicts)
    if not measured:
        return "no heads to remove" if verdicts else None
    unit, verdict = min(measured, key=lambda pair: decisiveness(pair[1]))
    return Cell(_phrase(unit, verdict), unit.labels | {"effect": verdict.effect, "p_value": verdict.p_value})


def decisiveness(verdict: AblationVerdict) -> tuple[int, float, float]:
    """Return a sort key: the verdict that decides most first, then the lowest p, then the largest effect."""
    p_value = 1.0 if math.isnan(verdict.p_value) else verdict.p_value
    return _STRENGTH.index(verdict.reading), p_value, -abs(verdict.effect.value)


def _phrase(unit: Finished[AblationVerdict], verdict: AblationVerdict) -> str:
    place = f"{unit.labels['heads']} {unit.labels['operator']} {unit.labels['task']}"
    effect = format_estimate(verdict.effect, sign=True)
    rank = f"rank {verdict.rank} of {verdict.controls + 1}"
    random = f"random {format_number(verdict.control_mean, sign=True)}, {rank}"
    return f"{place}: {effect} ({random}) {READINGS[verdict.reading]} {verdict.reading}"
