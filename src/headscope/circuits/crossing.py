"""Cross-model patching: a head's output of one model put into another of the same architecture, on the same tokens.

1. Both models read the clean texts, whole, and what their heads write is kept (``contrast``).
2. The receiving model is played again from each layer with one head's write replaced by the other model's, every
   token's at once, and everything after it recomputed (``Replay``).
3. Measured is how much nearer that brings its next-token distributions to the other model's.
"""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headscope.circuits.batches import Batch, check_tokens, collate
from headscope.circuits.contrast import Writes, contrast
from headscope.circuits.endings import Endings, endings, frozen
from headscope.circuits.footprint import replayed, written
from headscope.circuits.memory import Budget
from headscope.circuits.objective import Objective
from headscope.circuits.replay import Replay
from headscope.errors import InputError
from headscope.models import HeadAccess, Subject, as_model, common_vocabulary, head_access, name_of, vocabulary_size
from headscope.pairs import Pairs
from headscope.progress import SILENT, Bar, Progress
from headscope.results.cross_patch import CrossPatch


def cross_patch(
    into: Any, source: Any, pairs: Pairs, *, memory: int | None = None, progress: Progress = SILENT
) -> CrossPatch:
    """Put each head's output of ``source`` into ``into``, one head at a time, on the clean texts of ``pairs``.

    into, source: each a ``Subject`` or a plain Hugging Face model in evaluation mode, of one architecture. Where one
        vocabulary has further tokens at its end, distributions are compared over what both have, renormalised. With
        (base, post) it asks which heads of the post-trained model bring its behaviour into the base; with (post, base)
        which heads of the base take it away again.
    The corrupt texts play no part; the distributions are read at the pairs' evaluated positions.
    memory: as in ``attribute``, beside both models' weights.
    Raises InputError where the two models' graphs or vocabularies differ, one patch of one pair does not fit in memory,
    or a number is not finite.
    """
    started = time.perf_counter()
    models = as_model(into), as_model(source)
    accesses = head_access(models[0]), head_access(models[1])
    _check_alike(into, source, accesses)
    vocabulary = common_vocabulary(into, source, variant_name=f"source {name_of(source)}")
    check_tokens(pairs, vocabulary)
    if vocabulary_size(into) != vocabulary_size(source):
        pairs = replace(pairs, vocabulary=min(vocabulary, pairs.vocabulary or vocabulary))
    graph, d_model = accesses[0].graph, accesses[0].d_model
    # What the source writes is kept too, and its heads' departures of one layer.
    held = written(accesses[1]) + 3 * 4 * graph.heads * d_model
    budget = Budget(replayed(models[0], accesses[0], held), memory, whole=True)
    budget.check(pairs)
    gap = np.zeros(len(pairs), dtype=np.float32)
    closed = np.zeros((len(pairs), graph.layers, graph.heads), dtype=np.float32)

    def patch(group: list[int], bar: Bar) -> None:
        (index,) = group
        ours, theirs = (endings(*each, _whole(pairs, index, each[1])) for each in zip(models, accesses, strict=True))
        gap[index], closed[index] = _patched(ours, theirs, budget, bar)

    steps = len(pairs) * graph.layers
    with frozen(models[0]), frozen(models[1]), torch.no_grad(), progress.bar("cross-patch", steps) as bar:
        budget.over_pairs(pairs, 1, patch, bar)
    return CrossPatch(gap, closed, time.perf_counter() - started, _about(into, source, pairs) | budget.about)


def _patched(into: Endings, source: Endings, budget: Budget, bar: Bar) -> tuple[float, Float[np.ndarray, "layer head"]]:
    """The gap of one pair, and how much of it each head closes."""
    ours, theirs = contrast(into), contrast(source)
    target = theirs.logits[:, 0].to(ours.logits.device)
    replay = Replay(into, ours, Objective("kl", into.batch, target, target), budget)
    closed = np.zeros((len(into.access.layers), into.access.heads), dtype=np.float32)
    for layer in range(len(closed)):
        for heads, change in replay.after_heads(layer, _deltas((into.access, source.access), layer, ours, theirs)):
            closed[layer, heads] = -change[0, :, 0]
        bar.advance()
    return replay.clean.item(), closed


def _whole(pairs: Pairs, index: int, access: HeadAccess) -> Batch:
    """One pair whose ending is all of its text: the models differ from the first token on."""
    return collate(pairs, [index], access.device, ending=len(pairs.clean[index]))


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
    sizes = [(access.graph, access.d_model) for access in accesses]
    if sizes[0] != sizes[1]:
        shown = [f"{name} of {size[0]}, width {size[1]}" for name, size in
                 zip((name_of(into), name_of(source)), sizes, strict=True)]  # fmt: skip
        raise InputError(f"cross-patching needs two models of one shape; found {shown[0]} and {shown[1]}")


def _about(into: Any, source: Any, pairs: Pairs) -> dict[str, Any]:
    about: dict[str, Any] = {"method": "cross-patch", "metric": "kl", "pairs": pairs.digest(), "n_pairs": len(pairs)}
    for role, model in (("into", into), ("source", source)):
        about[role] = name_of(model)
        about[f"{role}_revision"] = model.revision if isinstance(model, Subject) else None
    return about
