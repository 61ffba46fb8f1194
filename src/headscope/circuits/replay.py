"""Forward passes that start at a patch; what comes before it is taken from the clean run and not recomputed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from headscope.circuits.budget import Budget
from headscope.circuits.circuit_pass import port_hooks
from headscope.circuits.objective import Objective
from headscope.circuits.prefix_cache import EndingRunner
from headscope.circuits.source_deltas import SourceWrites
from headscope.models import Hook, attach_hooks, ungroup_kv
from headscope.models.memory import Result
from headscope.results.graph import PORTS

# Changes of the loss, in parts: which sources, and per pair, source and reader the change.
Changes = Iterator[tuple[slice, Float[np.ndarray, "pair source reader"]]]
# What each source writes on the corrupt text, or in another model, less what it writes in the clean run.
Deltas = Float[Tensor, "source pair ending d"]
# What modules compute in place of their own forward.
_Forwards = Mapping[nn.Module, Callable[..., Any]]


class Replay:
    """The clean run of one batch, run again from where a source's Δ is added to a reader's input.

    Earlier blocks return their input, and the reader's block gets the clean residual stream. Every public method yields
    loss − loss of the clean run for each source on its own, as many at a time as the budget allows.
    """

    def __init__(self, runner: EndingRunner, writes: SourceWrites, objective: Objective, budget: Budget) -> None:
        self.runner, self.writes, self.objective, self.access = runner, writes, objective, runner.access
        self.blocks = [layer.block for layer in runner.access.layers]
        self.clean_losses = objective(writes.logits[:, :1])
        self._limit, self._pairs = budget.row_limit, len(runner.batch.indices)
        self._rows_per_pair = budget.rows(runner.batch.sizes, self._pairs) // self._pairs

    def into_heads(
        self, layer: int, deltas: Deltas, ports: Int[Tensor, " reader"], heads: Bool[Tensor, "reader head"]
    ) -> Changes:
        """Yield the changes when Δ is added to each of a layer's attention inputs on its own.

        Heads of a layer do not see each other, so one row in which all of them read the changed stream at one port
        holds z of each; a row per input then takes the z of its heads, and attention is not run again.

        ports: the port of each input (0 q, 1 k, 2 v). heads: which query heads read it.
        """
        clean = self._clean_z(layer)
        ports, heads = ports.to(clean.device), heads.to(clean.device)

        def patch_sources(sources: slice) -> Float[np.ndarray, "pair source reader"]:
            z = self._patched_z(layer, deltas[sources])
            parts = self._run_parts(z.shape[1] * len(ports), partial(mix_rows, z))
            return np.concatenate([changes for _, changes in parts], axis=1).reshape(len(z), -1, len(ports))

        def mix_rows(z: Tensor, rows: slice) -> Float[np.ndarray, "pair row"]:
            row = torch.arange(rows.start, rows.stop, device=z.device)
            source, reader = row // len(ports), row % len(ports)
            is_reader = heads[reader][:, None, :, None]
            mixed_z = torch.where(is_reader, z[:, source, ports[reader]], clean[:, None])
            return self._loss_changes(layer, len(row), [], mixed_z)

        return self._run_parts(len(deltas), patch_sources, rows=len(PORTS))

    def into_mlp(self, layer: int, deltas: Deltas) -> Changes:
        """Yield the changes when Δ is added to the input of a layer's MLP."""
        return self._add_at(layer, deltas, self.access.layers[layer].mlp_input, "input")

    def into_logits(self, deltas: Deltas) -> Changes:
        """Yield the changes when Δ is added to the final norm's input."""
        return self._add_at(len(self.blocks), deltas, self.access.final_norm.module, "input")

    def after_heads(self, layer: int, deltas: Deltas) -> Changes:
        """Yield the changes when Δ is added to what a layer's attention writes, for all its readers."""
        modules = self.access.layers[layer]
        norm = modules.attention_post_norm
        return self._add_at(layer, deltas, modules.output if norm is None else norm.module, "output")

    def _add_at(self, layer: int, deltas: Deltas, module: nn.Module, kind: Literal["input", "output"]) -> Changes:
        # Attention reads the clean stream, so its z is the clean one and it need not run.
        clean = self._clean_z(layer)[:, None] if layer < len(self.blocks) else None

        def patch_sources(sources: slice) -> Float[np.ndarray, "pair source 1"]:
            delta = deltas[sources].transpose(0, 1)
            z = None if clean is None else clean.expand(-1, delta.shape[1], -1, -1, -1)
            hook = Hook(module, kind, partial(_add_delta, delta.flatten(0, 1)))
            return self._loss_changes(layer, delta.shape[1], [hook], z)[..., None]

        return self._run_parts(len(deltas), patch_sources)

    def _run_parts(self, count: int, work: Callable[[slice], Result], rows: int = 1) -> Iterator[tuple[slice, Result]]:
        """Yield ``work`` on parts of ``count`` elements that are each ``rows`` rows of every pair."""
        return self._limit.run_parts(count, self._rows_per_pair // rows, work, rows * self._pairs)

    def _clean_z(self, layer: int) -> Float[Tensor, "pair ending head d_head"]:
        pairs, _, ending, d = self.writes.residual[0].shape
        no_delta = self.writes.residual[2 * layer].new_zeros(1, pairs, ending, d)
        return self._patched_z(layer, no_delta)[:, 0, 0]

    def _patched_z(self, layer: int, deltas: Deltas) -> Float[Tensor, "pair source port ending head d_head"]:
        """Return z of each of a layer's heads if Δ is added to the input of one port of that head alone."""
        access, stream = self.access, self.writes.residual[2 * layer][:, 0]
        # Source 0 is the clean stream, which the other two ports read.
        departures = torch.cat([torch.zeros_like(deltas[:1]), deltas]).transpose(0, 1).to(stream.device)
        streams = (stream[:, None] + departures).to(stream.dtype)
        ports = torch.unflatten(access.read_shared(layer, streams), -2, (len(PORTS), access.heads))
        is_patched = torch.eye(len(PORTS), dtype=torch.bool, device=ports.device)[:, None, :, None, None]
        # [pair, source, row, ending, port, head, d_head]: in row p only port p reads the changed stream.
        rows = torch.where(is_patched, ports[:, 1:, None], ports[:, :1, None])
        heads = rows.flatten(1, 2).flatten(3, 4)
        idle_blocks = {block: _return_input for index, block in enumerate(self.blocks) if index != layer}

        def attend(part: slice) -> Float[Tensor, "pair row ending z"]:
            z: list[Tensor] = []
            hooks = [
                *port_hooks(access, layer, lambda: heads[:, part].flatten(0, 1)),
                Hook(access.layers[layer].output, "input", z.append),
            ]
            with ungroup_kv(access):
                self._logits(layer, part.stop - part.start, hooks, idle_blocks)
            return torch.unflatten(z[0], 0, (len(heads), -1))

        z = torch.cat([z for _, z in self._run_parts(heads.shape[1], attend)], dim=1)
        return torch.unflatten(torch.unflatten(z, -1, (access.heads, access.d_head)), 1, rows.shape[1:3])

    def _loss_changes(
        self, layer: int, runs: int, hooks: list[Hook], z: Float[Tensor, "pair run ending head d_head"] | None
    ) -> Float[np.ndarray, "pair run"]:
        """Run on from ``layer``, whose output projection gets ``z`` instead of its attention's output."""
        forwards: dict[nn.Module, Callable[..., Any]] = dict.fromkeys(self.blocks[:layer], _return_input)
        if z is not None:
            modules, rows = self.access.layers[layer], z.flatten(0, 1).flatten(2).contiguous()
            forwards[modules.attention] = lambda *_args, **_kwargs: (modules.output(rows), None)
        changes = self.objective(self._logits(layer, runs, hooks, forwards)) - self.clean_losses
        return changes.float().cpu().numpy()

    def _logits(
        self, layer: int, runs: int, hooks: list[Hook], forwards: _Forwards
    ) -> Float[Tensor, "pair run column vocab"]:
        stream = self.writes.residual[2 * layer][:, 0]
        rows = stream[:, None].expand(-1, runs, -1, -1).flatten(0, 1)
        start = [*self.blocks, self.access.final_norm.module][layer]
        with attach_hooks([Hook(start, "input", lambda _stream: rows), *hooks]), _replace_forwards(forwards):
            return self.runner.logits(self.runner.clean_embeddings[:, None].expand(-1, runs, -1, -1))


def _return_input(stream: Tensor, *_args: object, **_kwargs: object) -> Tensor:
    return stream


def _add_delta(delta: Float[Tensor, "row ending d"], stream: Tensor) -> Tensor:
    return stream + delta.to(stream)


@contextmanager
def _replace_forwards(forwards: _Forwards) -> Iterator[None]:
    """Replace the forwards of modules within the block; they are restored in any case."""
    # An instance attribute ``forward`` (accelerate's dispatch sets one) must come back; without one the class' shows.
    originals = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            vars(module)["forward"] = forward
        yield
    finally:
        for module, original in originals.items():
            vars(module).pop("forward", None)
            if original is not None:
                vars(module)["forward"] = original
