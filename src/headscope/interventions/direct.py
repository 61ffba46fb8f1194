"""The direct effect of removing heads: what reaches the logits when nothing downstream may answer.

Total effect: later layers read the changed stream. Direct effect: the heads' writes are taken out of the final residual
stream alone, and the final norm works on what is left. Where direct exceeds total, later layers repair the damage
(McGrath et al. 2023, arXiv 2307.15771; Rushing and Nanda 2024, arXiv 2402.15390).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headscope.interventions.forced import Text, response_nll
from headscope.interventions.operators import Heads, head_grid
from headscope.models import HeadAccess, Hook, as_model, attached, head_access
from headscope.progress import SILENT, Progress


def direct_loss(
    model: Any, heads: Heads, texts: Sequence[Text], *, progress: Progress = SILENT
) -> Float[np.ndarray, "text"]:
    """Nats per response token without the heads' own writes in the final residual stream, all else as it was.

    A post-norm after attention (Gemma, OLMo 2) is linearised at the whole model's pass. Raises InputError where a head
    does not exist.
    """
    access = head_access(as_model(model))
    grid = head_grid(model, heads)
    losses = np.zeros(len(texts))
    with torch.inference_mode(), progress.bar("direct effects", len(texts)) as bar:
        for index, text in enumerate(texts):
            written = _written(model, access, grid, text)
            with attached([Hook(access.final_norm.module, "input", _without(written))]):
                losses[index] = float(response_nll(model, text)[0])
            bar.advance()
    return losses


def _without(written: Float[Tensor, "1 token d"]) -> Callable[[Tensor], Tensor]:
    def remove(stream: Float[Tensor, "1 token d"]) -> Float[Tensor, "1 token d"]:
        return stream - written.to(stream)

    return remove


def _written(
    model: Any, access: HeadAccess, grid: "np.ndarray[Any, np.dtype[np.bool_]]", text: Text
) -> Float[Tensor, "1 token d"]:
    """The sum of what the heads write, from one pass of the whole model."""
    written: list[Tensor] = []

    def adds(layer: int) -> Callable[[Tensor], None]:
        chosen = np.flatnonzero(grid[layer])

        def add(z: Float[Tensor, "1 token z"]) -> None:
            own = torch.unflatten(z, -1, (access.heads, access.d_head))[:, :, chosen].float()
            written.append(torch.einsum("bthe,hed->btd", own, access.output_weights(layer)[chosen].float()))

        return add

    layers = np.flatnonzero(grid.any(axis=1)).tolist()
    hooks = [hook for layer in layers for hook in access.layers[layer].on_write(adds(layer))]
    with attached(hooks):
        as_model(model).base_model(input_ids=torch.tensor([text.tokens], device=access.device), use_cache=False)
    return torch.stack(written).sum(0)
