"""Coverage: how much of a run's plan is done."""

from headscope.results.table import Row, Table
from headscope.runs.coverage import Coverage


def coverage(coverage: Coverage) -> Table:
    """Return done, failed and missing units by kind, and damaged and running ones if there are any."""
    rows: list[Row] = []
    shows_damaged = bool(coverage.damages)
    for units in coverage.kinds:
        row: Row = {
            "unit": units.kind,
            "planned": units.planned,
            "done": units.done,
        }
        if shows_damaged:
            row["damaged"] = len(units.damages)
        if coverage.running:
            row["running"] = len(units.running)
        rows.append(row | {"failed": len(units.failures), "missing": units.missing})
    return Table("coverage", tuple(rows), f"Coverage of the study: {coverage}.")
