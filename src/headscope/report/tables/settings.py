"""Settings: what the numbers were made with."""

from collections.abc import Iterator

from headscope.report.run_results import RunResults, label_columns
from headscope.results.codec import Json
from headscope.results.numbers import UNKNOWN
from headscope.results.table import Cell, Row, Table, pairs_cell


def settings(results: RunResults) -> Table:
    """Return every setting of the resolved study."""
    rows = tuple(_setting_rows(results.study))
    return Table("settings", rows, "The resolved study: every setting, defaults included.")


def provenance(results: RunResults) -> Table:
    """Return versions, commit and machine."""
    rows = tuple(_setting_rows(results.provenance))
    return Table("provenance", rows, "Versions, commit and machine of the run.")


def pairs(results: RunResults) -> Table:
    """Return how many pairs each set has, and why candidates were dropped."""
    rows: list[Row] = []
    for unit in results.pairs:
        dropped = unit.whole.dropped
        reasons = ", ".join(f"{count} × {reason}" for reason, count in dropped.items()) or "none"
        place = label_columns(unit, "variant", "pairs")
        row: Row = {
            "variant": place["variant"],
            "set": place["pairs"],
            "pairs": pairs_cell(unit.whole.problem_groups.size),
        }
        rows.append(row | {"dropped": Cell(reasons, dropped)})
    return Table("pairs", tuple(rows), "Pairs used, and candidates dropped with the reason.")


def _setting_rows(value: Json, path: str = "") -> Iterator[Row]:
    """Yield nested settings by their dotted paths; an empty list or text is "none"."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _setting_rows(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for index, inner in enumerate(value):
            yield from _setting_rows(inner, f"{path}[{index}]")
    else:
        yield {"setting": path, "value": Cell(_setting_text(value), value)}


def _setting_text(value: Json) -> str:
    """Return a setting as the study file would have it, lists without brackets."""
    if isinstance(value, list) and value:
        return ", ".join(map(_setting_text, value))
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value or value == 0 else "none"
