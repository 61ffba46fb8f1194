"""Heads with another model's weights: ``revert`` gives heads of a post-trained model the base's, ``graft`` those of the
post-trained model to the base's heads. Both are one operation with the models exchanged.

A head's weights are its rows of q, its columns of o_proj, and its rows of k and v with the biases of these rows. Query
heads of one group share k and v, which change by the rule ``kv`` (``operator_names.SharedKv``). What all heads share
stays the model's own: o_proj's bias and norms over q and k. So do gpt-oss' attention sinks, which are in no projection.

A hook adds the difference of the weights times their input: the logits are those of edited weights up to rounding, and
bit by bit those of the model itself if the heads already have the donor's weights. A factor between 0 and 1 gives
a head the weights between the donor's (0) and its own (1).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakSet

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from headscope.errors import InputError, suggestion
from headscope.interventions.spans import SpanReader
from headscope.model_files.folder import check_same_attention
from headscope.models import HeadAccess, Hook, LayerAccess, as_model, head_access, name_of
from headscope.models.projections import linear_bias, linear_weight
from headscope.models.subject import SubjectOrModel
from headscope.operator_names import SHARED_KV

_LAYERS_WITH_DONOR: WeakSet[nn.Module] = WeakSet()
"""Output projections of layers whose heads have a donor's weights at present: a second difference would add to it."""


@dataclass(frozen=True, eq=False)
class _Difference:
    """Weights of a linear map of the donor less the model's own. bias: None if neither has one, or for o_proj."""

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"] | None = None


@dataclass(frozen=True, eq=False)
class DonorWeights:
    """Weights that heads of one model can take from another model; made by ``of``.

    access, donor: head access to the model and to the donor.
    kv: whether keys and values shared by a group change if ``any`` or only if ``all`` of its heads are edited.
    """

    access: HeadAccess
    donor: HeadAccess
    kv: str
    _differences: dict[int, tuple[tuple[_Difference, ...], _Difference]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, model: SubjectOrModel, donor: SubjectOrModel, kv: str = "all") -> "DonorWeights":
        """Return the weights that heads of ``model`` can take from ``donor``.

        Raises InputError if the two differ in architecture or shape, only one has biases on q, k or v, weights are
        quantised, or the rule does not exist.
        """
        if kv not in SHARED_KV:
            raise InputError(f"kv {kv!r} does not exist{suggestion(kv, SHARED_KV)}")
        plain, plain_donor = as_model(model), as_model(donor)
        names = {"model_name": name_of(model), "donor_name": name_of(donor)}
        check_same_attention(plain.config.to_dict(), plain_donor.config.to_dict(), **names)
        access, donor_access = head_access(plain), head_access(plain_donor)
        for layer, (own, other) in enumerate(zip(access.layers, donor_access.layers, strict=True)):
            for projection, donor_projection in zip(own.projections, other.projections, strict=True):
                has_bias = linear_bias(projection.linear) is not None
                if has_bias != (linear_bias(donor_projection.linear) is not None):
                    ports = " and ".join(projection.heads)
                    names_in_order = tuple(names.values()) if has_bias else tuple(names.values())[::-1]
                    raise InputError(
                        f"{names_in_order[0]} has biases on {ports} of layer {layer} and {names_in_order[1]} has none; "
                        "heads take weights from a model with the same biases"
                    )
        return cls(access, donor_access, kv)

    def edit(
        self, access: HeadAccess, layer: int, factors: Float[np.ndarray, "row head"], span: SpanReader | None
    ) -> "DonorEdit":
        """Return the edit of one layer of the model of ``access``, a row of factors per row of a pass or one for all.

        Raises InputError if the model is not the one that ``of`` was given, or the layer has a donor's weights already.
        """
        projection = access.layers[layer].output
        if projection is not self.access.layers[layer].output:
            raise InputError("these weights are for another model's heads; make them by DonorWeights.of(model, donor)")
        if projection in _LAYERS_WITH_DONOR:
            raise InputError(
                f"heads of layer {layer} have another model's weights already; name all heads of a layer in one revert "
                "or graft"
            )
        if layer not in self._differences:
            self._differences[layer] = self._layer_differences(layer)
        shares = 1 - factors
        differences, output = self._differences[layer]
        reading = []
        for index, difference in enumerate(differences):
            reading.append(_PartialDifference(difference, self._output_mask(layer, index, shares)[:, None]))
        return DonorEdit(
            self.access.layers[layer], reading, _PartialDifference(output, self._columns(shares)[:, None]), span
        )

    @torch.no_grad()
    def put_into(self, edited: HeadAccess, layer: int, heads: Bool[np.ndarray, " head"]) -> None:
        """Write the donor's weights of ``heads`` into a copy of the model."""
        shares = heads[None].astype(np.float32)
        donor, target = self.donor.layers[layer], edited.layers[layer]
        for index, projection in enumerate(target.projections):
            rows = self._output_mask(layer, index, shares)[0] == 1
            _copy_rows(linear_weight(projection.linear), linear_weight(donor.projections[index].linear), rows)
            bias, donor_bias = linear_bias(projection.linear), linear_bias(donor.projections[index].linear)
            if bias is not None and donor_bias is not None:
                _copy_rows(bias, donor_bias, rows)
        # The columns of o_proj are the rows of its transpose, a view.
        _copy_rows(linear_weight(target.output).T, linear_weight(donor.output).T, self._columns(shares)[0] == 1)

    def _layer_differences(self, layer: int) -> tuple[tuple[_Difference, ...], _Difference]:
        own, donor = self.access.layers[layer], self.donor.layers[layer]
        projections = []
        for projection, other in zip(own.projections, donor.projections, strict=True):
            projections.append(_difference(projection.linear, other.linear))
        return tuple(projections), _Difference(_difference(own.output, donor.output).weight)

    def _output_mask(self, layer: int, index: int, shares: Float[np.ndarray, "row head"]) -> Float[Tensor, "row out"]:
        """Return the donor's share of each output of a layer's projection."""
        groups = shares.reshape(len(shares), self.access.kv_heads, -1)
        kv_shares = groups.min(-1) if self.kv == "all" else groups.max(-1)
        by_port: Mapping[str, Float[np.ndarray, "row _"]] = {"q": shares, "k": kv_shares, "v": kv_shares}
        projection = self.access.layers[layer].projections[index]
        ports = {}
        for port in projection.heads:
            share = torch.as_tensor(by_port[port], dtype=torch.float32)
            ports[port] = share[..., None].expand(*share.shape, self.access.d_head)
        return projection.join(ports)

    def _columns(self, shares: Float[np.ndarray, "row head"]) -> Float[Tensor, "row z"]:
        """Return the donor's share of each column of o_proj."""
        return torch.as_tensor(shares, dtype=torch.float32).repeat_interleave(self.access.d_head, dim=1)


@dataclass(eq=False)
class _PartialDifference:
    """A difference and the share of it in each row of a pass, per output of a projection or input of o_proj."""

    difference: _Difference
    share: Float[Tensor, "row 1 _"]

    def to(self, like: Tensor) -> "_PartialDifference":
        """Move both to the device and dtype of a pass, once."""
        self.share = self.share.to(like)
        bias = self.difference.bias
        self.difference = _Difference(self.difference.weight.to(like), None if bias is None else bias.to(like))
        return self


@contextmanager
def reserve_layers(layers: Collection[LayerAccess]) -> Iterator[None]:
    """Refuse other donors for ``layers`` inside the block."""
    outputs = [layer.output for layer in layers]
    _LAYERS_WITH_DONOR.update(outputs)
    try:
        yield
    finally:
        _LAYERS_WITH_DONOR.difference_update(outputs)


class DonorEdit:
    """One layer whose heads take a share of the donor's weights, row by row."""

    def __init__(
        self,
        access: LayerAccess,
        reading: Sequence[_PartialDifference],
        writing: _PartialDifference,
        span: SpanReader | None,
    ) -> None:
        self._access, self._reading, self._writing, self._span = access, reading, writing, span

    def reading_hooks(self, by_row: bool = True) -> list[Hook]:
        """Return hooks on the projections to q, k and v."""
        hooks = []
        for projection, portion in zip(self._access.projections, self._reading, strict=True):
            hooks.append(Hook(projection.linear, "both", partial(self._read, portion), by_row))
        return hooks

    def writing_hook(self, by_row: bool = True) -> Hook:
        """Return the hook on o_proj."""
        return Hook(self._access.output, "both", lambda z, written: written + self.added(z).to(written), by_row)

    def added(self, z: Float[Tensor, "row token z"]) -> Float[Tensor, "row token d"]:
        """Return what the donor's columns of o_proj write less what the model's own write."""
        portion = self._writing.to(z)
        return self._in_span(nn.functional.linear(z * portion.share, portion.difference.weight))

    def _read(
        self, portion: _PartialDifference, read: Float[Tensor, "row token in"], output: Float[Tensor, "row token out"]
    ) -> Float[Tensor, "row token out"]:
        portion = portion.to(read)
        added = nn.functional.linear(read, portion.difference.weight, portion.difference.bias)
        return output + self._in_span(added * portion.share).to(output)

    def _in_span(self, added: Float[Tensor, "row token _"]) -> Float[Tensor, "row token _"]:
        return added if self._span is None else added * self._span.contains(added.device)[..., None]


@torch.no_grad()
def _difference(own: nn.Module, donor: nn.Module) -> _Difference:
    weight = _subtract(linear_weight(donor), linear_weight(own))
    bias, donor_bias = linear_bias(own), linear_bias(donor)
    return _Difference(weight, None if bias is None or donor_bias is None else _subtract(donor_bias, bias))


def _subtract(donor: Tensor, own: Tensor) -> Tensor:
    # 16-bit weights lie close together: their difference is taken in float32 and rounded once.
    wide = torch.promote_types(own.dtype, torch.float32)
    return (donor.to(own.device, wide) - own.to(wide)).to(own.dtype)


def _copy_rows(target: Tensor, source: Tensor, rows: Bool[Tensor, "_"]) -> None:
    places = rows.nonzero()[:, 0].to(target.device)
    target[places] = source[places.to(source.device)].to(target)
