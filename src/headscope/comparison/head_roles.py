"""Decide which heads play which role, from shares of attention: arithmetic on a few numbers per head, role and text.

1. A text's share is the mean over its rows with a target, so that long and short answers have the same weight.
2. Each control is compared with the share of the same rows and texts; one that fewer than ten texts have is left out. A
   role without any control, or that fewer than ten texts ask for, is not tested.
3. A head plays a role if its share is at least 0.1, at least twice each control, and surely above each: the largest of
   the one-sided p-values of Student's t over texts, adjusted over the heads of the role (Benjamini and Hochberg, 1 %).
4. A role is *gained* or *lost* if the head plays it in one model alone and the share changed by 0.05 or more (paired t,
   q ≤ 0.05); *unclear* if it did not, or to the other side.
5. A gained role has *moved* if a head within a layer lost it whose shares over all roles were alike: a cosine of 0.8 or
   more, without the first token, on which most heads of a large model rest. Heads are matched one to one (Hungarian
   method).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.head_contrasts import t_interval
from headscope.heads import HeadId
from headscope.measures.multiplicity import q_values
from headscope.results.head_roles import CHANGE_Q, LEAST_CHANGE, HeadRole, RoleChange, RoleShares

LEAST_LIKENESS = 0.8
"""Cosine of the shares of two heads of which one may have taken over the other's role."""
RESTING = "first token"
"""The role that is left out where heads are compared."""
_NEAR = 1
"""Layers between two heads of which one may have taken over the other's role."""


@dataclass(frozen=True, eq=False)
class TextShares:
    """Attention of one model's heads to the targets of each role, text by text; NaN for a role a text does not ask for.

    share: to the targets.
    compared: to those that have a control, in the order of ``measures.attention_shares.CONTROLS``; NaN if none has it.
    control: the control of these, likewise.
    """

    share: Float[np.ndarray, "text role layer head"]
    compared: Float[np.ndarray, "control text role layer head"]
    control: Float[np.ndarray, "control text role layer head"]


@dataclass(frozen=True, eq=False)
class ShareChanges:
    """Share after training less that before: mean over texts, t interval, q over the heads of a role, two-sided."""

    value: Float[np.ndarray, "role layer head"]
    low: Float[np.ndarray, "role layer head"]
    high: Float[np.ndarray, "role layer head"]
    q_value: Float[np.ndarray, "role layer head"]


def role_shares(texts: TextShares) -> RoleShares:
    """Return the mean shares of a model and how sure it is that they exceed their controls."""
    mean, low, high, _ = _over_texts(texts.share)
    largest = np.full_like(mean, np.nan)  # of the controls, relative to the share that they are compared with
    p_value = np.full_like(mean, np.nan)
    for compared, control in zip(texts.compared, texts.control, strict=True):
        excess, _, _, two_sided = _over_texts(compared - control)
        share, *_ = _over_texts(compared)
        ratio = np.divide(share - excess, share, out=np.zeros_like(share), where=share > 0)
        is_tested = ~np.isnan(two_sided)
        largest = np.where(is_tested, np.fmax(largest, ratio), largest)
        p_value = np.fmax(p_value, np.where(excess > 0, two_sided / 2, 1 - two_sided / 2))
    return RoleShares(mean, low, high, mean * largest, _adjust_by_role(p_value))


def share_changes(base: TextShares, post: TextShares) -> ShareChanges:
    """Return the change of every share, the two models paired text by text."""
    value, low, high, p_value = _over_texts(post.share - base.share)
    return ShareChanges(value, low, high, _adjust_by_role(p_value))


def _adjust_by_role(p_value: "Float[np.ndarray, 'role layer head']") -> "Float[np.ndarray, 'role layer head']":
    return np.stack([q_values(of_role) for of_role in p_value])


def label_roles(
    roles: Sequence[str], base: RoleShares, post: RoleShares, changes: ShareChanges
) -> tuple[HeadRole, ...]:
    """Return the roles of heads in either model, and what became of them."""
    compared = [role != RESTING for role in roles]
    labels = []
    for place, role in enumerate(roles):
        before, after = base.labelled[place], post.labelled[place]
        is_changed, change_of = changes.q_value[place] <= CHANGE_Q, changes.value[place]
        gained = after & ~before & is_changed & (change_of >= LEAST_CHANGE)
        lost = before & ~after & is_changed & (change_of <= -LEAST_CHANGE)
        origins = _match(lost, gained, base.share[compared], post.share[compared])
        for layer, index in np.argwhere(before | after).tolist():
            head = HeadId(layer, index)
            change: RoleChange = "kept" if before[head] and after[head] else "unclear"
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
    likeness = _directions(base, before) @ _directions(post, after).T
    is_near = np.abs(before[:, None, 0] - after[None, :, 0]) <= _NEAR
    can_match = is_near & (likeness >= LEAST_LIKENESS)
    rows, columns = linear_sum_assignment(np.where(can_match, likeness, 0.0), maximize=True)
    origins = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if can_match[row, column]:
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
    mean, low, high, p_value = np.full((4, *values.shape[1:]), np.nan)
    for role in range(values.shape[1]):
        asked = values[~np.isnan(values[:, role]).any(axis=(1, 2)), role]
        if not len(asked):
            continue
        mean[role] = asked.mean(axis=0)
        low[role], high[role], tested = t_interval(mean[role], [asked - mean[role]])
        if len(asked) >= FEWEST_PROBLEMS:
            p_value[role] = tested
    return mean, low, high, p_value
