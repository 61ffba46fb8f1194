"""Interventions on single heads and on sets that hold them: verdicts, evidence, kinds of failure, losses by role."""

from collections.abc import Iterable, Mapping

import numpy as np

from headscope.heads import HeadSet
from headscope.plain_text import plain_text
from headscope.report.heads.numbers import packed_numbers
from headscope.report.run_results import RunResults, edited_model, with_result
from headscope.report.tables.evidence import evidence
from headscope.report.tables.failures import kind_rows
from headscope.report.tables.verdicts import verdicts
from headscope.results.codec import Json
from headscope.results.failures import FailureChanges
from headscope.results.head_roles import HeadRole, HeadRoles
from headscope.results.not_run import NotRun
from headscope.results.role_losses import RoleLosses
from headscope.results.table import Row, display_text
from headscope.runs.records import Finished

Unit = Finished[Json]


class HeadSets:
    """The head sets of a run, each named once by its place; a table's row names the set it is about."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._places: dict[HeadSet, int] = {}

    def place(self, heads: HeadSet) -> int:
        """Return the set's place."""
        return self._places.setdefault(heads, len(self._places))

    def packed(self) -> list[Json]:
        """Return each set as its heads, numbered row by row through the grid."""
        return [[head.layer * self._width + head.head for head in heads] for heads in self._places]

    def table(self, name: str, caption: str, rows: Iterable[tuple[Unit, HeadSet, Row]]) -> dict[str, Json]:
        """Return a table as JSON: its columns, and of each row the variant, the set and the texts of its cells."""
        columns: list[str] = []
        packed = []
        for unit, heads, row in rows:
            columns = list(row)
            cells = [plain_text(display_text(value)) for value in row.values()]
            variant = plain_text(str(unit.labels["variant"]))
            packed.append({"variant": variant, "set": self.place(heads), "cells": cells})
        return {"name": name, "caption": caption, "columns": columns, "rows": packed}


def set_tables(results: RunResults, sets: HeadSets) -> list[dict[str, Json]]:
    """Return the tables on head sets, those without rows left out."""
    verdict_table, evidence_table = verdicts(results), evidence(results)
    tables = [
        sets.table("head-verdicts", verdict_table.caption, _rows_of_units(results.verdicts, verdict_table.rows)),
        sets.table("head-evidence", evidence_table.caption, _rows_of_units(results.evidence, evidence_table.rows)),
    ]
    return [table for table in tables if table["rows"]]


def _rows_of_units(units: Iterable[Unit], rows: Iterable[Mapping[str, Json]]) -> Iterable[tuple[Unit, HeadSet, Row]]:
    """Yield the rows of units that have a result, with its head set; the tables have a row for every unit."""
    for unit, row in zip(units, rows, strict=True):
        if not isinstance(unit.result, NotRun):
            yield unit, unit.result.heads, dict(row)


def failure_table(results: RunResults, sets: HeadSets) -> dict[str, Json] | None:
    """Return the kinds of failure that removing a set raises, lowers or leaves; None if none were read."""
    rows = []
    for unit, result in with_result(results.in_order(FailureChanges)):
        rows += [(unit, result.heads, row) for row in kind_rows(unit, result)]
    caption = (
        "Shares of all answers, with minus without the intervention, 95 % intervals over problems; reading: raised or "
        "lowered beyond random sets, by rules fixed beforehand (page Ablation)."
    )
    return sets.table("head-failures", caption, rows) if rows else None


def role_grids(results: RunResults, width: int) -> list[dict[str, Json]]:
    """Return the losses by role of every unit: per head and role the change, its interval and its q."""
    grids: list[dict[str, Json]] = []
    for unit, result in with_result(results.in_order(RoleLosses)):
        roles = [{"name": role, "texts": int(result.texts[place])} for place, role in enumerate(result.roles)]
        columns = (result.change, result.low, result.high, result.q_value)
        grid: dict[str, Json] = {
            "variant": plain_text(str(unit.labels["variant"])),
            "model": plain_text(edited_model(unit.labels)),
            "task": plain_text(result.task),
            "roles": roles,
            "heads": [head.layer * width + head.head for head in result.heads],
            "columns": [packed_numbers(column.ravel()) for column in columns],
            "named": _named_roles(result),
            "heads_are": result.heads_are,
        }
        grids.append(grid)
    return grids


def played_roles(results: RunResults, width: int) -> dict[str, Json]:
    """Return by variant the roles that were tested, and those that heads play in base or variant, with their shares."""
    of_variants: dict[str, Json] = {}
    for unit, result in with_result(results.in_order(HeadRoles)):
        of_variant = of_variants.setdefault(plain_text(str(unit.labels["variant"])), {"tested": [], "played": []})
        for place, role in enumerate(result.roles):
            if result.post.tested[place]:
                of_variant["tested"].append(role)
        task = plain_text(str(unit.labels["task"]))
        of_variant["played"] += [_played_role(result, label, task, width) for label in result.labels]
    return of_variants


def _played_role(result: HeadRoles, label: HeadRole, task: str, width: int) -> dict[str, Json]:
    """Return a role of a head: in words what became of it, and its shares in base and variant and their change."""
    place = (result.roles.index(label.role), *label.head)
    plays_after = bool(result.post.labelled[place])
    words: str = label.change
    if label.origin is not None:
        words = f"moved from {label.origin}"
    elif label.change == "unclear":
        words = "in the variant alone, no clear change" if plays_after else "in the base alone, no clear change"
    intervals = {
        "base": (result.base.share, result.base.low, result.base.high),
        "post": (result.post.share, result.post.low, result.post.high),
        "change_in_share": (result.change, result.change_low, result.change_high),
    }
    return {
        "task": task,
        "head": label.head.layer * width + label.head.head,
        "role": label.role,
        "words": words,
        "after": plays_after,
        "texts": int(result.texts[place[0]]),
        "clear": label.change in ("gained", "moved", "lost"),
        "q": packed_numbers(result.change_q[place].ravel())[0],
        **{name: packed_numbers(np.array([grid[place] for grid in grids])) for name, grids in intervals.items()},
    }


def _named_roles(result: RoleLosses) -> list[int]:
    """Return which cells, row by row through heads and roles, are heads that a role needs or is better without."""
    named = []
    for column, role in enumerate(result.roles):
        heads = {effect.head for effect in result.effects(role)}
        named += [row * len(result.roles) + column for row, head in enumerate(result.heads) if head in heads]
    return named
