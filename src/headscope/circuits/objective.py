"""The scalar per run that attribution differentiates and faithfulness reports."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headscope.circuits.batches import Batch
from headscope.errors import InputError, suggestion
from headscope.measures.logits import kl, logit_diff, nll

METRICS = ("kl", "logit_diff", "nll")

# A metric of one's own: logits [run, position, vocab] of one pair's runs and its clean logits [position,
# vocab], both at the evaluated positions, to one loss per run, [run].
Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Objective:
    """A metric bound to a batch; every metric is a loss, larger where the clean behaviour is weaker.

    ``kl``: KL(clean ‖ run). ``logit_diff``: −(logit[right] − logit[wrong]). ``nll``: −log p(target).
    right, wrong: the labels, or without labels the likeliest token of the clean and of the corrupt run.
    target: the right label, or without labels the token that follows in the clean text (after its last token, the
        likeliest one of the clean run).
    """

    metric: str | Metric
    batch: Batch
    clean: Float[Tensor, "pair column vocab"]
    corrupt: Float[Tensor, "pair column vocab"]

    def __post_init__(self) -> None:
        if isinstance(self.metric, str) and self.metric not in METRICS:
            raise InputError(f"metric {self.metric!r} is unknown{suggestion(self.metric, METRICS)}")
        if not isinstance(self.metric, str) and not callable(self.metric):
            raise InputError(
                f"metric is a {type(self.metric).__name__}; give one of {', '.join(METRICS)} or a function"
            )

    def losses(self, logits: Float[Tensor, "pair 2 column vocab"]) -> Float[np.ndarray, "pair 2"]:
        """Of the clean and the corrupt run. Raises InputError naming the pair where one is not finite."""
        with torch.no_grad():
            found: Float[np.ndarray, "pair 2"] = self(logits).float().cpu().numpy()
        if not np.isfinite(found).all():
            pair = self.batch.indices[int(np.argwhere(~np.isfinite(found))[0, 0])]
            raise InputError(f"the metric of pair {pair} is not finite; check the unembedding's weights, or the metric")
        return found

    def __call__(self, logits: Float[Tensor, "pair run column vocab"]) -> Float[Tensor, "pair run"]:
        """The metric of each run, averaged over the evaluated positions of its pair."""
        if not isinstance(self.metric, str):
            return self._own(self.metric, logits)
        runs = logits.shape[1]
        if self.metric == "kl":
            values = kl(self.clean[:, None].expand_as(logits), logits)
        elif self.metric == "nll":
            values = nll(logits, self._target()[:, None].expand(-1, runs, -1))
        else:
            right, wrong = self._labels()
            values = -logit_diff(logits, right[:, None].expand(-1, runs, -1), wrong[:, None].expand(-1, runs, -1))
        return (values * self.batch.weights[:, None]).sum(-1)

    def _labels(self) -> tuple[Int[Tensor, "pair column"], Int[Tensor, "pair column"]]:
        if self.batch.labels is None:
            return self.clean.argmax(-1), self.corrupt.argmax(-1)
        right, wrong = (
            self.batch.labels[:, :1].expand_as(self.batch.follow),
            self.batch.labels[:, 1:].expand_as(self.batch.follow),
        )
        return right, wrong

    def _target(self) -> Int[Tensor, "pair column"]:
        right, _ = self._labels()
        follow = self.batch.follow
        return right if self.batch.labels is not None else torch.where(follow < 0, right, follow)

    def _own(self, metric: Metric, logits: Float[Tensor, "pair run column vocab"]) -> Float[Tensor, "pair run"]:
        values = []
        for runs, clean, weights in zip(logits, self.clean, self.batch.weights, strict=True):
            picked = weights > 0
            values.append(_checked(metric(runs[:, picked], clean[picked]), runs))
        return torch.stack(values)


def _checked(value: object, runs: Float[Tensor, "run column vocab"]) -> Float[Tensor, " run"]:
    """A metric's answer for one pair; InputError unless it is one loss per run that can be differentiated."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        what = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"the metric gave {what} for {len(runs)} runs; give a float tensor with one loss each")
    if value.shape != runs.shape[:1]:
        raise InputError(f"the metric gave shape {tuple(value.shape)} for {len(runs)} runs; give one each")
    if runs.requires_grad and not value.requires_grad:
        raise InputError("the metric's losses cannot be differentiated; compute them from the logits without detaching")
    return value
