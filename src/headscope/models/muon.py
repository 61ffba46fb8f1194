"""Muon for the matrices inside a model's blocks, AdamW for the rest (K. Jordan, 2024)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


class MuonWithAdamW(torch.optim.Optimizer):
    """One optimiser of two groups of parameters: matrices inside the blocks by Muon, embeddings and norms by AdamW.

    Muon's updates are scaled to the size of AdamW's, so that both take one learning rate. Each group's rate is the
    ``lr`` of its entry in ``param_groups``, in this order; a schedule sets them.

    model: whose trainable parameters are optimised. lr: learning rate. weight_decay: of the matrices.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float = 0.0) -> None:
        embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        if isinstance(model, PreTrainedModel) and (head := model.get_output_embeddings()) is not None:
            embeddings.add(id(head.weight))
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for parameter in model.parameters():
            if parameter.requires_grad:
                is_matrix = parameter.ndim == 2 and id(parameter) not in embeddings
                (matrices if is_matrix else others).append(parameter)
        parts: list[torch.optim.Optimizer] = []
        if matrices:
            parts.append(torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"))
        if others:  # an adapter has none
            parts.append(torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.0))
        self._parts = tuple(parts)
        super().__init__([{"params": group} for group in (matrices, others) if group], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with the gradients that are there."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part, group in zip(self._parts, self.param_groups, strict=True):
            part.param_groups[0]["lr"] = group["lr"]
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return both parts' moments by the place of their parameter, and the groups, as every optimiser does."""
        moments: dict[int, Any] = {}
        groups: list[dict[str, Any]] = []
        for part, group in zip(self._parts, self.param_groups, strict=True):
            first = sum(len(each["params"]) for each in groups)
            moments |= {first + place: state for place, state in part.state_dict()["state"].items()}
            settings = {name: value for name, value in group.items() if name != "params"}
            groups.append(settings | {"params": list(range(first, first + len(group["params"])))})
        return {"state": moments, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what ``state_dict`` returned for the same model."""
        for part, group, saved in zip(self._parts, self.param_groups, state_dict["param_groups"], strict=True):
            group.update({name: value for name, value in saved.items() if name != "params"})
            places = {place: number for number, place in enumerate(saved["params"])}
            moments = {places[place]: state for place, state in state_dict["state"].items() if place in places}
            part.load_state_dict({"state": moments, "param_groups": part.state_dict()["param_groups"]})
