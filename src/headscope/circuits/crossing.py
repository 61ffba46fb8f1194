"""Cross-model patching: a head's output of one model put into another of the same architecture, on the same tokens.

1. Both models read the clean texts, whole, and what their heads write is kept (``contrast``).
2. The receiving model is played again from each layer with one head's write replaced by the other model's, every
   token's at once, and everything after it recomputed (``Replay``).
3. Measured is how much nearer that brings its next-token distributions to the other model's.
"""

import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headscope.circuits.batches import Batch, collate
from headscope.circuits.contrast import Writes, contrast
from headscope.circuits.endings import Endings, endings
from headscope.circuits.objective import Objective
from headscope.circuits.replay import Replay
from headscope.errors import InputError
from headscope.models import HeadAccess, Subject, as_model, head_access, name_of
from headscope.pairs import Pairs
from headscope.progress import SILENT, Progress
from headscope.results.cross_patch import CrossPatch


@torch.no_grad()
def cross_patch(into: Any, source: Any, pairs: Pairs, *, progress: Progress = SILENT) -> CrossPatch:
    """Put each head's output of ``source`` into ``into``, one head at a time, on the clean texts of ``pairs``.

    into, source: each a ``Subject`` or a plain Hugging Face model in evaluation mode, of one architecture and
        vocabulary. With (base, post) it asks which heads of the post-trained model bring its behaviour into the base;
        with (post, base) which heads of the base take it away again.
    The corrupt texts play no part; the distributions are read at the pairs' evaluated positions.
    Raises InputError where the two models' graphs or vocabularies differ, or a number is not finite.
    """
    started = time.perf_counter()
    models = as_model(into), as_model(source)
    accesses = head_access(models[0]), head_access(models[1])
    _check_alike(into, source, accesses)
    graph = accesses[0].graph
    gap = np.zeros(len(pairs), dtype=np.float32)
    closed = np.zeros((len(pairs), graph.layers, graph.heads), dtype=np.float32)
    with progress.bar("cross-patch", len(pairs) * graph.layers) as bar:
        for index in range(len(pairs)):
            ours, theirs = (
                _written(model, access, _whole(pairs, index, access))
                for model, access in zip(models, accesses, strict=True)
            )
            target = theirs[1].logits[:, 0].to(ours[1].logits.device)
            objective = Objective("kl", ours[0].batch, target, target)
            replay = Replay(*ours, objective)
            gap[index] = replay.clean.item()
            for layer in range(graph.layers):
                for heads, change in replay.after_heads(layer, _deltas(accesses, layer, ours[1], theirs[1])):
                    closed[index, layer, heads] = -change[0, :, 0]
                bar.advance()
    return CrossPatch(gap, closed, time.perf_counter() - started, _about(into, source, pairs))


def _whole(pairs: Pairs, index: int, access: HeadAccess) -> Batch:
    """One pair whose ending is all of its text: the models differ from the first token on."""
    return collate(pairs, [index], access.device, ending=len(pairs.clean[index]))


def _written(model: Any, access: HeadAccess, batch: Batch) -> tuple[Endings, Writes]:
    run = endings(model, access, batch)
    return run, contrast(run)


def _deltas(
    accesses: tuple[HeadAccess, HeadAccess], layer: int, ours: Writes, theirs: Writes
) -> Float[Tensor, "head pair token d"]:
    """What each of a layer's heads writes in the source less what it writes in the receiving model."""
    here, there = (
        torch.einsum(
            "pthe,hed->hptd",
            torch.unflatten(writes.heads[layer][:, 0].float(), -1, (access.heads, access.d_head)),
            access.output_weights(layer).float(),
        )
        for access, writes in zip(accesses, (ours, theirs), strict=True)
    )
    return there.to(here.device) - here


def _check_alike(into: Any, source: Any, accesses: tuple[HeadAccess, HeadAccess]) -> None:
    sizes = [(access.graph, access.d_model, access.embedding.num_embeddings) for access in accesses]
    if sizes[0] != sizes[1]:
        shown = [f"{name} of {size[0]}, width {size[1]}, {size[2]} tokens" for name, size in
                 zip((name_of(into), name_of(source)), sizes, strict=True)]  # fmt: skip
        raise InputError(f"cross-patching needs two models of one shape; found {shown[0]} and {shown[1]}")


def _about(into: Any, source: Any, pairs: Pairs) -> dict[str, Any]:
    about: dict[str, Any] = {"method": "cross-patch", "metric": "kl", "pairs": pairs.digest(), "n_pairs": len(pairs)}
    for role, model in (("into", into), ("source", source)):
        about[role] = name_of(model)
        about[f"{role}_revision"] = model.revision if isinstance(model, Subject) else None
    return about
