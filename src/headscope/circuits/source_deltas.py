"""Record what each source writes on the clean and the corrupt text, and subtract: Δ = corrupt − clean (method section
3)."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from headscope.circuits.contraction import pad_count
from headscope.circuits.prefix_cache import EndingRunner
from headscope.models import HeadAccess, Hook, attach_hooks, check_finite


@dataclass(frozen=True, eq=False)
class SourceWrites:
    """Outputs of the sources in one pass over clean and corrupt endings; run 0 is clean, run 1 corrupt.

    embeddings: the input embeddings.
    heads: per layer z as it is written (``LayerAccess.on_write``), heads side by side.
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
def record_writes(runner: EndingRunner) -> SourceWrites:
    """Run clean and corrupt endings in one pass and return what each source added to the residual stream.

    Raises InputError naming the first layer that writes a number which is not finite.
    """
    access = runner.access
    embeddings = torch.stack([runner.clean_embeddings, runner.corrupt_embeddings], dim=1)
    heads: dict[int, Tensor] = {}
    mlps: dict[int, Tensor] = {}
    residual: dict[int, Tensor] = {}
    hooks = [Hook(module, "input", partial(_store, residual, site)) for site, module in enumerate(access.stream_inputs)]
    for index, layer in enumerate(access.layers):
        hooks += layer.write_hooks(partial(_store, heads, index))
        hooks.append(Hook(layer.mlp_write, "output", partial(_store, mlps, index)))
    # One pass for both runs, which share the prefix.
    with attach_hooks(hooks):
        logits = runner.logits(embeddings)
    layers = range(len(access.layers))
    for index in layers:
        check_finite(index, heads[index], mlps[index])
    return SourceWrites(
        embeddings,
        [heads[index] for index in layers],
        [mlps[index] for index in layers],
        [residual[site] for site in range(len(access.stream_inputs))],
        logits,
    )


def _store(record: dict[int, Tensor], index: int, tensor: Tensor) -> None:
    """Store what a hook sees, with the clean and the corrupt run of each pair on axes of their own."""
    record[index] = torch.unflatten(tensor, 0, (-1, 2))


def source_deltas(
    access: HeadAccess, writes: SourceWrites, positions: slice, dtype: torch.dtype
) -> Float[Tensor, "pair source position d"]:
    """Return Δ = corrupt − clean write of all F sources, in the graph's order, at some ending positions.

    It is subtracted in float32 and then converted to ``dtype``.
    Rows of zeros follow the last source if products of ``dtype`` are faster with more rows (``pad_count``).
    """
    graph = access.graph
    embedding_delta = _corrupt_minus_clean(writes.residual[0], positions)
    rows = pad_count(len(graph.sources), dtype)
    deltas = embedding_delta.new_empty(len(embedding_delta), rows, *embedding_delta.shape[1:], dtype=dtype)
    deltas[:, 0] = embedding_delta
    deltas[:, len(graph.sources) :] = 0
    for layer in range(len(access.layers)):
        z = _corrupt_minus_clean(writes.heads[layer], positions).to(dtype)
        z = torch.unflatten(z, -1, (access.heads, access.d_head))
        heads = slice(graph.head_source(layer), graph.mlp_source(layer))
        deltas[:, heads] = torch.einsum("pthe,hed->phtd", z, access.output_weights(layer).to(dtype))
        deltas[:, graph.mlp_source(layer)] = _corrupt_minus_clean(writes.mlps[layer], positions)
    return deltas


def _corrupt_minus_clean(
    runs: Float[Tensor, "pair 2 ending width"], positions: slice
) -> Float[Tensor, "pair position width"]:
    # Subtracted in float32: in 16 bits the difference of two near numbers would be mostly rounding.
    return runs[:, 1, positions].float() - runs[:, 0, positions].float()
