"""Run one text through a model layer by layer, so that edits share the layers below them.

``layerwise`` runs a text up to the final norm; it keeps what each layer read, and the masks and positions
each attention module was called with. From there every layer is two steps, on any number of rows:

1. ``attend``: the residual stream to z, what the heads pass to o_proj;
2. ``write``: the stream and z, edited or not, to the stream the next layer reads. It works position by position, so it
   can be done for the positions that are needed only.

The rows replace the stream, and the pass continues to the logits.

The steps run the modules that ``HeadAccess`` names and ``models.validation`` checks on load. Hooks on these modules act
as in a pass; hooks on modules that the steps bypass would not run and are refused (``check_hooks``).

Several threads may run one model, each with its own text. Hooks set here act on their own thread only.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import get_ident
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from headscope.errors import InputError
from headscope.interventions.donor_weights import DonorEdit
from headscope.models import HeadAccess, Hook, attach_hooks
from headscope.models.hooks import is_passive_hook
from headscope.models.threads import on_this_thread

_Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Layerwise:
    """One text's pass, to be continued with any number of rows.

    access: the model's layers.
    streams: what each layer reads.
    calls: the arguments of each attention module.
    """

    access: HeadAccess
    streams: list[Float[Tensor, "1 token d"]]
    calls: list[_Call]

    def attend(
        self, layer: int, stream: Float[Tensor, "row token d"], edit: DonorEdit | None = None
    ) -> Float[Tensor, "row token z"]:
        """Return z of ``layer``, heads next to each other; ``edit`` gives them other weights."""
        layer_access, (args, kwargs) = self.access.layers[layer], self.calls[layer]
        norm = layer_access.attention_norm
        normed = stream if norm is None else norm.module(stream)
        z: list[Tensor] = []
        hooks = [Hook(layer_access.output, "input", z.append), *(() if edit is None else edit.reading_hooks())]
        with attach_hooks([replace(hook, function=on_this_thread(hook.function)) for hook in hooks]):
            if args:
                layer_access.attention(normed, *args[1:], **kwargs)
            else:
                layer_access.attention(**kwargs | {"hidden_states": normed})
        return z[0]

    def write(
        self,
        layer: int,
        stream: Float[Tensor, "row token d"],
        z: Float[Tensor, "row token z"],
        added: Float[Tensor, "row token d"] | None = None,
    ) -> Float[Tensor, "row token d"]:
        """Return the stream after ``layer``, at the positions of ``stream`` and ``z``.

        added: added to o_proj's output, by heads with other weights.
        """
        layer_access = self.access.layers[layer]
        written = layer_access.output.forward(z)  # not through its hooks: those on z have acted in ``attend``
        written = written if added is None else written + added.to(written)
        if layer_access.attention_post_norm is not None:
            written = layer_access.attention_post_norm.module(written)
        middle = stream + written.to(stream.device)
        mlp_stream = stream if self.access.parallel else middle
        mlp_norm = layer_access.mlp_norm
        mlp = layer_access.mlp(mlp_stream if mlp_norm is None else mlp_norm.module(mlp_stream))
        mlp = mlp[0] if isinstance(mlp, tuple) else mlp  # experts return their router's scores too
        mlp = mlp if layer_access.mlp_write is layer_access.mlp else layer_access.mlp_write(mlp)
        after: Tensor = middle + mlp.to(middle.device)
        return after


def check_hooks(access: HeadAccess) -> None:
    """Raise InputError for a hook on a layer's input or output, or on the output of its attention or o_proj.

    It would not run on edited rows.
    """
    for index, layer in enumerate(access.layers):
        hooks_by_place = {
            "what it reads": layer.block._forward_pre_hooks,
            "what it gives": layer.block._forward_hooks,
            "what its attention gives": layer.attention._forward_hooks,
            "what its o_proj gives": layer.output._forward_hooks,
        }
        for place, hooks in hooks_by_place.items():
            if not all(map(is_passive_hook, hooks.values())):
                raise InputError(
                    f"layer {index} has a hook on {place}, which teacher forcing passes by; remove it first"
                )


def layerwise(
    model: PreTrainedModel,
    access: HeadAccess,
    tokens: tuple[int, ...],
    make_rows: Callable[[Layerwise], Float[Tensor, "row token d"]],
) -> Float[Tensor, "row token vocab"]:
    """Return the logits of one pass of ``tokens`` in which ``make_rows`` makes the input of the final norm.

    Its rows may be of any positions. Raises what ``make_rows`` raises.
    """
    ids = torch.tensor([tokens], device=access.device)
    streams: list[Tensor] = []
    calls: list[_Call] = []
    shapes: list[torch.Size] = []
    thread = get_ident()

    # A pass of another thread may find this hook half removed, and then calls it without keywords.
    def record_call(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        if kwargs is None or get_ident() != thread or len(calls) == len(access.layers):
            return  # the calls after those of the pass come from ``make_rows``
        calls.append((args, kwargs))

    def replace_stream(_stream: Tensor) -> Tensor:
        rows = make_rows(Layerwise(access, streams, calls))
        shapes.append(rows.shape)
        # The rows are laid end to end and cut into lengths of the text: what comes after the norm works position by
        # position but may count on that length (GPT-2's does).
        flat = rows.flatten(0, 1)
        padded = nn.functional.pad(flat, (0, 0, 0, -len(flat) % len(tokens)))
        return torch.unflatten(padded, 0, (-1, len(tokens)))

    # Not a ``Hook``: those receive one argument, and the masks and positions are needed too.
    handles = [layer.attention.register_forward_pre_hook(record_call, with_kwargs=True) for layer in access.layers]
    hooks = [Hook(layer.block, "input", on_this_thread(streams.append)) for layer in access.layers]
    hooks.append(Hook(access.final_norm.module, "input", on_this_thread(replace_stream)))
    try:
        with attach_hooks(hooks):
            logits: Tensor = model(input_ids=ids, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    count, positions = shapes[0][:2]
    return torch.unflatten(logits.flatten(0, 1)[: count * positions], 0, (count, positions))
