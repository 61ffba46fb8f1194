"""Roles of heads: what each head reads while a model answers, before and after training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.heads import HeadId
from headscope.results import plots
from headscope.results.result import JsonResult
from headscope.results.traces import Reader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_SHARE = 0.1
"""Of the attention: a head that gives its targets less plays no role by it, however sure that is."""
LEAST_RATIO = 2.0
"""Of the share to its control: attention drifts along a text, so that a smaller excess is sure without meaning much."""
LABEL_Q = 0.01
"""Expected share of false labels among all labels of a model (Benjamini and Hochberg)."""

RoleChange = Literal["kept", "gained", "moved", "lost"]


@dataclass(frozen=True, eq=False)
class RoleShares:
    """How much of each head's attention goes to a role's targets, in one model.

    share, low, high: mean over texts with its t interval.
    control: what it would be if the tokens did not matter: the larger of two controls (``measures.attention_shares``).
    q_value: of the share above both controls, one-sided, adjusted over all heads and roles.
    """

    share: Float[np.ndarray, "role layer head"]
    low: Float[np.ndarray, "role layer head"]
    high: Float[np.ndarray, "role layer head"]
    control: Float[np.ndarray, "role layer head"]
    q_value: Float[np.ndarray, "role layer head"]

    @property
    def labelled(self) -> Bool[np.ndarray, "role layer head"]:
        """Return which heads play which role."""
        is_much = (self.share >= LEAST_SHARE) & (self.share >= LEAST_RATIO * self.control)
        return is_much & (self.q_value <= LABEL_Q)


@dataclass(frozen=True, slots=True)
class HeadRole:
    """A role that a head plays in one of the two models.

    change: *kept* if it plays it in both, or about as much in the one as in the other; *gained* if only after training;
        *moved* if a head within a layer lost it; *lost* if only before.
    origin: of a moved role, the head that lost it.
    """

    head: HeadId
    role: str
    change: RoleChange
    origin: HeadId | None = None


@dataclass(frozen=True, eq=False)
class HeadRoles(JsonResult):
    """Attention of every head to the targets of each role, in base and final checkpoint on the same answers.

    The answers are the final checkpoint's, so that the base reads what it would not always write. A role says where a
    head looks; whether the answer needs it, ablation says.

    variant, step: of the final checkpoint. task: whose problems were answered. reader: whether steps are lab statements
        or running text.
    roles: those that some text asks for. texts: that ask for each one. tokens: from which targets are read.
    base, post: shares of attention in the two models.
    change, change_low, change_high, change_q: post − base, mean over texts with its t interval, and q, two-sided.
    labels: roles that heads play in either model, by role and head.
    answers: texts read, at most one per problem. cut: of them, longer texts of which only the beginning was read.
    """

    kind: ClassVar[str] = "head_roles"
    file: ClassVar[str] = "head_roles.json"
    rows: ClassVar[str] = "role layer head"

    variant: str
    step: int
    task: str
    reader: Reader
    roles: tuple[str, ...]
    texts: Int[np.ndarray, "role"]
    tokens: Int[np.ndarray, "role"]
    base: RoleShares
    post: RoleShares
    change: Float[np.ndarray, "role layer head"]
    change_low: Float[np.ndarray, "role layer head"]
    change_high: Float[np.ndarray, "role layer head"]
    change_q: Float[np.ndarray, "role layer head"]
    labels: tuple[HeadRole, ...]
    answers: int
    cut: int
    method: str

    def of(self, head: HeadId) -> tuple[HeadRole, ...]:
        """Return the roles of a head in either model."""
        return tuple(label for label in self.labels if label.head == head)

    def plot(self) -> "Figure":
        """Return the share of attention after training, by head and role."""
        count, layers, heads = self.post.share.shape
        names = [str(HeadId(*place)) for place in np.ndindex(layers, heads)]
        title = f"Where heads look, {self.variant} at step {self.step}, {self.answers} answers to {self.task}"
        return plots.grid(
            title, self.post.share.reshape(count, -1).T, "share of attention", (names, self.roles), ("head", "role")
        )
