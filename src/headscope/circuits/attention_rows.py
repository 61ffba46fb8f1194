"""Attention rows: how much of each earlier token a head reads at every token of a text, as the model computes it.

1. Attention is computed eagerly inside the block: fused kernels do not return their rows. Sliding windows,
   soft-capping and sinks are the model's own code, so that nothing about an architecture is repeated here.
2. The text is run alone and without padding.
3. Every layer's rows are checked: times the values of that pass, they must give what its heads write.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from headscope.circuits.frozen_model import frozen_model
from headscope.errors import InputError
from headscope.heads import HeadId
from headscope.models import HeadAccess, Hook, Subject, as_model, attach_hooks, head_access
from headscope.models.validation import rounding_tolerance
from headscope.pairs import Tokens
from headscope.pairs.tokens import check_texts_fit, token_rows


@torch.no_grad()
def attention_rows(
    model: Subject | nn.Module, text: Iterable[object], heads: Iterable[str | HeadId | Sequence[int]]
) -> Float[np.ndarray, "head query key"]:
    """Return the attention rows of ``heads``, in their order, at every token of ``text`` (method sections 5 and 8).

    Row ``[h, i]`` holds the weights with which head h reads the tokens 0 to i, and 0 after i. It sums to 1, or to less
    in a model with attention sinks (gpt-oss), which take the remainder. float32; computed in the model's own dtype.

    Args:
        model: a ``Subject`` or a plain Hugging Face model in evaluation mode, without hooks that change what heads
            write.
        text: token ids; at least one.
        heads: heads of the model, as ids or names.

    Raises:
        InputError: if a head or token does not exist, the text is empty or longer than learned positions allow, or
            the model's attention returns no rows, or rows that do not reproduce what its heads write.
    """
    (tokens,), chosen = token_rows([text]), [HeadId.parse(head) for head in heads]
    _check(head_access(as_model(model)), tokens, chosen)
    by_layer: dict[int, list[int]] = {}
    for place, head in enumerate(chosen):
        by_layer.setdefault(head.layer, []).append(place)
    rows = np.zeros((len(chosen), len(tokens), len(tokens)), dtype=np.float32)

    def keep(layer: int, weights: Float[np.ndarray, "head query key"]) -> None:
        places = by_layer[layer]
        rows[places] = weights[[chosen[place].head for place in places]]

    visit_attention_rows(model, tokens, keep, sorted(by_layer))
    return rows


@torch.no_grad()
def visit_attention_rows(
    model: Subject | nn.Module,
    text: Tokens,
    visit: Callable[[int, Float[np.ndarray, "head query key"]], None],
    layers: Sequence[int] | None = None,
) -> None:
    """Call ``visit`` with the number and the rows of one layer after another, as in ``attention_rows``.

    No layer is kept longer than that, so that long texts fit.

    Args:
        model, text: as in ``attention_rows``.
        visit: takes a layer and the attention rows of all its heads.
        layers: those that are visited; None for all.

    Raises:
        InputError: as ``attention_rows`` does.
    """
    plain = as_model(model)
    access = head_access(plain)
    chosen = range(len(access.layers)) if layers is None else layers
    _check(access, text, [HeadId(layer, 0) for layer in chosen])

    def receive(layer: int, weights: Float[Tensor, "head query key"]) -> None:
        visit(layer, weights.float().cpu().numpy())

    ids = torch.as_tensor(np.asarray(text), device=access.device)[None]
    hooks = _row_hooks(plain, access, chosen, receive)
    with frozen_model(plain), _eager_attention(plain), attach_hooks(hooks):
        plain.base_model(input_ids=ids, use_cache=False)


def _check(access: HeadAccess, text: Tokens, heads: Sequence[HeadId]) -> None:
    for head in heads:
        if not (0 <= head.layer < len(access.layers) and 0 <= head.head < access.heads):
            size = f"layers 0-{len(access.layers) - 1} and heads 0-{access.heads - 1}"
            raise InputError(f"head {head} does not exist: the model has {size}")
    if not len(text):
        raise InputError("a text without tokens has no attention; give at least one")
    check_texts_fit(token_rows([text]), access.vocabulary, access.longest)


@contextmanager
def _eager_attention(model: PreTrainedModel) -> Iterator[None]:
    """Make the model compute attention eagerly inside the block, which returns its rows."""
    former = model.config._attn_implementation
    if former == "eager":
        yield
        return
    try:
        model.set_attn_implementation("eager")
        yield
    finally:
        model.set_attn_implementation(former)


def _row_hooks(
    model: PreTrainedModel, access: HeadAccess, layers: Sequence[int], keep: Callable[[int, Tensor], None]
) -> Iterator[Hook]:
    """Yield hooks that check each layer's rows and pass them on before the next layer is computed."""
    for index in layers:
        layer = access.layers[index]
        seen: dict[object, Tensor] = {}  # of this layer's pass: each projection's output, and z
        for projection in layer.projections:
            yield Hook(projection.module, "output", partial(seen.__setitem__, projection))
        yield Hook(layer.output, "input", partial(seen.__setitem__, "z"))

        def receive(_written: Tensor, weights: object = None, *_: object, index: int = index, seen: Any = seen) -> None:
            keep(index, _checked_rows(model, access, index, seen, weights))

        yield Hook(layer.attention, "parts", receive)


def _checked_rows(
    model: PreTrainedModel, access: HeadAccess, index: int, outputs: dict[object, Tensor], weights: object
) -> Float[Tensor, "head query key"]:
    """Return a layer's rows. Raises InputError unless they reproduce what its heads write."""
    name, z = f"layer {index} of {model.config.model_type}", outputs["z"][0]
    needed = (1, access.heads, len(z), len(z))
    if not isinstance(weights, Tensor) or tuple(weights.shape) != needed:
        raise InputError(
            f"{name} does not return its attention rows; only models whose eager attention returns rows can be read"
        )
    layer = access.layers[index]
    values = access.split(index, [outputs[projection] for projection in layer.projections])["v"][0]
    values = values.repeat_interleave(access.heads // values.shape[-2], dim=-2)
    written = torch.einsum("hqk,khd->qhd", weights[0].float(), values.float())
    actual = torch.unflatten(z, -1, (access.heads, -1)).float()
    error = float((written - actual).norm() / actual.norm().clamp_min(1e-30))
    allowed = rounding_tolerance(model.dtype)
    if not error <= allowed:  # so written that NaN fails
        raise InputError(
            f"{name}: attention rows times values miss what heads write by {error:.1e} (allowed {allowed:.0e})"
        )
    return weights[0]
