"""What one pass over quadrature nodes reads and the loss's gradients there, without a copy of the residual stream per
head.

Method section 3, facts 2 and 3. The gradient is taken at the outputs of q_proj, k_proj and v_proj (k and v repeated so
that each query head reads its own copy) and of the norms before the MLPs and the unembedding. ``means`` pulls it back
to the residual stream.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from headscope.circuits.endings import Endings
from headscope.circuits.objective import Objective
from headscope.errors import InputError
from headscope.models import HeadAccess, Hook, NormAccess, Projection, attach_hooks, ungroup_kv
from headscope.models.hooks import HIDDEN_FROM_HOOKS


@dataclass(frozen=True, eq=False)
class Reading:
    """One reading of the residual stream, and what was read: outputs and the loss's gradients there; rows are pair ×
    node.

    residual: [row, ending, d]. outputs, gradients: [row, ending, width], of projections, of the norm, or (an MLP
        without a norm) of the stream itself.
    """

    residual: Tensor
    outputs: list[Tensor]
    gradients: list[Tensor]


class _Tape:
    """Residual streams and what was read from them in one pass, in the order of ``HeadAccess.stream_inputs``."""

    def __init__(self, access: HeadAccess) -> None:
        sites = len(access.stream_inputs)
        self.residuals: list[Tensor | None] = [None] * sites
        self.outputs: list[list[Tensor]] = [[] for _ in range(sites)]

    def residual(self, site: int, value: Tensor) -> None:
        self.residuals[site] = value.detach()

    def output(self, site: int, value: Tensor) -> Tensor:
        self.outputs[site].append(value)
        return value

    def hooks(self, access: HeadAccess) -> list[Hook]:
        """Hooks that fill the tape; keys and values become query-head copies on the way."""
        hooks = [
            Hook(module, "input", partial(self.residual, site)) for site, module in enumerate(access.stream_inputs)
        ]
        for index, layer in enumerate(access.layers):
            for one in layer.projections:
                hooks.append(Hook(one.module, "output", partial(self._repeated, 2 * index, one, access.heads)))
            hooks.append(self._whole(2 * index + 1, layer.mlp, layer.mlp_norm))
        last = len(access.stream_inputs) - 1
        return [*hooks, self._whole(last, access.final_norm.module, access.final_norm)]

    def _repeated(self, site: int, projection: Projection, heads: int, value: Tensor) -> Tensor:
        return self.output(site, projection.repeat(value, heads))

    def _whole(self, site: int, reader: torch.nn.Module, norm: NormAccess | None) -> Hook:
        if norm is not None:
            return Hook(norm.module, "output", partial(self.output, site))
        # A view of its own parts the reader's branch from the rest of the stream.
        return Hook(reader, "input", lambda value: self.output(site, value.view_as(value)))

    def readings(self, loss: Tensor) -> list[Reading]:
        """The tape as readings, with the loss's gradients. Raises InputError where a hook saw nothing that matters."""
        for site, (residual, outputs) in enumerate(zip(self.residuals, self.outputs, strict=True)):
            if residual is None or not outputs:
                raise self._unseen(site)
        flat = [output for outputs in self.outputs for output in outputs]
        rest = iter(torch.autograd.grad(loss, flat, allow_unused=True))
        return [self._reading(site, [next(rest) for _ in outputs]) for site, outputs in enumerate(self.outputs)]

    def _reading(self, site: int, gradients: list[Tensor | None]) -> Reading:
        outputs, residual = self.outputs[site], self.residuals[site]
        found = [gradient for gradient in gradients if gradient is not None]
        if residual is None or len(found) < len(outputs):  # read, but by nothing the loss depends on
            raise self._unseen(site)
        return Reading(residual.to(outputs[0].device), [output.detach() for output in outputs], found)

    def _unseen(self, site: int) -> InputError:
        reader = ("attention", "MLP")[site % 2] if site < len(self.residuals) - 1 else "final norm"
        return InputError(f"layer {site // 2} shows nothing of its {reader}: {HIDDEN_FROM_HOOKS}")


def readings(run: Endings, objective: Objective, embeddings: Float[Tensor, "pair node ending d"]) -> list[Reading]:
    """Forward and backward over the nodes: per layer the heads' and the MLP's reading, last the logits'."""
    tape = _Tape(run.access)
    with attach_hooks(tape.hooks(run.access)), ungroup_kv(run.access), torch.enable_grad():
        loss = objective(run.logits(embeddings.requires_grad_())).sum()
    return tape.readings(loss)
