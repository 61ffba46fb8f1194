"""Forward passes that start at a patch: everything before it is as in the clean run and is not computed again."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from headscope.circuits.contrast import Writes
from headscope.circuits.endings import Endings
from headscope.circuits.objective import Objective
from headscope.circuits.patching import own_ports
from headscope.models import Hook, attached, ungrouped
from headscope.results.graph import PORTS

# Tokens one pass may hold on a CPU: more make it no faster (measured on the lab's models).
CPU_TOKENS = 1024
# Bytes the rows of one pass may take: a block's activations, keys and values with their prefix, logits.
PASS_BYTES = 512 * 2**20
# What a block makes per token, in residual widths (norms, q, k, v, attention, MLP); what logits take while a metric is
# computed, in copies.
_WIDTHS, _LOGITS = 24, 4

# Changes of the loss, in parts: which sources, and per pair, source and reader the change.
Changes = Iterator[tuple[slice, Float[np.ndarray, "pair source reader"]]]
# What sources write on the corrupt text less what they write on the clean one.
Deltas = Float[Tensor, "source pair ending d"]


class Replay:
    """The clean run of one batch, played again from where a reader's input departs by a source's Δ.

    Blocks before that hand on what they are given, and the one it is in is given the clean residual stream. Every
    public method gives the change of the loss from the clean run's, for each source on its own.
    """

    def __init__(self, run: Endings, writes: Writes, objective: Objective) -> None:
        self.run, self.writes, self.objective, self.access = run, writes, objective, run.access
        self.blocks = [layer.block for layer in run.access.layers]
        self.clean = objective(writes.logits[:, :1])
        self.rows = self._rows()

    def into_heads(
        self, layer: int, deltas: Deltas, ports: Int[Tensor, " reader"], heads: Bool[Tensor, "reader head"]
    ) -> Changes:
        """Each of a layer's attention inputs departs on its own: at port ``ports`` (0 q, 1 k, 2 v), of its ``heads``.

        Heads of a layer do not see each other, so one row in which all of them read the departed stream at one port
        holds z of each; a row per input then takes the z of its heads, and attention is not run again.
        """
        clean = self._clean_z(layer)
        ports, heads = ports.to(clean.device), heads.to(clean.device)
        for sources in _slices(len(deltas), self.rows // len(PORTS)):
            z = self._z(layer, deltas[sources])
            changes = []
            for rows in torch.split(torch.arange(z.shape[1] * len(ports), device=z.device), self.rows):
                source, reader = rows // len(ports), rows % len(ports)
                own = heads[reader][:, None, :, None]
                mixed = torch.where(own, z[:, source, ports[reader]], clean[:, None])
                changes.append(self._changes(layer, len(rows), [], mixed))
            yield sources, np.concatenate(changes, axis=1).reshape(z.shape[0], z.shape[1], len(ports))

    def into_mlp(self, layer: int, deltas: Deltas) -> Changes:
        """The input of a layer's MLP departs."""
        return self._departing(layer, deltas, self.access.layers[layer].mlp_input, "input")

    def into_logits(self, deltas: Deltas) -> Changes:
        """The final norm's input departs."""
        return self._departing(len(self.blocks), deltas, self.access.final_norm.module, "input")

    def after_heads(self, layer: int, deltas: Deltas) -> Changes:
        """What a layer's attention adds to the residual stream departs, for everything that reads it."""
        norm, output = self.access.layers[layer].attention_post_norm, self.access.layers[layer].output
        return self._departing(layer, deltas, output if norm is None else norm.module, "output")

    def _departing(self, layer: int, deltas: Deltas, module: nn.Module, kind: Literal["input", "output"]) -> Changes:
        clean = self._clean_z(layer)[:, None] if layer < len(self.blocks) else None
        for sources in _slices(len(deltas), self.rows):
            moved = deltas[sources].transpose(0, 1)
            runs = moved.shape[1]
            z = None if clean is None else clean.expand(-1, runs, -1, -1, -1)
            hook = Hook(module, kind, partial(_depart, moved.flatten(0, 1)))
            yield sources, self._changes(layer, runs, [hook], z)[..., None]

    def _clean_z(self, layer: int) -> Float[Tensor, "pair ending head d_head"]:
        return self._z(layer, self.writes.residual[2 * layer][:, 0].new_zeros(1, *self._shape))[:, 0, 0]

    @property
    def _shape(self) -> torch.Size:
        """Pair, ending, d."""
        return self.writes.residual[0][:, 0].shape

    def _z(self, layer: int, deltas: Deltas) -> Float[Tensor, "pair source port ending head d_head"]:
        """z of a layer's heads with the input of one port departed: all of them at once, each as if it were alone."""
        access, stream = self.access, self.writes.residual[2 * layer][:, 0]
        departures = torch.cat([torch.zeros_like(deltas[:1]), deltas]).transpose(0, 1).to(stream.device)
        streams = (stream[:, None] + departures).to(stream.dtype)
        values = access.read_heads(layer, streams.expand(len(PORTS) * access.heads, *streams.shape))
        ports = torch.unflatten(values, -2, (len(PORTS), access.heads))
        one = torch.eye(len(PORTS), dtype=torch.bool, device=ports.device)[:, None, :, None, None]
        rows = torch.where(one, ports[:, 1:, None], ports[:, :1, None])  # pair source row ending port head d_head
        kept: list[Tensor] = []
        hooks = [
            *own_ports(access, layer, lambda: rows.flatten(0, 2).flatten(2, 3)),
            Hook(access.layers[layer].output, "input", kept.append),
        ]
        idle = {block: _hand_on for index, block in enumerate(self.blocks) if index != layer}
        with ungrouped(access):
            self._logits(layer, rows.shape[1] * len(PORTS), hooks, idle)
        return torch.unflatten(torch.unflatten(kept[0], -1, (access.heads, access.d_head)), 0, rows.shape[:3])

    def _changes(
        self, layer: int, runs: int, hooks: list[Hook], z: Float[Tensor, "pair run ending head d_head"] | None
    ) -> Float[np.ndarray, "pair run"]:
        """Play on from ``layer``, whose attention is not run but gives ``z`` to its output projection."""
        instead: dict[nn.Module, Callable[..., Any]] = dict.fromkeys(self.blocks[:layer], _hand_on)
        if z is not None:
            blocks, rows = self.access.layers[layer], z.flatten(0, 1).flatten(2).contiguous()
            instead[blocks.attention] = lambda *_args, **_kwargs: (blocks.output(rows), None)
        change = self.objective(self._logits(layer, runs, hooks, instead)) - self.clean
        found: Float[np.ndarray, "pair run"] = change.float().cpu().numpy()
        return found

    def _logits(
        self, layer: int, runs: int, hooks: list[Hook], instead: Mapping[nn.Module, Callable[..., Any]]
    ) -> Float[Tensor, "pair run column vocab"]:
        stream = self.writes.residual[2 * layer][:, 0]
        rows = stream[:, None].expand(-1, runs, -1, -1).flatten(0, 1)
        entry = [*self.blocks, self.access.final_norm.module][layer]
        with attached([Hook(entry, "input", lambda _stream: rows), *hooks]), _standing_in(instead):
            return self.run.logits(self.run.clean[:, None].expand(-1, runs, -1, -1))

    def _rows(self) -> int:
        """Rows per pair that one pass may hold."""
        access, (pairs, _, columns, vocabulary) = self.access, self.writes.logits.shape
        ending, total = self.run.batch.ending, self.run.batch.mask.shape[1]
        floats = ending * access.d_model * _WIDTHS + 2 * total * access.heads * access.d_head
        fit = PASS_BYTES // (4 * pairs * (floats + ending * total * access.heads + _LOGITS * columns * vocabulary))
        if access.device.type == "cpu":
            fit = min(fit, CPU_TOKENS // (pairs * ending))
        return max(1, fit)


def _slices(length: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _hand_on(stream: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
    return stream


def _depart(moved: Float[Tensor, "row ending d"], value: Tensor) -> Tensor:
    return value + moved.to(value)


@contextmanager
def _standing_in(instead: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """While open, modules compute something else; each has its own forward back afterwards, whatever happens."""
    own = {module: vars(module).get("forward") for module in instead}
    try:
        for module, forward in instead.items():
            vars(module)["forward"] = forward
        yield
    finally:
        for module, before in own.items():
            vars(module).pop("forward", None)
            if before is not None:
                vars(module)["forward"] = before
