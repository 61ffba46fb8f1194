"""Gradients of the loss at every reader of the residual stream in one pass, without a stream per head.

Method section 3, facts 2 and 3. The gradient is taken at the outputs of q_proj, k_proj and v_proj (k and v repeated so
that each query head reads its own copy) and of the norms before the MLPs and the unembedding. ``gradient_means`` pulls
it back to the residual stream.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from headscope.circuits.objective import Objective
from headscope.circuits.prefix_cache import EndingRunner
from headscope.errors import InputError
from headscope.models import HeadAccess, Hook, NormAccess, Projection, attach_hooks, ungroup_kv
from headscope.models.hooks import HIDDEN_FROM_HOOKS


@dataclass(frozen=True, eq=False)
class Reading:
    """Input and output of one reader of the residual stream in one pass; rows are pair × node.

    residual: [row, ending, d], the stream it reads.
    outputs: [row, ending, width] each, of the projections, of the norm, or (an MLP without a norm) the stream itself.
    gradients: the loss's gradients at the outputs, of the same shapes.
    """

    residual: Tensor
    outputs: list[Tensor]
    gradients: list[Tensor]


class _Tape:
    """Records residual streams and their readers' outputs in one pass, by site of ``HeadAccess.stream_inputs``."""

    def __init__(self, access: HeadAccess) -> None:
        sites = len(access.stream_inputs)
        self.residuals: list[Tensor | None] = [None] * sites
        self.outputs: list[list[Tensor]] = [[] for _ in range(sites)]

    def hooks(self, access: HeadAccess) -> list[Hook]:
        """Return the hooks that fill the tape; keys and values become query-head copies on the way."""
        hooks = [
            Hook(module, "input", partial(self._record_residual, site))
            for site, module in enumerate(access.stream_inputs)
        ]
        for index, layer in enumerate(access.layers):
            for projection in layer.projections:
                record = partial(self._record_repeated, 2 * index, projection, access.heads)
                hooks.append(Hook(projection.module, "output", record))
            hooks.append(self._whole_hook(2 * index + 1, layer.mlp, layer.mlp_norm))
        last = len(access.stream_inputs) - 1
        return [*hooks, self._whole_hook(last, access.final_norm.module, access.final_norm)]

    def _record_residual(self, site: int, stream: Tensor) -> None:
        self.residuals[site] = stream.detach()

    def _record_output(self, site: int, output: Tensor) -> Tensor:
        self.outputs[site].append(output)
        return output

    def _record_repeated(self, site: int, projection: Projection, heads: int, output: Tensor) -> Tensor:
        return self._record_output(site, projection.repeat(output, heads))

    def _whole_hook(self, site: int, reader: torch.nn.Module, norm: NormAccess | None) -> Hook:
        """Return the hook on a reader of the whole stream, an MLP or the unembedding."""
        if norm is not None:
            return Hook(norm.module, "output", partial(self._record_output, site))
        # A view of its own parts the reader's branch from the rest of the stream.
        return Hook(reader, "input", lambda stream: self._record_output(site, stream.view_as(stream)))

    def differentiate(self, loss: Tensor, embeddings: Tensor | None) -> tuple[list[Reading], Tensor | None]:
        """Return the tape as readings, with the gradients of ``loss``, and its gradient at ``embeddings`` if given.

        Raises InputError if a hook was not called, or the loss does not depend on what it saw.
        """
        for site, (residual, outputs) in enumerate(zip(self.residuals, self.outputs, strict=True)):
            if residual is None or not outputs:
                raise self._unseen_error(site)
        flat = [output for outputs in self.outputs for output in outputs]
        inputs = flat if embeddings is None else [*flat, embeddings]
        gradients = iter(torch.autograd.grad(loss, inputs, allow_unused=True))
        readings = []
        for site, outputs in enumerate(self.outputs):
            readings.append(self._read_site(site, [next(gradients) for _ in outputs]))
        return readings, next(gradients, None)

    def _read_site(self, site: int, gradients: list[Tensor | None]) -> Reading:
        outputs, residual = self.outputs[site], self.residuals[site]
        known_gradients = [gradient for gradient in gradients if gradient is not None]
        if residual is None or len(known_gradients) < len(outputs):  # read, but the loss does not depend on it
            raise self._unseen_error(site)
        # On its reader's device: in a model spread over devices the stream may come from another one.
        return Reading(residual.to(outputs[0].device), [output.detach() for output in outputs], known_gradients)

    def _unseen_error(self, site: int) -> InputError:
        reader = ("attention", "MLP")[site % 2] if site < len(self.residuals) - 1 else "final norm"
        return InputError(f"layer {site // 2} shows nothing of its {reader}: {HIDDEN_FROM_HOOKS}")


def read_gradients(
    runner: EndingRunner,
    objective: Objective,
    embeddings: Float[Tensor, "pair node ending d"],
    *,
    of_embeddings: bool = False,
) -> tuple[list[Reading], Float[Tensor, "pair node ending d"] | None]:
    """Run forward and backward over the nodes; return per layer the heads' and the MLP's reading, last the logits'.

    The second value is the gradient at the embeddings, if ``of_embeddings`` asks for it: it costs the last step of the
    backward pass, through the first layer's projections.
    """
    tape = _Tape(runner.access)
    with attach_hooks(tape.hooks(runner.access)), ungroup_kv(runner.access), torch.enable_grad():
        # The runs do not see each other, so the sum's gradient at each row is that of the row's own loss.
        loss = objective(runner.logits(embeddings.requires_grad_())).sum()
    return tape.differentiate(loss, embeddings if of_embeddings else None)
