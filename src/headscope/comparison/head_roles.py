"""Which heads play which role, from shares of attention: arithmetic on one number per head, role and text.

1. A text's share is the mean over its rows with a target, so that long and short answers have the same weight.
2. A head plays a role if its share is at least 0.1 and twice the larger control, and surely above both controls: the
   larger of two one-sided p-values of Student's t over texts, adjusted over all heads and roles (Benjamini and
   Hochberg, 1 %). Roles that fewer than ten texts ask for are not tested.
3. A role is *gained* or *lost* if the head plays it in one model alone and the share changed by at least half of 0.1
   (paired t, q ≤ 0.05): a share that passes the bound by a hair has not become another role.
4. A gained role has *moved* if a head within a layer lost it. Heads are matched one to one, so that the shares over all
   roles, of the one before and of the other after training, are as alike as possible (Hungarian method, cosine).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.head_contrasts import t_interval
from headscope.heads import HeadId
from headscope.measures.intervals import LEVEL
from headscope.measures.multiplicity import q_values
from headscope.results.head_roles import LEAST_SHARE, HeadRole, RoleChange, RoleShares

METHOD = f"problem t {LEVEL:.0%}"
CHANGE_Q = 0.05
"""Expected share of false ones among the changes of shares."""
LEAST_CHANGE = LEAST_SHARE / 2
"""Of the attention: a smaller change gains or loses no role."""
_NEAR = 1
"""Layers between two heads of which one may have taken over the other's role."""


@dataclass(frozen=True, eq=False)
class TextShares:
    """Attention of one model's heads to the targets of each role, text by text; NaN for a role a text does not ask for.

    share: to the targets. over_moved, over_elsewhere: the same less that of each control; NaN where it has none.
    """

    share: Float[np.ndarray, "text role layer head"]
    over_moved: Float[np.ndarray, "text role layer head"]
    over_elsewhere: Float[np.ndarray, "text role layer head"]


@dataclass(frozen=True, eq=False)
class ShareChanges:
    """Share after training less that before: mean over texts, t interval, q over all heads and roles, two-sided."""

    value: Float[np.ndarray, "role layer head"]
    low: Float[np.ndarray, "role layer head"]
    high: Float[np.ndarray, "role layer head"]
    q_value: Float[np.ndarray, "role layer head"]


def role_shares(texts: TextShares) -> RoleShares:
    """Return the mean shares of a model and how sure it is that they exceed their controls."""
    mean, low, high, _ = _over_texts(texts.share)
    p_values, excesses = [], []
    for excess in (texts.over_moved, texts.over_elsewhere):
        value, _, _, p_value = _over_texts(excess)
        p_values.append(np.where(value > 0, p_value / 2, 1 - p_value / 2))
        excesses.append(value)
    # fmax and fmin pass over a control that a role does not have.
    control = mean - np.fmin(*excesses)
    return RoleShares(mean, low, high, control, q_values(np.fmax(*p_values)))


def share_changes(base: TextShares, post: TextShares) -> ShareChanges:
    """Return the change of every share, the two models paired text by text."""
    value, low, high, p_value = _over_texts(post.share - base.share)
    return ShareChanges(value, low, high, q_values(p_value))


def label_roles(
    roles: Sequence[str], base: RoleShares, post: RoleShares, changes: ShareChanges
) -> tuple[HeadRole, ...]:
    """Return the roles of heads in either model, and what became of them."""
    labels = []
    for place, role in enumerate(roles):
        before, after = base.labelled[place], post.labelled[place]
        is_changed, change_of = changes.q_value[place] <= CHANGE_Q, changes.value[place]
        gained = after & ~before & is_changed & (change_of >= LEAST_CHANGE)
        lost = before & ~after & is_changed & (change_of <= -LEAST_CHANGE)
        origins = _match(lost, gained, base.share, post.share)
        for layer, index in np.argwhere(before | after).tolist():
            head = HeadId(layer, index)
            change: RoleChange = "kept"
            if gained[head]:
                change = "moved" if head in origins else "gained"
            elif lost[head]:
                change = "lost"
            labels.append(HeadRole(head, role, change, origins.get(head)))
    return tuple(labels)


def _match(
    lost: "Bool[np.ndarray, 'layer head']",
    gained: "Bool[np.ndarray, 'layer head']",
    base: "Float[np.ndarray, 'role layer head']",
    post: "Float[np.ndarray, 'role layer head']",
) -> dict[HeadId, HeadId]:
    """Return which head each gained role came from; those without a counterpart are left out."""
    from scipy.optimize import linear_sum_assignment

    before, after = np.argwhere(lost), np.argwhere(gained)
    if not len(before) or not len(after):
        return {}
    signatures = _directions(base, before), _directions(post, after)
    likeness = 1 + signatures[0] @ signatures[1].T  # above 0, so that a match is better than none
    is_near = np.abs(before[:, None, 0] - after[None, :, 0]) <= _NEAR
    rows, columns = linear_sum_assignment(np.where(is_near, likeness, 0.0), maximize=True)
    origins = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if is_near[row, column]:
            origins[HeadId(*after[column].tolist())] = HeadId(*before[row].tolist())
    return origins


def _directions(
    shares: "Float[np.ndarray, 'role layer head']", heads: "Int[np.ndarray, 'place 2']"
) -> "Float[np.ndarray, 'place role']":
    """Return the shares of each head over all roles, as vectors of length 1."""
    vectors = np.nan_to_num(shares[:, heads[:, 0], heads[:, 1]].T)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def _over_texts(
    values: "Float[np.ndarray, 'text role layer head']",
) -> tuple["Float[np.ndarray, 'role layer head']", ...]:
    """Return mean, both ends of its t interval and p-value over the texts that ask for a role."""
    mean, low, high, p_value = (np.full(values.shape[1:], np.nan) for _ in range(4))
    for role in range(values.shape[1]):
        asked = values[~np.isnan(values[:, role]).any(axis=(1, 2)), role]
        if not len(asked):
            continue
        mean[role] = asked.mean(axis=0)
        low[role], high[role], tested = t_interval(mean[role], [asked - mean[role]])
        if len(asked) >= FEWEST_PROBLEMS:
            p_value[role] = tested
    return mean, low, high, p_value
