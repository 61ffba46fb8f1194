"""Optimal ablation (Li and Janson 2024, arXiv 2409.09951): the constant that hurts least in place of a head.

Zero and mean ablation put the model where it has never been, and part of the loss they cause is that spoofing. The
constant that minimises the loss takes away what the head tells about the input, and nothing else.
"""

from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headscope.interventions.forced import Text, edited_nll, rows_that_fit, teacher_forced
from headscope.interventions.means import head_writes
from headscope.interventions.operators import Constants, Heads, head_grid
from headscope.models import as_model, head_access
from headscope.models.threads import in_order
from headscope.progress import SILENT, Progress


def fit_constants(
    model: Any,
    heads: Heads,
    texts: Sequence[Text],
    *,
    steps: int = 48,
    learning_rate: float = 0.1,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Float[np.ndarray, "layer head d_head"]:
    """Per head the constant with the least loss when it alone is replaced: nats per response token, mean of ``texts``.

    1. Start at the mean of z, in units of its standard deviation.
    2. Adam on one text per step; heads are rows of one batch, since no head sees another's constant.
    3. Keep the mean of the last half of the steps, unless the head's mean or zero has less loss on all texts.

    Heads outside ``heads`` have zeros. In a set each head takes its own constant: the sets share them, so that a random
    set is treated as the real one. Raises InputError where a head does not exist or there is no text.
    """
    grid = head_grid(model, heads)
    mean, spread = _moments(model, texts)
    places = np.argwhere(grid)
    alone = np.ones((len(places), *grid.shape), dtype=np.float32)
    alone[np.arange(len(places)), places[:, 0], places[:, 1]] = 0
    fitted = _descend(model, texts, alone, mean, spread, steps=steps, rate=learning_rate, seed=seed, progress=progress)
    candidates = [fitted, mean, np.zeros_like(mean)]
    losses = [teacher_forced(model, texts, alone, fill=Constants(each)).nll.mean(axis=1) for each in candidates]
    best = np.zeros_like(mean)
    for (layer, head), choice in zip(places, np.argmin(losses, axis=0), strict=True):
        best[layer, head] = candidates[choice][layer, head]
    return best


def _descend(
    model: Any,
    texts: Sequence[Text],
    alone: Float[np.ndarray, "edit layer head"],
    mean: Float[np.ndarray, "layer head d_head"],
    spread: Float[np.ndarray, "layer head 1"],
    *,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
) -> Float[np.ndarray, "layer head d_head"]:
    plain = as_model(model)
    device, threads = head_access(plain).device, 1 if plain.device.type == "cuda" else torch.get_num_threads()
    centre, unit = torch.as_tensor(mean, device=device), torch.as_tensor(spread, device=device)
    shift = torch.zeros_like(centre, requires_grad=True)
    adam, kept, draw = torch.optim.Adam([shift], lr=rate), [], np.random.default_rng(seed)

    @torch.enable_grad()  # each thread has its own mode
    def gradient(text: Text, edits: Float[np.ndarray, "edit layer head"]) -> Float[Tensor, "layer head d_head"]:
        losses = edited_nll(model, text, edits, Constants(centre + unit * shift))
        return torch.autograd.grad(losses.sum(), shift)[0]

    with progress.bar("optimal constants", steps) as bar:
        for step in range(steps):
            text = texts[int(draw.integers(len(texts)))]
            parts = max(ceil(len(alone) / _rows_kept(plain, text)), threads)
            chunks = [alone[first::parts] for first in range(min(parts, len(alone)))]  # alike in how deep the edits lie
            shift.grad = torch.stack(list(in_order(plain, partial(gradient, text), chunks))).sum(0)
            adam.step()
            if step >= steps // 2:
                kept.append(shift.detach().clone())
            bar.advance()
    found: np.ndarray = (centre + unit * torch.stack(kept).mean(0)).cpu().numpy()
    return found


def _rows_kept(model: Any, text: Text) -> int:
    """Rows that fit where every layer's activations are kept, for the way back."""
    return max(1, rows_that_fit(model, text) // (2 * len(head_access(model).layers)))


def _moments(
    model: Any, texts: Sequence[Text]
) -> tuple[Float[np.ndarray, "layer head d_head"], Float[np.ndarray, "layer head 1"]]:
    """Mean of z, and its standard deviation over tokens and dimensions around it."""
    access = head_access(as_model(model))
    layers = range(len(access.layers))
    sums: np.ndarray = np.zeros((2, len(layers), access.heads, access.d_head))
    for writes in head_writes(model, [text.tokens for text in texts], layers):
        for layer, z in writes.items():
            values = torch.unflatten(z.double(), -1, (access.heads, access.d_head))
            sums[:, layer] += torch.stack([values.sum(0), values.square().sum(0)]).cpu().numpy()
    mean, square = sums / sum(len(text.tokens) for text in texts)
    spread = np.sqrt((square - mean**2).mean(axis=-1, keepdims=True).clip(1e-12))
    return mean.astype(np.float32), spread.astype(np.float32)
