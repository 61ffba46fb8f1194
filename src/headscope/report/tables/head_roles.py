"""Roles of heads: which heads play which role in base or variant, and what became of it."""

from headscope.heads import HeadSet
from headscope.report.run_results import RunResults, with_result
from headscope.results.estimate import Estimate
from headscope.results.head_roles import (
    CHANGE_Q,
    LABEL_Q,
    LEAST_CHANGE,
    LEAST_RATIO,
    LEAST_SHARE,
    HeadRole,
    HeadRoles,
    RoleShares,
)
from headscope.results.not_run import NotRun
from headscope.results.numbers import format_number
from headscope.results.role_losses import RoleLosses
from headscope.results.table import Cell, Row, Table, estimate_cell

_OF_TESTED = ("heads in base", "after", "taken up", "given up", "needed")
_SUMMARY = ("role", "texts", "tokens", *_OF_TESTED)
_ORDER = ("gained", "moved", "lost", "unclear", "kept")
TOKEN_ROLE_OF_HEAD_ROLE = {"iteration": "iteration", "retrieval": "retrieval", "verification": "re-check"}
"""The role of tokens that are written while a head plays a role."""


def roles(results: RunResults) -> Table:
    """Return one row per variant, task and role: how many heads play it, and which took it up or gave it up."""
    rows: list[Row] = []
    for unit in results.in_order(HeadRoles):
        place: Row = {"variant": str(unit.labels["variant"]), "task": str(unit.labels["task"])}
        if isinstance(unit.result, NotRun):
            rows.append(place | dict.fromkeys(_SUMMARY) | {"role": f"not run: {unit.result.reason}"})
            continue
        losses = _role_losses(results, unit.result)
        rows += [place | _summary(unit.result, role, losses) for role in unit.result.roles]
    caption = (
        f"Heads that give at least {LEAST_SHARE:g} of their attention to what a role reads, in the rows of the "
        "variant's own answers that ask for it (retrieval: whose most attended token is what it reads in so many of "
        f"the rows); at least {LEAST_RATIO:g} times as much as, and surely more than, in each control: targets at "
        "other rows' distances, the same distances in other rows, and the same targets from rows that do not ask for "
        f"them. q ≤ {LABEL_Q:g} over the heads of a role. Taken up, given up: in one model alone, by a change of "
        f"{LEAST_CHANGE:g} or more, q ≤ {CHANGE_Q:g}. Needed: of the heads that play the role after training, those "
        "without which tokens of like role are less likely (losses by role; of running text only of what is "
        "checked). A dash: fewer than ten texts ask for the role or have a control; under needed: not measured."
    )
    return Table("roles", tuple(rows), caption)


def _summary(result: HeadRoles, role: str, losses: RoleLosses | None) -> Row:
    place = result.roles.index(role)
    taken_up, given_up = [], []
    for label in result.labels:
        if label.role == role and label.change in ("gained", "moved"):
            taken_up.append(f"{label.head} (from {label.origin})" if label.origin else str(label.head))
        elif label.role == role and label.change == "lost":
            given_up.append(str(label.head))
    columns: Row = {"role": role, "texts": int(result.texts[place]), "tokens": int(result.tokens[place])}
    if not result.post.tested[place]:
        return columns | dict.fromkeys(_OF_TESTED)
    return columns | {
        "heads in base": int(result.base.labelled[place].sum()),
        "after": int(result.post.labelled[place].sum()),
        "taken up": " ".join(taken_up) or "none",
        "given up": " ".join(given_up) or "none",
        "needed": None if losses is None else _needed_heads(result, role, losses),
    }


def _needed_heads(result: HeadRoles, role: str, losses: RoleLosses) -> str | None:
    """Return the heads that play a role after training and whose removal costs tokens of like role; None if unknown."""
    like = TOKEN_ROLE_OF_HEAD_ROLE.get(role, "")
    if like not in losses.roles:
        return None
    players = HeadSet.from_grid(result.post.labelled[result.roles.index(role)])
    removed = players & losses.heads
    needed = HeadSet.of(effect.head for effect in losses.effects(like) if effect.change.value > 0) & removed
    if players and not removed:
        return None
    of_some = "" if len(removed) == len(players) else f" (of {len(removed)} of {len(players)} that were removed)"
    return f"{needed if needed else 'none'}{of_some}"


def role_shares(results: RunResults, most: int | None = None) -> Table:
    """Return one row per variant, task, head and role; roles that changed come first.

    most: rows per variant and task; None for all.
    """
    rows: list[Row] = []
    for unit, result in with_result(results.in_order(HeadRoles)):
        place: Row = {"variant": str(unit.labels["variant"]), "task": str(unit.labels["task"])}
        losses = _role_losses(results, result)
        labels = sorted(result.labels, key=lambda label: _ORDER.index(label.change))
        rows += [place | _columns(result, label, losses) for label in labels[:most]]
    cut = (
        "" if most is None else f" Of each variant and task the first {most}; table_frame(run, 'role_shares') has all."
    )
    caption = (
        "Share of a head's attention that goes to what its role reads (retrieval: of tokens whose most attended "
        "token is it), mean over texts, one per problem, 95 % t intervals. Control: the largest one of either model. "
        "Unclear: in one model alone, without a clear change to its side. Loss without it: of the answer's tokens of "
        "like role (iteration, retrieval; of verification all that is checked again), nats per token, when the head "
        f"alone writes nothing; a head may read what nothing needs.{cut}"
    )
    return Table("role-shares", tuple(rows), caption)


def _role_losses(results: RunResults, roles: HeadRoles) -> RoleLosses | None:
    """Return the losses by role of the same variant and task; None if they were not measured."""
    for unit, result in with_result(results.in_order(RoleLosses, variant=roles.variant)):
        if unit.labels["task"] == roles.task and unit.labels.get("step") is None:
            return result
    return None


def _columns(result: HeadRoles, label: HeadRole, losses: RoleLosses | None) -> Row:
    place = (result.roles.index(label.role), *label.head)
    texts = int(result.texts[place[0]])
    change = Estimate(
        float(result.change[place]),
        float(result.change_low[place]),
        float(result.change_high[place]),
        texts,
        result.method,
    )
    control = float(max(result.base.control[place], result.post.control[place]))
    return {
        "head": str(label.head),
        "role": label.role,
        "training": f"moved from {label.origin}" if label.change == "moved" else label.change,
        "base": estimate_cell(_estimate(result.base, place, texts, result.method)),
        "after": estimate_cell(_estimate(result.post, place, texts, result.method)),
        "change": estimate_cell(change, sign=True),
        "control": Cell(format_number(control), control),
        "texts": texts,
        "loss without it": estimate_cell(None if losses is None else _loss(losses, label), sign=True),
    }


def _estimate(shares: RoleShares, place: tuple[int, ...], texts: int, method: str) -> Estimate:
    return Estimate(float(shares.share[place]), float(shares.low[place]), float(shares.high[place]), texts, method)


def _loss(losses: RoleLosses, label: HeadRole) -> Estimate | None:
    """Return the change of the loss of the tokens that the role writes when the head is removed; None if unknown."""
    role = TOKEN_ROLE_OF_HEAD_ROLE.get(label.role, "")
    if role not in losses.roles or label.head not in losses.heads:
        return None
    row, column = losses.heads.heads.index(label.head), losses.roles.index(role)
    value, low, high = (float(grid[row, column]) for grid in (losses.change, losses.low, losses.high))
    return Estimate(value, low, high, int(losses.texts[column]), losses.method)
