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
"""A head that gives its targets a smaller share of its attention plays no role, however sure that is."""
LEAST_RATIO = 2.0
"""A share that is less than so many times a control is no role: attention drifts along a text, so that a small excess
can be sure and mean nothing."""
LABEL_Q = 0.01
"""Expected share of false labels among those of a role in one model (Benjamini and Hochberg)."""
LEAST_CHANGE = LEAST_SHARE / 2
"""A smaller change of the share gains or loses no role."""
CHANGE_Q = 0.05
"""Expected share of false ones among the changes of a role (Benjamini and Hochberg)."""

RoleChange = Literal["kept", "unclear", "gained", "moved", "lost"]


@dataclass(frozen=True, eq=False)
class RoleShares:
    """Share of each head's attention that goes to a role's targets, in one model.

    share, low, high: mean over texts with its t interval; of retrieval the share of tokens whose most attended token is
        a target.
    control: the largest control: as large a part of ``share`` as it is of the share that it was compared with
        (``measures.attention_shares``).
    q_value: of the share above each of its controls, one-sided, adjusted over the heads of a role; NaN if not tested.
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

    @property
    def tested(self) -> Bool[np.ndarray, "role"]:
        """Return which roles enough texts ask for to be tested."""
        return np.asarray(~np.isnan(self.q_value).all(axis=(1, 2)))


@dataclass(frozen=True, slots=True)
class HeadRole:
    """A role that a head plays in one of the two models.

    change: *kept* if it plays it in both; *gained* if in the trained one alone, and surely more; *lost* if in the base
        alone, and surely more there; *moved* if gained, and a head like it within a layer lost it; *unclear* if in one
        alone, without a clear change to its side.
    origin: of a moved role, the head that lost it.
    """

    head: HeadId
    role: str
    change: RoleChange
    origin: HeadId | None = None


@dataclass(frozen=True, eq=False)
class HeadRoles(JsonResult):
    """Attention of every head to the targets of each role, in base and final checkpoint on the same answers.

    The answers are the final checkpoint's: the base reads what it might not have written. A role says where a head
    looks, and not whether the answer needs it, which ablation tells.

    variant, step: of the final checkpoint. task: whose problems were answered. reader: whether steps are lab statements
        or running text.
    roles: names of the roles that some text asks for.
    texts: number of texts that ask for each role.
    tokens: number of rows with a target, over all texts.
    base, post: shares of attention in the two models.
    change, change_low, change_high, change_q: share in post less that in base, mean over texts with its t interval, and
        its q, two-sided, adjusted over the heads of a role.
    labels: roles that heads play in either model, by role and head.
    answers: number of texts, at most one per problem.
    cut: number of longer texts of which only the beginning was read.
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
        """Return the share of attention after training, of the heads that play a role in either model."""
        layers, heads = np.nonzero((self.base.labelled | self.post.labelled).any(axis=0))
        names = [str(HeadId(layer, head)) for layer, head in zip(layers.tolist(), heads.tolist(), strict=True)]
        title = f"Where heads look, {self.variant} at step {self.step}, {self.answers} answers to {self.task}"
        shares = self.post.share[:, layers, heads].T
        return plots.grid(title, shares, "share of attention", (names, self.roles), ("head", "role"))
