"""One text through a model layer by layer, so that edits share what lies below them.

``layerwise`` passes a text and stops before the final norm, with what each layer read, and with which masks and
positions each attention module was called. From there every layer is two steps on as many rows as are wanted:

1. ``attend``: the residual stream to z, what the heads hand to o_proj;
2. ``write``: the stream and z, edited or not, to the stream the next layer reads. Position by position, so it can be
   done where it is asked for only.

The rows take the stream's place, and the pass goes on to the logits.

The steps are those ``HeadAccess`` names and ``models.validation`` proves on load, in the modules' own code. Hooks on
them act as in a pass; those on what the steps put together themselves could not, and are refused (``check_hooks``).

Several threads may go through one model, each with its own text. What is hooked here answers to its own thread only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headscope.errors import InputError
from headscope.models import HeadAccess, Hook, as_model, attach_hooks
from headscope.models.hooks import is_passive_hook
from headscope.models.threads import on_this_thread

_Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Layerwise:
    """``streams``: what each layer reads. Rows of any number continue from them."""

    access: HeadAccess
    streams: list[Float[Tensor, "1 token d"]]
    calls: list[_Call]

    def attend(self, layer: int, stream: Float[Tensor, "row token d"]) -> Float[Tensor, "row token z"]:
        """z of ``layer``, heads side by side."""
        blocks, (args, kwargs) = self.access.layers[layer], self.calls[layer]
        read = stream if blocks.attention_norm is None else blocks.attention_norm.module(stream)
        found: list[Tensor] = []
        with attach_hooks([Hook(blocks.output, "input", on_this_thread(found.append))]):
            if args:
                blocks.attention(read, *args[1:], **kwargs)
            else:
                blocks.attention(**kwargs | {"hidden_states": read})
        return found[0]

    def write(
        self, layer: int, stream: Float[Tensor, "row token d"], z: Float[Tensor, "row token z"]
    ) -> Float[Tensor, "row token d"]:
        """The stream after ``layer``, at the positions given."""
        blocks = self.access.layers[layer]
        written = blocks.output.forward(z)  # past its hooks: those on z have acted in ``attend``
        if blocks.attention_post_norm is not None:
            written = blocks.attention_post_norm.module(written)
        middle = stream + written.to(stream.device)
        read = stream if self.access.parallel else middle
        mlp = blocks.mlp(read if blocks.mlp_norm is None else blocks.mlp_norm.module(read))
        mlp = mlp[0] if isinstance(mlp, tuple) else mlp  # experts give their router's scores too
        mlp = mlp if blocks.mlp_write is blocks.mlp else blocks.mlp_write(mlp)
        after: Tensor = middle + mlp.to(middle.device)
        return after


def check_hooks(access: HeadAccess) -> None:
    """Raises InputError for a hook on what a layer reads or gives, or on what its attention or o_proj gives: edited
    rows would pass it by.
    """
    for index, layer in enumerate(access.layers):
        places = {
            "what it reads": layer.block._forward_pre_hooks,
            "what it gives": layer.block._forward_hooks,
            "what its attention gives": layer.attention._forward_hooks,
            "what its o_proj gives": layer.output._forward_hooks,
        }
        for place, hooks in places.items():
            if not all(map(is_passive_hook, hooks.values())):
                raise InputError(
                    f"layer {index} has a hook on {place}, which teacher forcing passes by; remove it first"
                )


def layerwise(
    model: Any,
    access: HeadAccess,
    tokens: tuple[int, ...],
    rows: Callable[[Layerwise], Float[Tensor, "row token d"]],
) -> Float[Tensor, "row token vocab"]:
    """Logits of one pass of ``tokens`` in which ``rows`` gives what the final norm reads, at any positions.

    They are handed to it end to end, in rows as long as the text: what comes after the norm may count on that length
    (GPT-2's does), and works position by position. Raises what ``rows`` raises.
    """
    ids = torch.tensor([tokens], device=access.device)
    streams: list[Tensor] = []
    calls: list[_Call] = []
    shapes: list[torch.Size] = []
    thread = get_ident()

    # A pass of another thread may find this hook half removed, and then calls it without keywords.
    def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        if kwargs is None or get_ident() != thread or len(calls) == len(access.layers):
            return  # the calls after those of the pass are ``rows``'
        calls.append((args, kwargs))

    def replace(_stream: Tensor) -> Tensor:
        found = rows(Layerwise(access, streams, calls))
        shapes.append(found.shape)
        flat = found.flatten(0, 1)
        return torch.unflatten(nn.functional.pad(flat, (0, 0, 0, -len(flat) % len(tokens))), 0, (-1, len(tokens)))

    # Not a ``Hook``: those see one argument, and the masks and positions beside it are what is wanted.
    handles = [layer.attention.register_forward_pre_hook(keep, with_kwargs=True) for layer in access.layers]
    hooks = [Hook(layer.block, "input", on_this_thread(streams.append)) for layer in access.layers]
    hooks.append(Hook(access.final_norm.module, "input", on_this_thread(replace)))
    try:
        with attach_hooks(hooks):
            logits: Tensor = as_model(model)(input_ids=ids, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    count, places = shapes[0][:2]
    return torch.unflatten(logits.flatten(0, 1)[: count * places], 0, (count, places))
