"""Accuracy of recipes: what their runs on several seeds have in common, and how far they lie apart."""

from collections import Counter
from collections.abc import Sequence

from headscope.report.run_results import RunResults, last_steps
from headscope.report.tables.traces import MOST_FREQUENT, share_of, total_split
from headscope.results.measures import Measures
from headscope.results.numbers import format_number
from headscope.results.table import Cell, Row, Table, Value
from headscope.results.traces import TraceSummary
from headscope.runs.records import Finished

Evaluations = Sequence[Finished[Measures]]


def seeds(results: RunResults) -> Table:
    """Return one row per task and recipe, null twins and the base too; no rows if every recipe has one run."""
    by_recipe: dict[tuple[str, str], list[Finished[Measures]]] = {}
    for unit in results.last_evaluations:
        recipe = results.marks[unit.labels["variant"]].name
        by_recipe.setdefault((unit.labels["task"], recipe), []).append(unit)
    masked = last_steps(results.masked_evaluations)
    markers = tuple(dict.fromkeys(str(unit.labels["forbid"]) for unit in masked))
    rows = []
    for task in results.tasks:
        for (of_task, recipe), units in by_recipe.items():
            if of_task == task:
                rows.append(_columns(results, recipe, units, masked, markers))
    caption = (
        "Runs of one recipe, which differ in the seed alone, at their last evaluated step: the mean over seeds, and "
        "in brackets the smallest and the largest. The range of few seeds is no interval; each seed's own stands in "
        "the table of accuracy. Lost: wrong although the right answer was stated before. Right with and without a "
        "re-check, and what fails most: answers of all seeds together."
    )
    has_several = any(len(units) > 1 for units in by_recipe.values())
    return Table("seeds", tuple(rows) if has_several else (), caption)


def _columns(
    results: RunResults, recipe: str, units: Evaluations, masked: Evaluations, markers: tuple[str, ...]
) -> Row:
    first = units[0]
    row: Row = {"task": first.labels["task"], "model": recipe, "seeds": len(units)}
    row |= {
        "problems × samples": first.whole.size,
        "pass@1": _spread([unit.whole.pass_at_k[1].value for unit in units], len(units)),
    }
    variants = {unit.labels["variant"] for unit in units}
    for marker in markers:
        without = [
            unit.whole.pass_at_k[1].value
            for unit in masked
            if unit.labels["variant"] in variants
            and unit.labels["task"] == first.labels["task"]
            and unit.labels["forbid"] == marker
        ]
        row[f'without "{marker}"'] = _spread(without, len(units))
    read = [summary for unit in units if (summary := results.trace_summary(unit.labels)) is not None]
    return row | _trace_columns(read, len(units))


def _trace_columns(read: Sequence[TraceSummary], runs: int) -> Row:
    if not read:
        return dict.fromkeys(("lost", "right with re-check", "without", "failures"))
    having, lacking = total_split([split for summary in read for split in summary.rechecks])
    failures: Counter[str] = Counter()
    for summary in read:
        failures.update(summary.failures)
    most = ", ".join(f"{kind} {count}" for kind, count in failures.most_common(MOST_FREQUENT))
    return {
        "lost": _spread([summary.lost.value for summary in read], runs),
        "right with re-check": share_of(*having),
        "without": share_of(*lacking),
        "failures": Cell(most or "none", dict(failures)),
    }


def _spread(values: Sequence[float], runs: int) -> Value:
    """Return the cell of a mean over ``runs``, with the range, and of how many if not of all; None for none."""
    if not values:
        return None
    mean, low, high = sum(values) / len(values), min(values), max(values)
    spread = f" ({format_number(low, 2)}–{format_number(high, 2)})" if len(values) > 1 else ""
    of_some = "" if len(values) == runs else f", {len(values)} of {runs}"
    return Cell(f"{format_number(mean, 2)}{spread}{of_some}", {"mean": mean, "smallest": low, "largest": high})
