"""What edges outside a circuit carry: the corrupt text's writes, nothing, or the mean (method section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headscope.circuits.contrast import Writes, contrast
from headscope.circuits.endings import Endings
from headscope.models import HeadAccess, Hook, attach_hooks
from headscope.models.projections import linear_bias


@dataclass(frozen=True, eq=False)
class Patch:
    """What edges outside a circuit carry, per pair and ending position (both axes may be 1: the same everywhere).

    stream: the residual stream at every ``HeadAccess.stream_inputs`` if all edges carried it; what no source writes
        (biases, learned positions) is in it. Its first is what the input writes, plus learned positions.
    heads: per layer z. mlps: per layer what the MLP adds to the stream.
    """

    stream: list[Float[Tensor, "pair ending d"]]
    heads: list[Float[Tensor, "_ _ z"]]
    mlps: list[Float[Tensor, "_ _ d"]]


def corrupt_patch(writes: Writes) -> Patch:
    """Every edge outside the circuit carries what its source writes on the corrupt text."""
    runs = ([value[:, 1] for value in values] for values in (writes.residual, writes.heads, writes.mlps))
    return Patch(*runs)


@dataclass(frozen=True, eq=False)
class Constants:
    """One write per source, the same at every position of every text. input: [d]. heads: per layer z. mlps: per layer
    [d].
    """

    input: Float[Tensor, " d"]
    heads: list[Float[Tensor, " z"]]
    mlps: list[Float[Tensor, " d"]]


def constant_patch(run: Endings, writes: Writes, constants: Constants) -> Patch:
    """Every edge outside the circuit carries its source's constant.

    The run's endings must be the whole texts: positions that both texts share are patched too.
    """
    access, device = run.access, run.clean.device
    sites, stream = [], unwritten(run) + constants.input.to(device)
    for layer, (z, mlp) in enumerate(zip(constants.heads, constants.mlps, strict=True)):
        sites.append(stream)
        heads = stream + (z @ _output_weights(access, layer)).to(device) + _bias(access, writes, layer).to(device)
        sites.append(stream if access.parallel else heads)
        stream = heads + mlp.to(device)
    sites.append(stream)
    return Patch(sites, [z[None, None] for z in constants.heads], [mlp[None, None] for mlp in constants.mlps])


def _bias(access: HeadAccess, writes: Writes, layer: int) -> Float[Tensor, "*batch d"]:
    """What a layer's attention adds to the stream of the clean run beside what its heads write."""
    blocks = access.layers[layer]
    norm = blocks.attention_post_norm
    if linear_bias(blocks.output) is None and (norm is None or norm.bias is None):
        return torch.zeros(access.d_model)  # not the rounding of a difference: a norm would blow it up
    before, after = (writes.residual[2 * site][:, 0].float() for site in (layer, layer + 1))
    heads = writes.heads[layer][:, 0].float() @ _output_weights(access, layer)
    return after - before.to(after) - writes.mlps[layer][:, 0].to(after) - heads.to(after)


def _output_weights(access: HeadAccess, layer: int) -> Float[Tensor, "z d"]:
    return access.output_weights(layer).float().flatten(0, 1)


def zero_writes(writes: Writes) -> Constants:
    """Nothing is written."""

    def zeros(value: Tensor) -> Tensor:
        return torch.zeros(value.shape[-1], device=value.device)

    heads, mlps = ([zeros(value) for value in values] for values in (writes.heads, writes.mlps))
    return Constants(zeros(writes.embeddings), heads, mlps)


@dataclass(frozen=True, eq=False)
class Sums:
    """What each source writes, summed over ``tokens`` clean tokens in float64: the input, all heads' z, all MLPs."""

    values: list[Float[Tensor, " _"]]
    tokens: int


def summed_writes(run: Endings) -> Sums:
    """Of all tokens of a run's clean texts; the endings must be the whole texts."""
    writes = contrast(run)
    own = writes.residual[0][:, 0].to(run.clean.device) - unwritten(run)
    inside = run.batch.mask[:, -run.batch.ending :, None] > 0  # padding is no token
    values = [own, *(value[:, 0] for value in (*writes.heads, *writes.mlps))]
    sums = [torch.where(inside.to(value.device), value, 0).sum((0, 1), dtype=torch.float64) for value in values]
    return Sums(sums, int(inside.sum()))


def mean_writes(parts: Sequence[Sums]) -> Constants:
    """The mean of what each source writes, every token counting alike."""
    tokens = sum(part.tokens for part in parts)
    first, *rest = (sum(values) / tokens for values in zip(*(part.values for part in parts), strict=True))
    means = [value.float() for value in rest]
    return Constants(first.float(), means[: len(means) // 2], means[len(means) // 2 :])


@torch.no_grad()
def unwritten(run: Endings) -> Float[Tensor, "pair ending d"]:
    """What the residual stream holds before layer 0 beside the token embeddings: learned positions, or nothing."""
    kept: list[Tensor] = []
    with attach_hooks([Hook(run.access.stream_inputs[0], "input", kept.append)]):
        run.logits(torch.zeros_like(run.clean)[:, None])
    return kept[0].to(run.clean.device, torch.float32)
