"""Find the positions at which a post-trained model disagrees most with its base (method section 3).

A few per cent of an answer's tokens carry most of what post-training changed. At these positions the two models'
next-token distributions differ most on the same text, the pair's clean one.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from headscope.circuits.frozen_model import frozen_model
from headscope.errors import InputError
from headscope.measures.logits import kl
from headscope.models import Subject, as_model, common_vocabulary, name_of, vocabulary_size
from headscope.models.rotary import full_text_lengths
from headscope.pairs import Pair, Pairs
from headscope.pairs.tokens import check_texts_fit
from headscope.progress import SILENT, Progress

# Bytes the logits of one chunk of positions may take, both models' together, with KL's intermediate copies.
LOGIT_BYTES = 256 * 2**20
# Float32 arrays as large as one model's logits that are alive at once: two logits, two log-softmaxes, exp, product.
_COPIES = 6


def pairs_at_disagreement(
    base: Subject | nn.Module,
    post: Subject | nn.Module,
    pairs: Pairs,
    share: float = 0.05,
    *,
    progress: Progress = SILENT,
) -> Pairs:
    """Return ``pairs`` evaluated at the positions of their answers at which ``post`` differs most from ``base``.

    An answer's positions run from the first differing token to the end of the clean text. See ``answer_divergence``
    for the direction and scale.

    Args:
        base: a ``Subject`` or a plain Hugging Face model in evaluation mode.
        post: likewise.
        pairs: their clean texts are read.
        share: share of each answer's positions that is evaluated, those with the largest KL (rounded, at least one; the
            earlier of equal ones).
        progress: counts pairs.

    Raises:
        InputError: if the share lies outside (0, 1], a pair's texts are equal, the models have different vocabularies
            (``common_vocabulary``) or one cannot read a token, or a distribution is not finite.
    """
    if not 0 < share <= 1:
        raise InputError(f"found share={share}; give a share of the answer's positions above 0 and up to 1")
    positions = []
    for pair, divergence in zip(pairs, answer_divergence(base, post, pairs, progress=progress), strict=True):
        count = max(1, round(share * len(divergence)))
        # Stable: earlier positions first among equals.
        strongest = np.argsort(-divergence, kind="stable")[:count]
        positions.append(np.sort(strongest) + pair.shared)
    return replace(pairs, positions=tuple(positions))


@torch.no_grad()
def answer_divergence(
    base: Subject | nn.Module, post: Subject | nn.Module, pairs: Pairs, *, progress: Progress = SILENT
) -> list[Float[np.ndarray, " position"]]:
    """Return for each pair KL(post ‖ base) at every position of its clean answer, from ``pair.shared`` on.

    In nats, of the next-token distributions at temperature 1 in float32, over all entries that both vocabularies have
    (renormalised if one has more): 0 if the models agree, large if the post-trained model expects a token that the base
    does not. The direction is that of the KL penalty in RL training. Each text is run once per model, and the
    unembedding in chunks of positions of ``LOGIT_BYTES``.
    """
    base_model, post_model = as_model(base), as_model(post)
    vocabulary = common_vocabulary(base, post, variant_name=f"post {name_of(post)}")
    check_texts_fit([*pairs.clean, *pairs.corrupt], vocabulary)
    widest = max(vocabulary_size(base_model), vocabulary_size(post_model))
    chunk = max(1, LOGIT_BYTES // (4 * _COPIES * widest))
    divergences = []
    # Both models run a text chunk by chunk, side by side: the logits of an entire answer may not fit.
    with frozen_model(base_model), frozen_model(post_model), progress.bar("disagreement", len(pairs)) as bar:
        for index, pair in enumerate(pairs):
            if pair.shared == len(pair.clean):
                raise InputError(f"pair {index} has two equal texts, so there is no answer to compare the models on")
            chunks = []
            base_logits = _answer_logits(base_model, pair, chunk)
            post_logits = _answer_logits(post_model, pair, chunk)
            for base_chunk, post_chunk in zip(base_logits, post_logits, strict=True):
                base_common = base_chunk[:, :vocabulary].to(post_chunk.device)
                chunks.append(kl(post_chunk[:, :vocabulary], base_common).cpu().numpy())
            divergence = np.concatenate(chunks)
            if not np.isfinite(divergence).all():
                place = pair.shared + int(np.flatnonzero(~np.isfinite(divergence))[0])
                raise InputError(f"the models' logits are not finite at position {place} of pair {index}")
            divergences.append(divergence)
            bar.advance()
    return divergences


def _answer_logits(model: PreTrainedModel, pair: Pair, chunk: int) -> Iterator[Float[Tensor, "position vocab"]]:
    """Yield logits of the clean answer, ``chunk`` positions at a time.

    They come from the model's own forward in pieces, so that its scaling and soft-capping of logits are applied.
    """
    tokens: Int[Tensor, " token"] = torch.as_tensor(pair.clean, device=model.get_input_embeddings().weight.device)
    cache = DynamicCache(config=model.config)
    start = 0
    while start < len(tokens):
        # The shared prefix goes in with the first chunk; no logits of it are computed.
        stop = min(max(start, pair.shared) + chunk, len(tokens))
        answer_positions = stop - max(start, pair.shared)
        with full_text_lengths(torch.tensor([len(tokens)])):
            output = model(
                input_ids=tokens[None, start:stop],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=answer_positions,
            )
        yield output.logits[0].float()
        start = stop
