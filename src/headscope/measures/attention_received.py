"""The share of attention that goes to the few steps of an answer which most later steps read (receiver heads).

A *receiver* reads the same few steps from wherever in an answer it is (Bogdan et al. 2025, Thought Anchors, who take
the kurtosis of the attention that steps receive). Which steps these are is the head's own choice and not the text's, so
that they must not be chosen by the rows that are then asked:

1. Attention per token of the step that is read is averaged over the tokens that write the step that reads it. Steps
   less than ``FAR`` apart do not count: every head reads what was written just before.
2. Every other reading step chooses: the tenth of all steps that these read most, compared with what the median of the
   layer's other heads gives per token. The share is what the remaining reading steps give to that tenth; then the two
   halves change places, and the mean of both is taken.
3. Two controls give the chosen steps what steps that were not chosen receive per token: *moved* from the same reading
   step, *elsewhere* from others at the same distance. A head that reads everything alike matches the first, one that
   reads by distance the second.
4. The third control is what the median of the other heads gives to the chosen steps. Attention rests on single tokens
   of a text, not on its first alone (in SmolLM2 on its first " the"), and then most heads of a layer read the step
   that holds one.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

FAR = 4
"""Steps between one that reads and one that is read, at least (Thought Anchors)."""
FEWEST_STEPS = 12
"""An answer of fewer steps does not ask who receives: four of them at least must read in each half."""
CHOSEN_SHARE = 0.1
"""Share of an answer's steps that a receiver may read."""

Between = Float[np.ndarray, "head reading read"]
IsFar = Bool[np.ndarray, "reading read"]


@dataclass(frozen=True, eq=False)
class StepSpans:
    """The steps of a text whose attention to one another is asked about.

    rows: first row that writes a step and the one after the last; the row of a token is that of the token before it.
    keys: first token of a step and the one after its last; no step is empty.
    """

    rows: Int[np.ndarray, "step 2"]
    keys: Int[np.ndarray, "step 2"]

    @property
    def reading_rows(self) -> int:
        """Return the number of rows of the steps that can read one far before them."""
        return int((self.rows[FAR:, 1] - self.rows[FAR:, 0]).sum())

    def received(self, rows: "Float[np.ndarray, 'head query key']") -> "Float[np.ndarray, '7 head']":
        """Return for every head the share that goes to the steps which other rows read most, and for each control the
        part of it that can be compared and what the control gives there; NaN for the other heads' if there are none.

        rows: of all heads of a layer. Raises ValueError for fewer than ``FEWEST_STEPS`` steps.
        """
        steps = len(self.rows)
        if steps < FEWEST_STEPS:
            raise ValueError(f"{steps} steps; at least {FEWEST_STEPS} are needed")
        tokens = rows.shape[-1]
        mean_of_rows = _mean_over(self.rows, tokens)
        density = np.where(_far(steps), mean_of_rows @ rows @ _mean_over(self.keys, tokens).T, 0.0)
        lengths = (self.keys[:, 1] - self.keys[:, 0]).astype(np.float64)
        readers = np.arange(FAR, steps)
        first, second = readers[0::2], readers[1::2]
        shares = _compare(density, lengths, first, second) + _compare(density, lengths, second, first)
        return np.asarray(shares / 2)


def _compare(
    density: Between,
    lengths: Float[np.ndarray, " step"],
    choosing: Int[np.ndarray, " chooser"],
    asked: Int[np.ndarray, " asked"],
) -> Float[np.ndarray, "7 head"]:
    """Return shares and controls of the ``asked`` rows, of the steps that the ``choosing`` ones read most.

    density: attention per token of the step that is read.
    """
    is_far = _far(len(lengths))
    received = density[:, choosing].sum(axis=1)
    is_chosen = _most_read(received - np.nan_to_num(_other_heads(received)))
    targets = is_far[asked] & is_chosen[:, None, :]
    is_other = is_far & ~is_chosen[:, None, :]
    given = density * lengths
    results = [(given[:, asked] * targets).sum(axis=(1, 2))]
    for expected in (_same_row(density, lengths, is_other), _same_distance(density, is_other)):
        can_compare = targets & ~np.isnan(expected[:, asked])
        results.append((given[:, asked] * can_compare).sum(axis=(1, 2)))
        results.append(np.where(can_compare, expected[:, asked] * lengths, 0.0).sum(axis=(1, 2)))
    of_others = (_other_heads(given[:, asked].sum(axis=1)) * is_chosen).sum(axis=1)
    results += [np.where(np.isnan(of_others), np.nan, results[0]), of_others]
    return np.stack(results) / len(asked)


def _most_read(received: "Float[np.ndarray, 'head step']") -> "Bool[np.ndarray, 'head step']":
    """Return which steps are among the ``CHOSEN_SHARE`` that receive most, for every head."""
    count = math.ceil(CHOSEN_SHARE * received.shape[1])
    places = np.argsort(-received, axis=1, kind="stable")[:, :count]
    is_chosen = np.zeros(received.shape, dtype=bool)
    np.put_along_axis(is_chosen, places, True, axis=1)
    return is_chosen


def _same_row(
    density: Between, lengths: Float[np.ndarray, " step"], is_other: Bool[np.ndarray, "head reading read"]
) -> Between:
    """Return what each reading step gives to a token of its other far steps; NaN if it has none."""
    tokens = (lengths * is_other).sum(axis=-1, keepdims=True)
    given = (density * lengths * is_other).sum(axis=-1, keepdims=True)
    means = np.divide(given, tokens, out=np.full(tokens.shape, np.nan), where=tokens > 0)
    return np.broadcast_to(means, density.shape)


def _same_distance(density: Between, is_other: Bool[np.ndarray, "head reading read"]) -> Between:
    """Return what a token of a step that was not chosen receives, on average over all pairs of steps at the distance of
    each; NaN for a distance without any."""
    heads, steps, _ = density.shape
    expected = np.full(density.shape, np.nan)
    for distance in range(FAR, steps):
        counts = np.diagonal(is_other, -distance, axis1=1, axis2=2).sum(axis=1)
        received = np.diagonal(density * is_other, -distance, axis1=1, axis2=2).sum(axis=1)
        means = np.divide(received, counts, out=np.full(heads, np.nan), where=counts > 0)
        reading = np.arange(distance, steps)
        expected[:, reading, reading - distance] = means[:, None]
    return expected


def _other_heads(received: "Float[np.ndarray, 'head step']") -> "Float[np.ndarray, 'head step']":
    """Return what each step receives from the median of the heads other than each; NaN if there are no others."""
    heads = len(received)
    if heads < 2:
        return np.full_like(received, np.nan)
    others = [np.delete(received, head, axis=0) for head in range(heads)]
    return np.asarray(np.median(np.stack(others), axis=1))


def _mean_over(spans: Int[np.ndarray, "step 2"], tokens: int) -> Float[np.ndarray, "step token"]:
    """Return the matrix that averages over the tokens of each span."""
    places = np.arange(tokens)
    is_inside = (places >= spans[:, :1]) & (places < spans[:, 1:])
    return np.asarray(is_inside / is_inside.sum(axis=1, keepdims=True), dtype=np.float32)


def _far(steps: int) -> IsFar:
    """Return which steps lie far enough before each."""
    return np.tri(steps, k=-FAR, dtype=bool)
