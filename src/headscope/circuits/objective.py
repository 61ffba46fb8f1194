"""Compute the metric of a run, which attribution differentiates and faithfulness reports, and record its origin."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from headscope.circuits.batches import Batch
from headscope.errors import InputError, suggestion
from headscope.measures.logits import kl, logit_diff, nll
from headscope.models import Subject, name_of
from headscope.pairs import Pairs

METRICS = ("kl", "logit_diff", "nll")

# A user's metric: from the logits [run, position, vocab] of one pair's runs and its clean logits [position, vocab],
# both at the evaluated positions, to one loss per run, [run].
Metric = Callable[[Tensor, Tensor], Tensor]


def check_metric(metric: object) -> None:
    """Raise InputError unless it is a metric's name or a function."""
    if isinstance(metric, str) and metric not in METRICS:
        raise InputError(f"metric {metric!r} is unknown{suggestion(metric, METRICS)}")
    if not isinstance(metric, str) and not callable(metric):
        raise InputError(f"metric is a {type(metric).__name__}; give one of {', '.join(METRICS)} or a function")


def check_clean_gradient(metric: object) -> None:
    """Raise InputError for KL divergence, whose gradient at the clean text is 0."""
    if metric == "kl":
        raise InputError(
            "method eap takes the gradient at the clean text, where that of metric kl is 0; take method eap-ig, or "
            "metric nll or logit_diff"
        )


@dataclass(frozen=True, eq=False)
class Objective:
    """A metric bound to a batch. Every metric is a loss: larger if the clean behaviour is weaker.

    ``kl``: KL(clean ‖ run). ``logit_diff``: −(logit[right] − logit[wrong]). ``nll``: −log p(target).
    right, wrong: the labels, or without labels the likeliest token of the clean and of the corrupt run.
    target: the right label, or without labels the token that follows in the clean text (after its last token, the
        likeliest one of the clean run).
    """

    metric: str | Metric
    batch: Batch
    clean_logits: Float[Tensor, "pair column vocab"]
    corrupt_logits: Float[Tensor, "pair column vocab"]

    @classmethod
    def from_runs(cls, metric: str | Metric, batch: Batch, logits: Float[Tensor, "pair 2 column vocab"]) -> "Objective":
        """Return the objective whose clean and corrupt logits are those of runs 0 and 1."""
        return cls(metric, batch, logits[:, 0], logits[:, 1])

    def __post_init__(self) -> None:
        check_metric(self.metric)
        labels, vocabulary = self.batch.labels, self.clean_logits.shape[-1]
        if labels is not None and int(labels.max()) >= vocabulary:
            raise InputError(f"a label is token id {int(labels.max())}; the model writes 0-{vocabulary - 1}")

    def losses(self, logits: Float[Tensor, "pair 2 column vocab"]) -> Float[np.ndarray, "pair 2"]:
        """Return the metric of the clean and the corrupt run.

        Raises InputError naming a pair whose loss is not finite.
        """
        with torch.no_grad():
            losses: Float[np.ndarray, "pair 2"] = self(logits).float().cpu().numpy()
        if not np.isfinite(losses).all():
            pair = self.batch.indices[int(np.argwhere(~np.isfinite(losses))[0, 0])]
            raise InputError(f"the metric of pair {pair} is not finite; check the unembedding's weights, or the metric")
        return losses

    def __call__(self, logits: Float[Tensor, "pair run column vocab"]) -> Float[Tensor, "pair run"]:
        """Return the metric of each run, averaged over the evaluated positions of its pair."""
        if not isinstance(self.metric, str):
            return self._custom(self.metric, logits)
        runs = logits.shape[1]
        if self.metric == "kl":
            values = kl(self.clean_logits[:, None].expand_as(logits), logits)
        elif self.metric == "nll":
            values = nll(logits, self._target()[:, None].expand(-1, runs, -1))
        else:
            right, wrong = self._labels()
            values = -logit_diff(logits, right[:, None].expand(-1, runs, -1), wrong[:, None].expand(-1, runs, -1))
        return (values * self.batch.weights[:, None]).sum(-1)

    def _labels(self) -> tuple[Int[Tensor, "pair column"], Int[Tensor, "pair column"]]:
        labels = self.batch.labels
        if labels is None:
            return self.clean_logits.argmax(-1), self.corrupt_logits.argmax(-1)
        return labels[:, :1].expand_as(self.batch.follow), labels[:, 1:].expand_as(self.batch.follow)

    def _target(self) -> Int[Tensor, "pair column"]:
        right, _ = self._labels()
        follow = self.batch.follow
        return right if self.batch.labels is not None else torch.where(follow < 0, right, follow)

    def _custom(self, metric: Metric, logits: Float[Tensor, "pair run column vocab"]) -> Float[Tensor, "pair run"]:
        # One pair at a time: a user's metric sees the columns that are evaluated in its pair and no others.
        losses = []
        for runs, clean, weights in zip(logits, self.clean_logits, self.batch.weights, strict=True):
            columns = weights > 0
            losses.append(_check_losses(metric(runs[:, columns], clean[columns]), runs))
        return torch.stack(losses)


def _check_losses(losses: object, runs: Float[Tensor, "run column vocab"]) -> Float[Tensor, " run"]:
    """Return ``losses``, a user's metric of one pair. Raises InputError unless they are differentiable, one per run."""
    if not isinstance(losses, Tensor) or not losses.is_floating_point():
        kind = losses.dtype if isinstance(losses, Tensor) else type(losses).__name__
        raise InputError(f"the metric gave {kind} for {len(runs)} runs; give a float tensor with one loss each")
    if losses.shape != runs.shape[:1]:
        raise InputError(f"the metric gave shape {tuple(losses.shape)} for {len(runs)} runs; give one each")
    if runs.requires_grad and not losses.requires_grad:
        raise InputError("the metric's losses cannot be differentiated; compute them from the logits without detaching")
    return losses


def provenance(model: Subject | nn.Module, pairs: Pairs, metric: str | Metric) -> dict[str, object]:
    """Return the origin of a result as plain JSON values.

    These are the model's name and commit (None for a folder), the pairs' digest and number, and the metric's name.
    """
    return {
        "model": name_of(model),
        "revision": model.revision if isinstance(model, Subject) else None,
        "pairs": pairs.digest(),
        "n_pairs": len(pairs),
        "metric": metric if isinstance(metric, str) else getattr(metric, "__name__", "own"),
    }
