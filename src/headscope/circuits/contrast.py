"""What corrupting the text changes in each source's write: Δ = corrupt − clean (method section 3)."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from headscope.circuits.endings import Endings
from headscope.circuits.operands import padded
from headscope.models import HeadAccess, Hook, attach_hooks, check_finite


@dataclass(frozen=True, eq=False)
class Writes:
    """What one pass over clean and corrupt endings wrote; run 0 is clean, run 1 corrupt.

    embeddings: what the model is given.
    heads: per layer z as it is written (``LayerAccess.write_hooks``), heads side by side.
    mlps: per layer what the MLP adds to the residual stream.
    residual: the residual stream at every ``HeadAccess.stream_inputs``: per layer before the attention and before the
        MLP, then before the final norm. The first is what the input writes (learned positions included, which are the
        same in both runs).
    logits: at the evaluated columns.
    """

    embeddings: Float[Tensor, "pair 2 ending d"]
    heads: list[Float[Tensor, "pair 2 ending z"]]
    mlps: list[Float[Tensor, "pair 2 ending d"]]
    residual: list[Float[Tensor, "pair 2 ending d"]]
    logits: Float[Tensor, "pair 2 column vocab"]


@torch.no_grad()
def contrast(run: Endings) -> Writes:
    """Run clean and corrupt endings in one pass and keep what the sources wrote.

    Raises InputError naming the first layer that writes something which is not a number.
    """
    embeddings = torch.stack([run.clean, run.corrupt], dim=1)
    kept: dict[tuple[str, int], Tensor] = {}
    with attach_hooks(_hooks(run.access, kept)):
        logits = run.logits(embeddings)
    layers, sites = range(len(run.access.layers)), range(len(run.access.stream_inputs))
    for layer in layers:
        check_finite(layer, kept["z", layer], kept["mlp", layer])
    return Writes(
        embeddings,
        [kept["z", layer] for layer in layers],
        [kept["mlp", layer] for layer in layers],
        [kept["residual", site] for site in sites],
        logits,
    )


def _hooks(access: HeadAccess, kept: dict[tuple[str, int], Tensor]) -> list[Hook]:
    def keep(what: str, index: int, value: Tensor) -> None:
        kept[what, index] = torch.unflatten(value, 0, (-1, 2))

    hooks = [Hook(module, "input", partial(keep, "residual", site)) for site, module in enumerate(access.stream_inputs)]
    for index, layer in enumerate(access.layers):
        hooks += layer.write_hooks(partial(keep, "z", index))
        hooks.append(Hook(layer.mlp_write, "output", partial(keep, "mlp", index)))
    return hooks


def differences(
    run: Endings, writes: Writes, positions: slice, dtype: torch.dtype
) -> Float[Tensor, "pair source position d"]:
    """Δ of all F sources, in the graph's order, at some ending positions; zeros where there are more (``padded``)."""
    access, graph = run.access, run.access.graph
    first = _delta(writes.residual[0], positions)
    found = first.new_empty(len(first), padded(len(graph.sources), dtype), *first.shape[1:], dtype=dtype)
    found[:, 0], found[:, len(graph.sources) :] = first, 0
    for layer, (z, mlp) in enumerate(zip(writes.heads, writes.mlps, strict=True)):
        heads = torch.unflatten(_delta(z, positions).to(dtype), -1, (access.heads, access.d_head))
        own = slice(graph.head_source(layer), graph.mlp_source(layer))
        found[:, own] = torch.einsum("pthe,hed->phtd", heads, access.output_weights(layer).to(dtype))
        found[:, graph.mlp_source(layer)] = _delta(mlp, positions)
    return found


def _delta(value: Float[Tensor, "pair 2 ending width"], positions: slice) -> Float[Tensor, "pair position width"]:
    return value[:, 1, positions].float() - value[:, 0, positions].float()
