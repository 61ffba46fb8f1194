"""Losses by role: the change of the loss of each kind of token when a single head is removed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float, Int

from headscope.heads import HeadId, HeadSet
from headscope.results import plots
from headscope.results.estimate import Estimate
from headscope.results.result import JsonResult
from headscope.results.traces import Reader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_CHANGE = 0.05
"""Nats per token: a smaller change, a twentieth of a token's probability, is not called one, however sure it is."""


@dataclass(frozen=True, slots=True)
class RoleEffect:
    """One head and one role. change: nats per token of the role. q_value: over all heads and roles."""

    head: HeadId
    role: str
    change: Estimate
    q_value: float


@dataclass(frozen=True, eq=False)
class RoleLosses(JsonResult):
    """Change of the teacher-forced loss when one head at a time writes nothing, by the role of the tokens.

    task: whose correct answers were forced, one per problem. reader: whether roles are those of lab statements
        (``lab.token_roles``) or of running text (``traces.token_roles``).
    heads: removed one at a time. heads_are: in words, which of the model's heads these are.
    roles: those that occur, in a fixed order. tokens: of each role, over all texts. texts: with a token of the role.
    whole: loss of the whole model, nats per token of the role, mean over texts.
    change, low, high: loss without the head − loss with it, nats per token of the role, mean over the texts that have
        the role with its t interval; above 0, the role needs the head.
    q_value: of the change, two-sided, adjusted over all heads and roles (Benjamini and Hochberg); NaN for a role of
        fewer than 10 texts, which is not tested.
    answers: texts forced. problems: asked.
    """

    kind: ClassVar[str] = "role_losses"
    file: ClassVar[str] = "role_losses.json"
    rows: ClassVar[str] = "head role"

    task: str
    reader: Reader
    heads: HeadSet
    heads_are: str
    roles: tuple[str, ...]
    tokens: Int[np.ndarray, "role"]
    texts: Int[np.ndarray, "role"]
    whole: Float[np.ndarray, "role"]
    change: Float[np.ndarray, "head role"]
    low: Float[np.ndarray, "head role"]
    high: Float[np.ndarray, "head role"]
    q_value: Float[np.ndarray, "head role"]
    answers: int
    problems: int
    method: str

    def effects(self, role: str, q: float = 0.05, least: float = LEAST_CHANGE) -> tuple[RoleEffect, ...]:
        """Return the heads that a role's loss depends on, the largest change first.

        q: largest expected share of false ones among such heads of all roles. least: smallest change, nats per token.
        """
        column = self.roles.index(role)
        effects = []
        for row in np.flatnonzero((self.q_value[:, column] <= q) & (abs(self.change[:, column]) >= least)):
            change = Estimate(
                float(self.change[row, column]),
                float(self.low[row, column]),
                float(self.high[row, column]),
                int(self.texts[column]),
                self.method,
            )
            effects.append(RoleEffect(self.heads.heads[row], role, change, float(self.q_value[row, column])))
        return tuple(sorted(effects, key=lambda effect: -abs(effect.change.value)))

    def plot(self) -> "Figure":
        """Return the change of the loss by head and role."""
        title = f"Loss without each head by role on {self.task}, {self.answers} answers"
        ticks = (self.heads.names(), self.roles)
        return plots.grid(title, self.change, "nats per token", ticks, ("head", "role"))
