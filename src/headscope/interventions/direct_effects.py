"""Measure the direct effect of removing heads: the part that reaches the logits without any later layer's response.

Total effect: later layers read the changed stream. Direct effect: the heads' writes are removed from the final residual
stream only, before the final norm. If direct exceeds total, later layers repair the damage
(McGrath et al. 2023, arXiv 2307.15771; Rushing and Nanda 2024, arXiv 2402.15390).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headscope.heads import Heads
from headscope.interventions.head_edits import head_grid
from headscope.interventions.teacher_forcing import Text, check_texts, response_nll
from headscope.models import HeadAccess, Hook, as_model, attach_hooks, head_access
from headscope.models.subject import SubjectOrModel
from headscope.models.threads import map_in_order, on_this_thread
from headscope.progress import SILENT, Progress


def direct_loss(
    model: SubjectOrModel, heads: Heads, texts: Sequence[Text], *, progress: Progress = SILENT
) -> Float[np.ndarray, "text"]:
    """Return each text's loss without the heads' own writes in the final residual stream, nats per response token.

    Nothing else changes: later layers read the unchanged stream. A post-norm after attention (Gemma, OLMo 2) is
    linearised at the whole model's pass. Raises InputError if a head does not exist, there is no text, a prompt or
    response is empty, or the model cannot read a text.
    """
    plain, grid = as_model(model), head_grid(model, heads)
    access = head_access(plain)
    check_texts(texts, access)
    layers = np.flatnonzero(grid.any(axis=1)).tolist()
    weights = {layer: access.output_weights(layer)[grid[layer]].float() for layer in layers}
    losses = np.zeros(len(texts))

    @torch.inference_mode()  # each thread has its own mode
    def measure(text: Text) -> float:
        with attach_hooks(_removal_hooks(access, grid, weights) if layers else ()):
            return float(response_nll(plain, text)[0])

    with progress.bar("direct effects", len(texts)) as bar:
        for index, loss in enumerate(map_in_order(plain, measure, texts)):
            losses[index] = loss
            bar.advance()
    return losses


def _removal_hooks(
    access: HeadAccess, grid: Bool[np.ndarray, "layer head"], weights: Mapping[int, Float[Tensor, "chosen d_head d"]]
) -> Iterator[Hook]:
    """Yield hooks that record what the heads write and subtract it before the final norm of the same pass."""
    writes: list[Tensor] = []

    def record(layer: int, z: Float[Tensor, "1 token z"]) -> None:
        chosen = torch.unflatten(z, -1, (access.heads, access.d_head))[:, :, grid[layer]].float()
        writes.append(torch.einsum("bthe,hed->btd", chosen, weights[layer]))

    def remove(stream: Float[Tensor, "1 token d"]) -> Float[Tensor, "1 token d"]:
        return stream - torch.stack([write.to(stream) for write in writes]).sum(0)

    for layer in weights:
        for hook in access.layers[layer].write_hooks(partial(record, layer)):
            yield replace(hook, function=on_this_thread(hook.function))
    yield Hook(access.final_norm.module, "input", on_this_thread(remove))
