"""Patched runs written as plainly as can be: one text at a time, every destination's input summed source by source."""

from typing import Any

import numpy as np
import torch
from tests.circuits.slow_reference import PlainModel
from torch import Tensor

from headscope.pairs import Pairs


class PlainPatching:
    """A model, pairs, and what edges outside a circuit carry: ``corrupt``, ``zero`` or ``mean``."""

    def __init__(self, model: Any, pairs: Pairs, patch: str = "corrupt") -> None:
        self.plain, self.pairs = PlainModel(model), pairs
        embed = model.get_input_embeddings()
        with torch.no_grad():
            self.clean, self.corrupt = (
                [embed(torch.as_tensor(ids)) for ids in texts] for texts in (pairs.clean, pairs.corrupt)
            )
            written = [torch.stack(self.plain.forward(text)[1]) for text in self.clean]  # [source, token, d]
            if patch == "corrupt":
                self.patched = [torch.stack(self.plain.forward(text)[1]) for text in self.corrupt]
            elif patch == "zero":
                self.patched = [torch.zeros_like(outputs) for outputs in written]
            else:
                mean = torch.cat(written, dim=1).mean(1, keepdim=True)
                self.patched = [mean.expand_as(outputs) for outputs in written]

    def nll(self, edges: np.ndarray) -> np.ndarray:
        """−log p(right label) of each pair, averaged over its evaluated positions, with ``edges`` alone intact."""
        return np.array([self._nll(index, edges) for index in range(len(self.pairs))])

    @torch.no_grad()
    def _nll(self, index: int, edges: np.ndarray) -> float:
        def move(destination: int, outputs: list[Tensor]) -> Any:
            outside = [source for source in range(len(outputs)) if not edges[source, destination]]
            return sum(self.patched[index][source] - outputs[source] for source in outside)

        pair = self.pairs[index]
        logits = self.plain.forward(self.clean[index], move)[0][torch.as_tensor(pair.positions)]
        return float(-torch.log_softmax(logits, -1)[:, pair.label[0]].mean())
