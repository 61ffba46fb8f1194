"""Coverage: how much of a run's plan is done."""

from headscope.results.table import Row, Table
from headscope.runs.coverage import Coverage


def coverage(coverage: Coverage) -> Table:
    """Return done, failed and missing units by kind."""
    rows: list[Row] = []
    for units in coverage.kinds:
        row: Row = {
            "unit": units.kind,
            "planned": units.planned,
            "done": units.done,
            "failed": units.failed,
            "missing": units.missing,
        }
        rows.append(row)
    return Table("coverage", tuple(rows), f"Coverage of the study: {coverage}.")
