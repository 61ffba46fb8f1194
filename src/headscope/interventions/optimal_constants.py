"""Optimal ablation (Li and Janson 2024, arXiv 2409.09951): replace a head by the constant that minimises the loss.

Zero and mean ablation put the model into states it has never been in, which causes part of the loss. The constant that
minimises the loss removes only the information that the head passes on about the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from headscope.errors import InputError
from headscope.heads import Heads
from headscope.interventions.head_edits import Constants, Replacement, head_grid
from headscope.interventions.layerwise import check_hooks
from headscope.interventions.means import head_writes
from headscope.interventions.teacher_forcing import (
    Text,
    check_texts,
    edited_nll,
    refuse_if_too_long,
    rows_that_fit,
    teacher_force,
)
from headscope.models import as_model, head_access
from headscope.models.memory import Limit
from headscope.models.subject import SubjectOrModel
from headscope.models.threads import map_in_order
from headscope.progress import SILENT, Progress
from headscope.results.head_constants import CANDIDATES, DESCENT_STEPS, TEXTS_A_STEP

LEARNING_RATE = 0.2
"""Adam's, in standard deviations of z."""


def fit_constants(
    model: SubjectOrModel,
    heads: Heads,
    texts: Sequence[Text],
    *,
    steps: int = DESCENT_STEPS,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Float[np.ndarray, "layer head d_head"]:
    """Return for each head the constant z that minimises the loss when only this head is replaced.

    The loss is the mean over texts of nats per response token.

    1. Start at the mean of z, in units of its standard deviation.
    2. Run Adam on two texts per step; heads are rows of one batch, as no head sees another's constant.
    3. Take the mean over the last half of the steps, or the head's mean or zero if that has less loss on all texts.

    Other heads get zeros. Every set of heads uses the same constants, so that random sets are treated as the real one.

    Args:
        model: a ``Subject`` or a plain Hugging Face model in evaluation mode.
        heads: the heads to fit constants for.
        texts: prompts with the responses that are predicted.
        steps: number of Adam steps.
        seed: seed of the choice of texts.
        progress: counts steps.

    Raises:
        InputError: if a head does not exist, there is no text or no step, a prompt or response is empty, the model
            cannot read a text, or a hook on the model would not be run (``layerwise.check_hooks``).
    """
    grid = head_grid(model, heads)
    access = head_access(as_model(model))
    check_hooks(access)  # before the fit, not in the first sweep after it
    if not texts or steps < 1:
        raise InputError(f"found {len(texts)} texts and {steps} steps to fit constants; at least one of each is needed")
    check_texts(texts, access)
    if not grid.any():
        return np.zeros((*grid.shape, access.d_head), dtype=np.float32)
    moments = _moments(model, texts)
    mean = moments.mean
    places = np.argwhere(grid)
    removals = np.ones((len(places), *grid.shape), dtype=np.float32)
    removals[np.arange(len(places)), places[:, 0], places[:, 1]] = 0
    fitted = _descend(as_model(model), texts, removals, moments, _Schedule(steps, seed), progress)
    candidates = [fitted, mean, np.zeros_like(mean)]
    assert len(candidates) == CANDIDATES
    losses = []
    for candidate in candidates:
        replacement = Replacement(Constants(candidate))
        losses.append(teacher_force(model, texts, removals, replacement=replacement).nll.mean(axis=1))
    best = np.zeros_like(mean)
    for (layer, head), choice in zip(places, np.argmin(losses, axis=0), strict=True):
        best[layer, head] = candidates[choice][layer, head]
    return best


@dataclass(frozen=True, eq=False)
class _Moments:
    """Mean of z, and its standard deviation over tokens and dimensions around it."""

    mean: Float[np.ndarray, "layer head d_head"]
    spread: Float[np.ndarray, "layer head 1"]


@dataclass(frozen=True)
class _Schedule:
    """Number of Adam's steps, and the seed of the choice of texts."""

    steps: int
    seed: int


def _descend(
    model: PreTrainedModel,
    texts: Sequence[Text],
    removals: Float[np.ndarray, "edit layer head"],
    start: _Moments,
    schedule: _Schedule,
    progress: Progress,
) -> Float[np.ndarray, "layer head d_head"]:
    """Return the constants after the schedule's steps, the mean of their last half."""
    access = head_access(model)
    centre = torch.as_tensor(start.mean, device=access.device)
    unit = torch.as_tensor(start.spread, device=access.device)
    shift = torch.zeros_like(centre, requires_grad=True)
    adam = torch.optim.Adam([shift], lr=LEARNING_RATE)
    shifts: list[Tensor] = []
    draw = np.random.default_rng(schedule.seed)
    limit = Limit()

    @torch.enable_grad()  # each thread has its own mode
    def gradient(piece: tuple[Text, Float[np.ndarray, "edit layer head"]]) -> Float[Tensor, "layer head d_head"]:
        text, edits = piece

        def part_gradient(part: slice) -> Float[Tensor, "layer head d_head"]:
            losses = edited_nll(model, access, text, edits[part], Constants(centre + unit * shift))
            return torch.autograd.grad(losses.sum(), shift)[0]

        with refuse_if_too_long(text):
            gradients = [result for _, result in limit.run_parts(len(edits), len(edits), part_gradient)]
        return torch.stack(gradients).sum(0)

    with progress.bar("optimal constants", schedule.steps) as bar:
        for step in range(schedule.steps):
            step_texts = [texts[int(draw.integers(len(texts)))] for _ in range(TEXTS_A_STEP)]
            pieces = [(text, chunk) for text in step_texts for chunk in _chunks(model, text, removals)]
            shift.grad = torch.stack(list(map_in_order(model, gradient, pieces))).sum(0) / TEXTS_A_STEP
            adam.step()
            if step >= schedule.steps // 2:
                shifts.append(shift.detach().clone())
            bar.advance()
    constants: Float[np.ndarray, "layer head d_head"] = (centre + unit * torch.stack(shifts).mean(0)).cpu().numpy()
    return constants


def _chunks(
    model: PreTrainedModel, text: Text, removals: Float[np.ndarray, "edit layer head"]
) -> list[Float[np.ndarray, "_ layer head"]]:
    """Return the edits in as few parts as fit in memory with every layer's activations kept for the backward pass."""
    size = max(1, rows_that_fit(model, text) // (2 * removals.shape[1]))
    return np.array_split(removals, ceil(len(removals) / size))


def _moments(model: SubjectOrModel, texts: Sequence[Text]) -> _Moments:
    """Return the moments of z over all tokens of the texts."""
    access = head_access(as_model(model))
    layers = range(len(access.layers))
    sums: Float[np.ndarray, "2 layer head d_head"] = np.zeros((2, len(layers), access.heads, access.d_head))
    for writes in head_writes(model, [text.tokens for text in texts], layers):
        for layer, z in writes.items():
            # In float64: the variance is the difference of two large sums.
            values = torch.unflatten(z.double(), -1, (access.heads, access.d_head))
            sums[:, layer] += torch.stack([values.sum(0), values.square().sum(0)]).cpu().numpy()
    mean, square = sums / sum(len(text.tokens) for text in texts)
    # A head that never writes has no spread; the floor keeps its constant movable.
    spread = np.sqrt((square - mean**2).mean(axis=-1, keepdims=True).clip(1e-12))
    return _Moments(mean.astype(np.float32), spread.astype(np.float32))
