"""Compute the values that replace the edges outside a circuit: corrupt writes, zeros or means (method section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headscope.circuits.prefix_cache import EndingRunner
from headscope.circuits.source_deltas import SourceWrites, record_writes
from headscope.models import HeadAccess, Hook, attach_hooks
from headscope.models.projections import linear_bias


@dataclass(frozen=True, eq=False)
class Patch:
    """The values that edges outside a circuit carry, [pair, ending, width]; axes of length 1 stand for all places.

    stream: the residual stream at every ``HeadAccess.stream_inputs`` if all edges carried it; it includes what no
        source writes (biases, learned positions). The first is the input's write plus learned positions.
    heads: per layer z. mlps: per layer what the MLP adds to the stream.
    """

    stream: list[Float[Tensor, "pair ending d"]]
    heads: list[Float[Tensor, "_ _ z"]]
    mlps: list[Float[Tensor, "_ _ d"]]


@dataclass(frozen=True, eq=False)
class ConstantWrites:
    """Constants that replace what sources write, the same at every position of every text.

    input: of the token embeddings. heads: per layer z, heads next to each other. mlps: per layer.
    """

    input: Float[Tensor, " d"]
    heads: list[Float[Tensor, " z"]]
    mlps: list[Float[Tensor, " d"]]


@dataclass(frozen=True, eq=False)
class WriteSums:
    """Sums of what each source writes on ``tokens`` clean tokens, in float64; fields as in ``ConstantWrites``."""

    input: Float[Tensor, " d"]
    heads: list[Float[Tensor, " z"]]
    mlps: list[Float[Tensor, " d"]]
    tokens: int


def corrupt_patch(writes: SourceWrites) -> Patch:
    """Return the patch in which every edge carries what its source writes on the corrupt text."""
    return Patch(
        stream=[runs[:, 1] for runs in writes.residual],
        heads=[runs[:, 1] for runs in writes.heads],
        mlps=[runs[:, 1] for runs in writes.mlps],
    )


def constant_patch(runner: EndingRunner, writes: SourceWrites, constants: ConstantWrites) -> Patch:
    """Return the patch in which every edge carries its source's constant.

    The runner's endings must be the whole texts: positions that both texts share are patched too.
    """
    access, device = runner.access, runner.clean_embeddings.device
    stream = learned_positions(runner) + constants.input.to(device)
    sites = []
    for layer, (z, mlp) in enumerate(zip(constants.heads, constants.mlps, strict=True)):
        sites.append(stream)
        heads = (z @ _output_weights(access, layer)).to(device)
        after_attention = stream + heads + _attention_bias(access, writes, layer).to(device)
        # In a parallel layer the MLP reads the stream before the attention is added.
        sites.append(stream if access.parallel else after_attention)
        stream = after_attention + mlp.to(device)
    sites.append(stream)
    return Patch(sites, [z[None, None] for z in constants.heads], [mlp[None, None] for mlp in constants.mlps])


def _attention_bias(access: HeadAccess, writes: SourceWrites, layer: int) -> Float[Tensor, "*batch d"]:
    """Return what a layer's attention adds to the clean run's stream in addition to its heads' writes."""
    modules = access.layers[layer]
    norm = modules.attention_post_norm
    if linear_bias(modules.output) is None and (norm is None or norm.bias is None):
        # Not the rounding of a difference: a norm would blow it up.
        return torch.zeros(access.d_model, dtype=torch.float32)
    before = writes.residual[2 * layer][:, 0].float()
    after = writes.residual[2 * (layer + 1)][:, 0].float()
    heads = writes.heads[layer][:, 0].float() @ _output_weights(access, layer)
    return after - before.to(after) - writes.mlps[layer][:, 0].to(after) - heads.to(after)


def _output_weights(access: HeadAccess, layer: int) -> Float[Tensor, "z d"]:
    return access.output_weights(layer).float().flatten(0, 1)


def zero_writes(writes: SourceWrites) -> ConstantWrites:
    """Return zeros in the shapes of ``writes``: the constants of the zero patch."""
    return ConstantWrites(
        input=_zeros_like_write(writes.embeddings),
        heads=[_zeros_like_write(runs) for runs in writes.heads],
        mlps=[_zeros_like_write(runs) for runs in writes.mlps],
    )


def _zeros_like_write(runs: Float[Tensor, "pair 2 ending width"]) -> Float[Tensor, " width"]:
    return torch.zeros(runs.shape[-1], dtype=torch.float32, device=runs.device)


def sum_writes(runner: EndingRunner) -> WriteSums:
    """Return the sums over all tokens of the runner's clean texts; its endings must be the whole texts."""
    writes = record_writes(runner)
    is_token = runner.batch.mask[:, -runner.batch.ending :, None] > 0  # padding is no token

    def sum_tokens(clean: Float[Tensor, "pair ending width"]) -> Float[Tensor, " width"]:
        # float64, so that the mean does not depend on how the pairs were batched.
        return torch.where(is_token.to(clean.device), clean, 0).sum((0, 1), dtype=torch.float64)

    input_write = writes.residual[0][:, 0].to(runner.clean_embeddings.device) - learned_positions(runner)
    return WriteSums(
        input=sum_tokens(input_write),
        heads=[sum_tokens(runs[:, 0]) for runs in writes.heads],
        mlps=[sum_tokens(runs[:, 0]) for runs in writes.mlps],
        tokens=int(is_token.sum()),
    )


def mean_writes(batches: Sequence[WriteSums]) -> ConstantWrites:
    """Return the mean over all tokens of all batches of what each source writes, in float32."""
    tokens = sum(sums.tokens for sums in batches)
    layers = range(len(batches[0].heads))
    return ConstantWrites(
        input=_mean([sums.input for sums in batches], tokens),
        heads=[_mean([sums.heads[layer] for sums in batches], tokens) for layer in layers],
        mlps=[_mean([sums.mlps[layer] for sums in batches], tokens) for layer in layers],
    )


def _mean(sums: Sequence[Float[Tensor, " width"]], tokens: int) -> Float[Tensor, " width"]:
    return (sum(sums[1:], sums[0]) / tokens).float()


@torch.no_grad()
def learned_positions(runner: EndingRunner) -> Float[Tensor, "pair ending d"]:
    """Return what the residual stream holds before layer 0 apart from the token embeddings: learned positions, or 0."""
    streams: list[Tensor] = []
    with attach_hooks([Hook(runner.access.stream_inputs[0], "input", streams.append)]):
        runner.logits(torch.zeros_like(runner.clean_embeddings)[:, None])
    return streams[0].to(runner.clean_embeddings.device, torch.float32)
