"""Interventions written into weights, so that any engine can serve the edited model (method section 6).

z' = factor · z + constant, for all positions: the factor scales the head's d_head input columns of o_proj (rows of
GPT-2's Conv1D), the constant goes through them into o_proj's bias. Where o_proj has no bias it gets one (``biases``).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet
from headscope.interventions.output_biases import with_output_biases
from headscope.models import HeadAccess, Subject, as_model, head_access
from headscope.models.adapters import merged_copy
from headscope.models.projections import linear_bias, linear_weight

Constants = Mapping[str, Float[np.ndarray, "d_head"]]


def edit_weights(model: Any, factors: Mapping[str, float], constants: Constants | None = None) -> Any:
    """A copy of ``model`` in which each named head's write is multiplied by its factor, plus its constant.

    factors: by head; 0 removes it. constants: by head, [d_head] in z's units: with factor 0 the head writes nothing
        else, which is mean or optimal ablation. A head with a constant and no factor keeps its own write.
    Gives the same logits as the hooks of ``scale`` and ``constant``. Returns a ``Subject`` for a ``Subject`` and a
    plain model for a plain model; the original is untouched. Constants may make it another class
    (``with_output_biases``).
    Raises InputError where a head does not exist, a constant has another length, or two layers share an o_proj.
    """
    plain = as_model(model)
    access = head_access(plain)
    scaled = {HeadId.parse(name): float(factor) for name, factor in factors.items()}
    added = {HeadId.parse(name): np.asarray(value) for name, value in (constants or {}).items()}
    HeadSet.of([*scaled, *added]).grid(len(access.layers), access.heads)
    _check(access, added)
    edited = merged_copy(plain)
    if added:
        edited = with_output_biases(edited)
    _edit(head_access(edited), scaled, added)
    return replace(model, model=edited) if isinstance(model, Subject) else edited


@torch.no_grad()
def _edit(access: HeadAccess, factors: Mapping[HeadId, float], constants: Mapping[HeadId, np.ndarray]) -> None:
    for head, constant in constants.items():  # through the weights as they were
        output = access.layers[head.layer].output
        weight, bias = linear_weight(output)[:, _columns(access, head)], linear_bias(output)
        assert bias is not None
        # In float32, rounded once: a hook's constant is summed in the matrix product, not in the bias's precision.
        shift = weight.float() @ torch.as_tensor(constant, dtype=torch.float32, device=weight.device)
        bias.copy_((bias.float() + shift).to(bias.dtype))
    for head, factor in factors.items():
        linear_weight(access.layers[head.layer].output)[:, _columns(access, head)] *= factor


def _columns(access: HeadAccess, head: HeadId) -> slice:
    return slice(head.head * access.d_head, (head.head + 1) * access.d_head)


def _check(access: HeadAccess, constants: Mapping[HeadId, np.ndarray]) -> None:
    for head, constant in constants.items():
        if constant.shape != (access.d_head,):
            raise InputError(f"the constant of {head} has shape {constant.shape}; ({access.d_head},) is needed")
    owners: dict[int, int] = {}
    for index, layer in enumerate(access.layers):
        weight = layer.output.weight
        assert isinstance(weight, nn.Parameter)
        other = owners.setdefault(id(weight), index)
        if other != index:
            raise InputError(f"layers {other} and {index} share one o_proj: an edit of either would change both")
