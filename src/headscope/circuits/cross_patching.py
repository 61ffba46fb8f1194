"""Cross-model patching: put a head's output of one model into another of the same architecture, on the same tokens.

1. Both models run the entire clean texts, and their heads' writes are kept (``source_deltas``).
2. The receiving model is run again from each layer with one head's write replaced by the other model's, at every
   token, and everything after it recomputed (``Replay``).
3. The result is how much nearer its next-token distributions come to the other model's.
"""

import time
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from headscope.circuits.batches import Batch, collate
from headscope.circuits.budget import Budget
from headscope.circuits.footprint import replay_footprint, written_bytes
from headscope.circuits.frozen_model import frozen_model
from headscope.circuits.objective import Objective
from headscope.circuits.prefix_cache import EndingRunner, cache_prefix
from headscope.circuits.replay import Replay
from headscope.circuits.source_deltas import SourceWrites, record_writes
from headscope.errors import InputError
from headscope.models import HeadAccess, Subject, as_model, common_vocabulary, head_access, name_of, vocabulary_size
from headscope.pairs import Pairs
from headscope.pairs.tokens import check_texts_fit
from headscope.progress import SILENT, Bar, Progress
from headscope.results.cross_patch import CrossPatch


def cross_patch(
    into: Subject | nn.Module,
    source: Subject | nn.Module,
    pairs: Pairs,
    *,
    memory: int | None = None,
    progress: Progress = SILENT,
) -> CrossPatch:
    """Put each head's output of ``source`` into ``into``, one head at a time, on the clean texts of ``pairs``.

    With (base, post) it shows which heads of the post-trained model bring its behaviour into the base; with (post,
    base), which heads of the base remove it.

    Args:
        into: the receiving model, a ``Subject`` or a plain Hugging Face model in evaluation mode.
        source: the model whose heads are put into it, of the same shape. If one vocabulary has further tokens at its
            end, distributions are compared over the entries that both have, renormalised.
        pairs: their clean texts are run and read at the evaluated positions; corrupt texts are not used.
        memory: as in ``attribute``, in addition to both models' weights.
        progress: counts pairs × layers.

    Raises:
        InputError: if the two models' graphs or vocabularies differ, one patch of one pair does not fit in memory, or a
            number is not finite.
    """
    started = time.perf_counter()
    into_model, source_model = as_model(into), as_model(source)
    into_access, source_access = head_access(into_model), head_access(source_model)
    _check_shapes(into, source, into_access, source_access)
    vocabulary = common_vocabulary(into, source, variant_name=f"source {name_of(source)}")
    check_texts_fit([*pairs.clean, *pairs.corrupt], vocabulary)
    if vocabulary_size(into) != vocabulary_size(source):
        pairs = replace(pairs, vocabulary=min(vocabulary, pairs.vocabulary or vocabulary))
    graph = into_access.graph
    # What the source writes is held too, and its heads' departures of one layer: three tensors in float32.
    held = written_bytes(source_access) + 3 * 4 * graph.heads * into_access.d_model
    budget = Budget(replay_footprint(into_model, into_access, held), memory, batch=1, whole=True)
    budget.check(pairs)
    gap = np.zeros(len(pairs), dtype=np.float32)
    closed = np.zeros((len(pairs), graph.layers, graph.heads), dtype=np.float32)

    def patch(group: list[int], bar: Bar) -> None:
        (index,) = group
        into_runner = cache_prefix(into_model, into_access, _collate_whole(pairs, index, into_access))
        source_runner = cache_prefix(source_model, source_access, _collate_whole(pairs, index, source_access))
        gap[index], closed[index] = _patch_pair(into_runner, source_runner, budget, bar)

    with (
        frozen_model(into_model),
        frozen_model(source_model),
        torch.no_grad(),
        progress.bar("cross-patch", len(pairs) * graph.layers) as bar,
    ):
        budget.over_pairs(pairs, patch, bar)
    settings = _settings(into, source, pairs) | budget.shortages
    return CrossPatch(gap, closed, time.perf_counter() - started, settings, pairs.problems)


def _patch_pair(
    into: EndingRunner, source: EndingRunner, budget: Budget, bar: Bar
) -> tuple[float, Float[np.ndarray, "layer head"]]:
    """Return the gap of one pair, and how much of it each head closes."""
    into_writes, source_writes = record_writes(into), record_writes(source)
    # The metric is the KL from the source's distribution, so the source's run takes the clean run's place.
    target = source_writes.logits[:, 0].to(into_writes.logits.device)
    replay = Replay(into, into_writes, Objective("kl", into.batch, target, target), budget)
    closed = np.zeros((len(into.access.layers), into.access.heads), dtype=np.float32)
    for layer in range(len(closed)):
        into_heads = _head_writes(into.access, into_writes, layer)
        source_heads = _head_writes(source.access, source_writes, layer)
        deltas = source_heads.to(into_heads.device) - into_heads
        for heads, changes in replay.after_heads(layer, deltas):
            # The change of the KL is negative if the head brings the models nearer.
            closed[layer, heads] = -changes[0, :, 0]
        bar.advance()
    return replay.clean_losses.item(), closed


def _collate_whole(pairs: Pairs, index: int, access: HeadAccess) -> Batch:
    """Return one pair whose ending is all of its text: the models differ from the first token on."""
    return collate(pairs, [index], access.device, ending=len(pairs.clean[index]))


def _head_writes(access: HeadAccess, writes: SourceWrites, layer: int) -> Float[Tensor, "head pair token d"]:
    """Return what each of a layer's heads writes on the clean text, in float32."""
    z = torch.unflatten(writes.heads[layer][:, 0].float(), -1, (access.heads, access.d_head))
    return torch.einsum("pthe,hed->hptd", z, access.output_weights(layer).float())


def _check_shapes(
    into: Subject | nn.Module, source: Subject | nn.Module, into_access: HeadAccess, source_access: HeadAccess
) -> None:
    if (into_access.graph, into_access.d_model) == (source_access.graph, source_access.d_model):
        return
    into_shape = f"{name_of(into)} of {into_access.graph}, width {into_access.d_model}"
    source_shape = f"{name_of(source)} of {source_access.graph}, width {source_access.d_model}"
    raise InputError(f"cross-patching needs two models of one shape; found {into_shape} and {source_shape}")


def _settings(into: Subject | nn.Module, source: Subject | nn.Module, pairs: Pairs) -> dict[str, object]:
    return {
        "method": "cross-patch",
        "metric": "kl",
        "pairs": pairs.digest(),
        "n_pairs": len(pairs),
        "into": name_of(into),
        "into_revision": into.revision if isinstance(into, Subject) else None,
        "source": name_of(source),
        "source_revision": source.revision if isinstance(source, Subject) else None,
    }
