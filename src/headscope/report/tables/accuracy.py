"""Accuracy: how well each model answers each task, and how its answers end."""

from collections.abc import Sequence

from headscope.report.palette import ANSWERS
from headscope.report.run_results import RunResults, model_name
from headscope.results.estimate import Estimate
from headscope.results.measures import Measures
from headscope.results.numbers import format_estimate, format_number, state_p
from headscope.results.table import Cell, Row, Table, estimate_cell, interval_columns, percent_cell
from headscope.results.traces import TraceSummary
from headscope.runs.records import Finished

Evaluations = Sequence[Finished[Measures]]


def accuracy(results: RunResults) -> Table:
    """Return pass@1 and its change, the largest pass@k, majority@k, rates and length, per task, model and step.

    Answers in which markers were masked have a row of their own after their model's.
    """
    units = [*results.evaluations, *results.masked_evaluations]
    models = list(dict.fromkeys(unit.labels["variant"] for unit in units))
    # Stable sorts: of one model and task the steps come first, then what was masked.
    units.sort(key=lambda unit: models.index(unit.labels["variant"]))
    units.sort(key=lambda unit: results.tasks.index(unit.labels["task"]))
    rows = []
    for unit in units:
        row = _place(unit) | _accuracy_columns(unit.whole, results.trace_summary(unit.labels))
        rows.append(row | _masked_columns(unit) if results.masked_evaluations else row)
    caption = (
        "Accuracy at every evaluated step, with 95 % intervals over problems. Δ: pass@1 against the base, paired by "
        "problem; flips: problems whose first answer became right and wrong, p of the exact McNemar test. Unfinished "
        "and unparsed answers count as wrong. Lost: wrong although the right answer was stated before; loop: the "
        "answer repeats itself; slip: a step does not follow and nothing puts it right; efficiency: of right answers, "
        "the share of tokens up to the first right statement. Tokens: mean length of an answer."
    )
    if results.masked_evaluations:
        caption += (
            ' Without "…": the same problems and seeds, and the model can never write it; Δ by masking, Δ tokens and '
            "flips are against the model's own answers above."
        )
    return Table("accuracy", tuple(rows), caption)


def _place(unit: Finished[Measures]) -> Row:
    return {"task": unit.labels["task"], "model": model_name(unit.labels), "step": unit.labels["step"]}


def _masked_columns(unit: Finished[Measures]) -> Row:
    """Return the changes by masking a marker, and no change against the base if that is what was measured."""
    measures = unit.whole
    if unit.labels.get("forbid") is None:
        return {"Δ by masking": None, "Δ tokens": None}
    change = estimate_cell(measures.change, sign=True)
    tokens = estimate_cell(measures.tokens_change, 0, sign=True)
    return {"Δ against base": None, "Δ by masking": change, "Δ tokens": tokens}


def _accuracy_columns(measures: Measures, traces: TraceSummary | None) -> Row:
    k = measures.largest_k
    largest, majority = measures.pass_at_k[k], (measures.majority_at_k or {}).get(k)
    tokens = measures.mean_tokens
    return (
        {
            "problems × samples": measures.size,
            "pass@1": estimate_cell(measures.pass_at_k[1]),
            "Δ against base": estimate_cell(measures.change, sign=True),
            "flips": _flips(measures),
            "pass@largest k": Cell(f"{format_estimate(largest)} (k = {k})", {"k": k, "estimate": largest}),
            "majority@k": estimate_cell(majority),
            "unfinished": percent_cell(measures.rates["unfinished"]),
            "unparsed": percent_cell(measures.rates["unparsed"]),
        }
        | _trace_columns(traces)
        | {"tokens": Cell(format_number(tokens.value, 0), tokens)}
    )


def _trace_columns(traces: TraceSummary | None) -> Row:
    """Return the rates that reading the answers gives; dashes for answers that were not read."""
    if traces is None:
        return dict.fromkeys(("lost", "loop", "slip", "efficiency"))
    efficiency = traces.efficiency
    return {
        "lost": _percent(traces.lost),
        "loop": _percent(traces.loop),
        "slip": _percent(traces.slip),
        "efficiency": None if efficiency is None else _percent(efficiency),
    }


def _percent(share: Estimate) -> Cell:
    return Cell(f"{share.value:.1%}", share)


def _flips(measures: Measures) -> Cell | None:
    flips = measures.flips
    if flips is None:
        return None
    return Cell(f"+{flips.gained} −{flips.lost} ({state_p(flips.p_value)})", flips)


def _size_columns(measures: Measures) -> Row:
    return {"problems": measures.problems, "samples": measures.samples}


def pass_at_k_data(evaluations: Evaluations) -> Table:
    """Return the data of the pass@k figure."""
    rows: list[Row] = []
    for unit in evaluations:
        measures = unit.whole
        for k, estimate in measures.pass_at_k.items():
            success = measures.success_at_k.get(k)
            row = _place(unit) | {"k": k} | interval_columns("pass@k", estimate)
            row |= {"success@k": None if success is None else success.value}
            rows.append(row | _size_columns(measures) | {"interval": estimate.method})
    return Table("pass-at-k", tuple(rows), "One row per task, model and k; last evaluated step.")


def pass_over_steps_data(evaluations: Evaluations) -> Table:
    """Return the data of the figure of pass@1 over training."""
    rows: list[Row] = []
    for unit in evaluations:
        score = interval_columns("pass@1", unit.whole.pass_at_k[1])
        rows.append(_place(unit) | score | _size_columns(unit.whole))
    return Table("pass-over-steps", tuple(rows), "One row per task, model and evaluated step.")


def answers_data(evaluations: Evaluations) -> Table:
    """Return the data of the figure of how answers end."""
    rows: list[Row] = []
    for unit in evaluations:
        shares: Row = {verdict: unit.whole.rates.get(verdict, 0.0) for verdict in ANSWERS}
        length = interval_columns("mean tokens", unit.whole.mean_tokens)
        rows.append(_place(unit) | shares | length | _size_columns(unit.whole))
    return Table("answers", tuple(rows), "One row per task and model; last evaluated step.")
