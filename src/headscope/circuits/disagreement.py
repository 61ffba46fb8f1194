"""Where a post-trained model disagrees with its base: the positions worth evaluating (method section 3).

A few per cent of an answer's tokens carry most of what post-training changed. At these positions the two models'
next-token distributions differ most on the same text, the pair's clean one.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import DynamicCache

from headscope.circuits.batches import check_tokens
from headscope.errors import InputError
from headscope.measures.logits import kl
from headscope.models import as_model, common_vocabulary, name_of, vocabulary_size
from headscope.models.rotary import full_text_lengths, own_text_lengths
from headscope.pairs import Pair, Pairs
from headscope.progress import SILENT, Progress

# Bytes the logits of one chunk of positions may take, both models' together, with KL's intermediate copies.
LOGIT_BYTES = 256 * 2**20
# Float32 arrays as large as one model's logits that are alive at once: two logits, two log-softmaxes, exp, product.
_COPIES = 6


def disagreement(base: Any, post: Any, pairs: Pairs, share: float = 0.05, *, progress: Progress = SILENT) -> Pairs:
    """``pairs`` evaluated at the positions of their answers where ``post`` departs most from ``base``.

    An answer's positions run from the first differing token to the end of the clean text. Of each pair the ``share``
    of them (rounded, at least one) with the largest KL is kept, earlier ones first among equals; ``positions`` of
    the result says which. See ``answer_divergence`` for the direction and scale.
    base, post: each a ``Subject`` or a plain Hugging Face model in evaluation mode.
    Raises InputError where the share lies outside (0, 1], a pair's texts are equal, the models have different
    vocabularies (``common_vocabulary``) or one cannot read a token, or a distribution is not finite.
    """
    if not 0 < share <= 1:
        raise InputError(f"found share={share}; give a share of the answer's positions above 0 and up to 1")
    chosen = []
    for pair, divergence in zip(pairs, answer_divergence(base, post, pairs, progress=progress), strict=True):
        count = max(1, round(share * len(divergence)))
        strongest = np.argsort(-divergence, kind="stable")[:count]
        chosen.append(np.sort(strongest) + pair.shared)
    return replace(pairs, positions=tuple(chosen))


@torch.no_grad()
def answer_divergence(
    base: Any, post: Any, pairs: Pairs, *, progress: Progress = SILENT
) -> list[Float[np.ndarray, " position"]]:
    """Per pair KL(post ‖ base) at every position of its clean answer, from ``pair.shared`` on.

    In nats, of the next-token distributions at temperature 1 over all entries that both vocabularies have,
    renormalised where one has further ones, in float32: 0 where the models agree, large where
    the post-trained model expects what the base does not. The direction is that of the KL penalty of RL training.
    Each text is run once per model and the unembedding in chunks of positions, ``LOGIT_BYTES`` at a time.
    """
    models = [as_model(model) for model in (base, post)]
    vocabulary = common_vocabulary(base, post, variant_name=f"post {name_of(post)}")
    check_tokens(pairs, vocabulary)
    widest = max(vocabulary_size(model) for model in models)
    found = []
    with own_text_lengths(models[0]), own_text_lengths(models[1]), progress.bar("disagreement", len(pairs)) as bar:
        for index, pair in enumerate(pairs):
            if pair.shared == len(pair.clean):
                raise InputError(f"pair {index} has two equal texts; there is no answer to compare the models on")
            chunk = max(1, LOGIT_BYTES // (4 * _COPIES * widest))
            logits = zip(*(_answer_logits(model, pair, chunk) for model in models), strict=True)
            parts = [
                kl(theirs[:, :vocabulary], ours[:, :vocabulary].to(theirs.device)).cpu().numpy()
                for ours, theirs in logits
            ]
            divergence = np.concatenate(parts)
            if not np.isfinite(divergence).all():
                place = pair.shared + int(np.flatnonzero(~np.isfinite(divergence))[0])
                raise InputError(f"the models' logits are not finite at position {place} of pair {index}")
            found.append(divergence)
            bar.advance()
    return found


def _answer_logits(model: Any, pair: Pair, chunk: int) -> Iterator[Float[Tensor, "position vocab"]]:
    """Logits of the clean answer, ``chunk`` positions at a time: the usual prefill in pieces, so that whatever the
    model does to its logits (scaling, soft-capping) is done.
    """
    tokens: Int[Tensor, " token"] = torch.as_tensor(pair.clean, device=model.get_input_embeddings().weight.device)
    cache = DynamicCache(config=model.config)
    start = 0
    while start < len(tokens):
        # The shared prefix goes in with the first chunk; of it no logits are asked for.
        stop = min(max(start, pair.shared) + chunk, len(tokens))
        asked = stop - max(start, pair.shared)
        chunk_ids = tokens[None, start:stop]
        with full_text_lengths(torch.tensor([len(tokens)])):
            output = model(input_ids=chunk_ids, past_key_values=cache, use_cache=True, logits_to_keep=asked)
        yield output.logits[0].float()
        start = stop
