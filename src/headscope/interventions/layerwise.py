"""One text through a model layer by layer, so that edits share what lies below them.

A pass of the whole text is watched once: what the first layer reads, and with which masks and positions each attention
module is called. After that every layer is two steps on as many rows as are wanted:

1. ``attend``: the residual stream to z, what the heads hand to o_proj;
2. ``write``: the stream and z, edited or not, to the stream the next layer reads. Position by position, so it can be
   done where it is asked for only.

The steps are those ``HeadAccess`` names and ``models.validation`` proves on load, in the modules' own code. Hooks on a
model act as in a pass, but for those on what o_proj gives.

Several threads may go through one model, each with its own text. What is hooked here answers to its own thread only.
"""

from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from headscope.models import HeadAccess, Hook, as_model, attached, head_access
from headscope.models.threads import of_this_thread

_Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Layerwise:
    """``stream``: what the first layer reads. Rows of any number continue from it."""

    model: nn.Module
    access: HeadAccess
    ids: Int[Tensor, "1 token"]
    stream: Float[Tensor, "1 token d"]
    calls: list[_Call]

    @classmethod
    def watch(cls, model: Any, tokens: tuple[int, ...]) -> "Layerwise":
        """One pass of ``tokens``."""
        plain = as_model(model)
        access = head_access(plain)
        ids = torch.tensor([tokens], device=access.device)
        streams: list[Tensor] = []
        calls: list[_Call] = []

        thread = get_ident()

        def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if get_ident() == thread:
                calls.append((args, kwargs))

        # Not a ``Hook``: those see one argument, and the masks and positions beside it are what is wanted.
        handles = [layer.attention.register_forward_pre_hook(keep, with_kwargs=True) for layer in access.layers]
        try:
            with attached([Hook(access.layers[0].block, "input", of_this_thread(streams.append))]):
                plain.base_model(input_ids=ids, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return cls(plain, access, ids, streams[0], calls)

    def attend(self, layer: int, stream: Float[Tensor, "row token d"]) -> Float[Tensor, "row token z"]:
        """z of ``layer``, heads side by side."""
        blocks, (args, kwargs) = self.access.layers[layer], self.calls[layer]
        read = stream if blocks.attention_norm is None else blocks.attention_norm.module(stream)
        found: list[Tensor] = []
        with attached([Hook(blocks.output, "input", of_this_thread(found.append))]):
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

    def logits(self, stream: Float[Tensor, "row token d"]) -> Float[Tensor, "row token vocab"]:
        """What the last layer's stream, at any positions, predicts.

        The final norm of a pass of one token is handed them, each as a row of its own: that holds whatever comes after
        the norm.
        """
        rows = stream.flatten(0, 1)[:, None]
        with attached([Hook(self.access.final_norm.module, "input", of_this_thread(lambda _: rows))]):
            logits: Tensor = self.model(input_ids=self.ids[:, :1], use_cache=False).logits
        return torch.unflatten(logits, 0, stream.shape[:2])[:, :, 0]
