"""Losses by role: which single heads each kind of token needs."""

from headscope.heads import HeadId
from headscope.report.run_results import RunResults, ablation_columns, with_result
from headscope.results.not_run import NotRun
from headscope.results.numbers import format_estimate
from headscope.results.role_losses import LEAST_CHANGE, RoleEffect, RoleLosses
from headscope.results.table import Cell, Row, Table
from headscope.runs.records import Finished

_SHOWN = 3
"""Heads of each role that are named."""
_COLUMNS = ("role", "texts", "tokens", "loss", "heads that matter", "most", "heads removed")


def role_losses(results: RunResults) -> Table:
    """Return one row per variant, task and role, with the heads whose removal changes its loss most."""
    rows: list[Row] = []
    for unit in results.in_order(RoleLosses):
        place = ablation_columns(unit, "variant", "task")
        if isinstance(unit.result, NotRun):
            rows.append(place | dict.fromkeys(_COLUMNS) | {"most": f"not run: {unit.result.reason}"})
            continue
        for role in unit.result.roles:
            rows.append(place | _columns(unit.result, role))
    caption = (
        "Change of the loss on the model's own correct answers when one head writes nothing, nats per token of the "
        "role, positive if the role needs the head; 95 % t intervals over texts, one per problem. Heads that matter: "
        f"q ≤ 0.05 over all heads and roles (Benjamini-Hochberg) and a change of at least {LEAST_CHANGE:g}; the three "
        "largest are named."
    )
    return Table("role-losses", tuple(rows), caption)


def _columns(result: RoleLosses, role: str) -> Row:
    column, effects = result.roles.index(role), result.effects(role)
    return {
        "role": role,
        "texts": int(result.texts[column]),
        "tokens": int(result.tokens[column]),
        "loss": float(result.whole[column]),
        "heads that matter": len(effects),
        "most": Cell("; ".join(map(_words, effects[:_SHOWN])) or "none", effects),
        "heads removed": result.heads_are,
    }


def _words(effect: RoleEffect) -> str:
    return f"{effect.head} {format_estimate(effect.change, sign=True)}"


def role_losses_data(units: list[Finished[RoleLosses]]) -> Table:
    """Return the data of the figure: one row per head and role."""
    rows: list[Row] = []
    for unit, result in with_result(units):
        for row, head in enumerate(result.heads):
            for column, role in enumerate(result.roles):
                cell: Row = {
                    "head": str(HeadId(*head)),
                    "role": role,
                    "change": float(result.change[row, column]),
                    "low": float(result.low[row, column]),
                    "high": float(result.high[row, column]),
                    "q": float(result.q_value[row, column]),
                }
                rows.append(ablation_columns(unit, "variant", "task") | cell)
    return Table("role-map", tuple(rows), "One row per head and role.")
