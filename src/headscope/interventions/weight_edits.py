"""Interventions written into weights, so that every engine can serve the edited model (method section 6).

z' = factor · z + constant, for all positions: the factor scales the head's d_head input columns of o_proj (rows of
GPT-2's Conv1D), the constant is multiplied by them and added to o_proj's bias. An o_proj without a bias gets one
(``output_biases``). A reverted head's rows and columns are those of another model (``donor_weights``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import overload

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from transformers import PreTrainedModel

from headscope.errors import InputError
from headscope.heads import HeadId, Heads, HeadSet
from headscope.interventions.donor_weights import DonorWeights
from headscope.interventions.head_edits import check_numbers, head_grid
from headscope.interventions.output_biases import with_output_biases
from headscope.models import HeadAccess, Subject, as_model, head_access
from headscope.models.adapters import merged_copy
from headscope.models.projections import linear_bias, linear_weight
from headscope.models.subject import SubjectOrModel


@overload
def edit_weights(
    model: Subject, factors: Mapping[str, float], constants: Mapping[str, Float[np.ndarray, "_"]] | None = None
) -> Subject: ...


@overload
def edit_weights(
    model: nn.Module, factors: Mapping[str, float], constants: Mapping[str, Float[np.ndarray, "_"]] | None = None
) -> PreTrainedModel: ...


def edit_weights(
    model: SubjectOrModel,
    factors: Mapping[str, float],
    constants: Mapping[str, Float[np.ndarray, "_"]] | None = None,
) -> Subject | PreTrainedModel:
    """Return a copy of ``model`` in which each named head's write is multiplied by its factor, plus its constant.

    It has the same logits as a model with the hooks of ``scale`` and ``constant``. A ``Subject`` gives a ``Subject``, a
    plain model a plain model, and the original is unchanged. With constants the copy may be of another class, or of one
    whose checkpoints lose them: Phi 3, and Qwen 2 and Mistral with a sliding window (``with_output_biases``).

    Args:
        model: the model to edit.
        factors: factor of each head; 0 removes its own write.
        constants: by head, [d_head] in the units of z. With factor 0 the head writes only its constant, which is mean
            or optimal ablation; a head without a factor keeps its own write too.

    Raises:
        InputError: if a head does not exist or is named twice, a factor or constant has another shape or is not finite
            in float32, or two layers share an o_proj.
    """
    plain = as_model(model)
    access = head_access(plain)
    head_factors = _by_head("factor", factors)
    head_constants = {} if constants is None else _by_head("constant", constants, access.d_head)
    HeadSet.of([*head_factors, *head_constants]).grid(len(access.layers), access.heads)
    _check_owners([layer.output for layer in access.layers], "o_proj")
    edited = merged_copy(plain)
    if head_constants:
        edited = with_output_biases(edited)
    _edit(head_access(edited), head_factors, head_constants)
    return replace(model, model=edited) if isinstance(model, Subject) else edited


@overload
def revert_weights(model: Subject, heads: Heads, base: SubjectOrModel, *, kv: str = "all") -> Subject: ...


@overload
def revert_weights(model: nn.Module, heads: Heads, base: SubjectOrModel, *, kv: str = "all") -> PreTrainedModel: ...


def revert_weights(
    model: SubjectOrModel, heads: Heads, base: SubjectOrModel, *, kv: str = "all"
) -> Subject | PreTrainedModel:
    """Return a copy of ``model`` in which ``heads`` have the base's weights; with the models exchanged, a graft.

    It has the same logits as a model with the hooks of ``revert`` or ``graft``, and its type is as in ``edit_weights``.
    Raises InputError as ``revert`` does, and if two layers share a projection.
    """
    plain, grid = as_model(model), head_grid(model, heads)
    donor = DonorWeights.of(model, base, kv)
    access = head_access(plain)
    for index, name in enumerate("/".join(projection.heads) for projection in access.layers[0].projections):
        _check_owners([layer.projections[index].linear for layer in access.layers], f"{name}_proj")
    _check_owners([layer.output for layer in access.layers], "o_proj")
    edited = merged_copy(plain)
    edited_access = head_access(edited)
    for layer in np.flatnonzero(grid.any(axis=1)).tolist():
        donor.put_into(edited_access, layer, grid[layer])
    return replace(model, model=edited) if isinstance(model, Subject) else edited


@torch.no_grad()
def _edit(
    access: HeadAccess, factors: Mapping[HeadId, np.ndarray], constants: Mapping[HeadId, Float[np.ndarray, "_"]]
) -> None:
    for head, constant in constants.items():  # through the weights as they were
        output = access.layers[head.layer].output
        weight, bias = linear_weight(output)[:, _columns(access, head)], linear_bias(output)
        assert bias is not None
        # In float32, rounded once: a hook's constant is summed in the matrix product, not in the bias's precision.
        shift = weight.float() @ torch.as_tensor(constant, dtype=torch.float32, device=weight.device)
        bias.copy_((bias.float() + shift).to(bias.dtype))
    for head, factor in factors.items():
        linear_weight(access.layers[head.layer].output)[:, _columns(access, head)] *= float(factor)


def _columns(access: HeadAccess, head: HeadId) -> slice:
    return slice(head.head * access.d_head, (head.head + 1) * access.d_head)


def _by_head(kind: str, values: Mapping[str, object], *shape: int) -> dict[HeadId, np.ndarray]:
    """Return the factor or constant of each head. Raises InputError if one is unusable or a head is named twice."""
    if not isinstance(values, Mapping):
        raise InputError(f"{kind}s are {str(values)[:60]}; give each head its {kind}, as {{'L0H1': …}}")
    by_head = {}
    for name, value in values.items():
        by_head[HeadId.parse(name)] = check_numbers(f"the {kind} of {name}", value, *shape)
    if len(by_head) < len(values):
        raise InputError(f"{kind}s name a head twice: {', '.join(map(str, values))}; give each head one {kind}")
    return by_head


def _check_owners(modules: Sequence[nn.Module], name: str) -> None:
    owners: dict[int, int] = {}
    for index, module in enumerate(modules):
        weight = module.weight
        assert isinstance(weight, nn.Parameter)
        owner = owners.setdefault(id(weight), index)
        if owner != index:
            raise InputError(f"layers {owner} and {index} share one {name}: an edit of either would change both")
