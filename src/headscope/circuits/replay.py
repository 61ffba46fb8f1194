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
from headscope.circuits.halving import Result
from headscope.circuits.memory import Budget
from headscope.circuits.objective import Objective
from headscope.circuits.patching import own_ports
from headscope.models import Hook, attach_hooks, ungroup_kv
from headscope.results.graph import PORTS

# Changes of the loss, in parts: which sources, and per pair, source and reader the change.
Changes = Iterator[tuple[slice, Float[np.ndarray, "pair source reader"]]]
# What sources write on the corrupt text less what they write on the clean one.
Deltas = Float[Tensor, "source pair ending d"]


class Replay:
    """The clean run of one batch, played again from where a reader's input departs by a source's Δ.

    Blocks before that hand on what they are given, and the one it is in is given the clean residual stream. Every
    public method gives the change of the loss from the clean run's, for each source on its own, as many at a time as
    the budget allows.
    """

    def __init__(self, run: Endings, writes: Writes, objective: Objective, budget: Budget) -> None:
        self.run, self.writes, self.objective, self.access = run, writes, objective, run.access
        self.blocks = [layer.block for layer in run.access.layers]
        self.clean = objective(writes.logits[:, :1])
        self._limit, self._pairs = budget.limit, len(run.batch.indices)
        self._rows = budget.rows(run.batch.sizes, self._pairs) // self._pairs  # of each pair

    def into_heads(
        self, layer: int, deltas: Deltas, ports: Int[Tensor, " reader"], heads: Bool[Tensor, "reader head"]
    ) -> Changes:
        """Each of a layer's attention inputs departs on its own: at port ``ports`` (0 q, 1 k, 2 v), of its ``heads``.

        Heads of a layer do not see each other, so one row in which all of them read the departed stream at one port
        holds z of each; a row per input then takes the z of its heads, and attention is not run again.
        """
        clean = self._clean_z(layer)
        ports, heads = ports.to(clean.device), heads.to(clean.device)

        def departed(sources: slice) -> Float[np.ndarray, "pair source reader"]:
            z = self._z(layer, deltas[sources])
            parts = self._parts(z.shape[1] * len(ports), partial(mixed, z))
            return np.concatenate([changes for _, changes in parts], axis=1).reshape(len(z), -1, len(ports))

        def mixed(z: Tensor, rows: slice) -> Float[np.ndarray, "pair row"]:
            row = torch.arange(rows.start, rows.stop, device=z.device)
            source, reader = row // len(ports), row % len(ports)
            own = heads[reader][:, None, :, None]
            return self._changes(layer, len(row), [], torch.where(own, z[:, source, ports[reader]], clean[:, None]))

        return self._parts(len(deltas), departed, rows=len(PORTS))

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

        def departed(sources: slice) -> Float[np.ndarray, "pair source 1"]:
            moved = deltas[sources].transpose(0, 1)
            z = None if clean is None else clean.expand(-1, moved.shape[1], -1, -1, -1)
            hook = Hook(module, kind, partial(_depart, moved.flatten(0, 1)))
            return self._changes(layer, moved.shape[1], [hook], z)[..., None]

        return self._parts(len(deltas), departed)

    def _parts(self, count: int, work: Callable[[slice], Result], rows: int = 1) -> Iterator[tuple[slice, Result]]:
        """``work`` on parts of ``count`` things that are each ``rows`` rows of every pair."""
        return self._limit.parts(count, self._rows // rows, work, rows * self._pairs)

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
        values = access.read_shared(layer, streams)
        ports = torch.unflatten(values, -2, (len(PORTS), access.heads))
        one = torch.eye(len(PORTS), dtype=torch.bool, device=ports.device)[:, None, :, None, None]
        rows = torch.where(one, ports[:, 1:, None], ports[:, :1, None])  # pair source row ending port head d_head
        heads = rows.flatten(1, 2).flatten(3, 4)
        idle = {block: _hand_on for index, block in enumerate(self.blocks) if index != layer}

        def attended(some: slice) -> Float[Tensor, "pair row ending z"]:
            kept: list[Tensor] = []
            hooks = [
                *own_ports(access, layer, lambda: heads[:, some].flatten(0, 1)),
                Hook(access.layers[layer].output, "input", kept.append),
            ]
            with ungroup_kv(access):
                self._logits(layer, some.stop - some.start, hooks, idle)
            return torch.unflatten(kept[0], 0, (len(heads), -1))

        z = torch.cat([part for _, part in self._parts(heads.shape[1], attended)], dim=1)
        return torch.unflatten(torch.unflatten(z, -1, (access.heads, access.d_head)), 1, rows.shape[1:3])

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
        with attach_hooks([Hook(entry, "input", lambda _stream: rows), *hooks]), _standing_in(instead):
            return self.run.logits(self.run.clean[:, None].expand(-1, runs, -1, -1))


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
