"""Attention of base and last checkpoint on a few texts of the pairs of a comparison, a unit per variant.

A picture to read beside the numbers: no number depends on it.
"""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from headscope.errors import InputError
from headscope.heads import HeadId, top_heads
from headscope.pairs import Pairs
from headscope.progress import Progress
from headscope.results.attention import Attention, AttentionText, encode_rows
from headscope.results.comparison import Comparison
from headscope.results.emergence import Emergence, Status
from headscope.results.not_run import NotRun
from headscope.runs import Inputs, Unit, Work
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.study import Study
from headscope.traces.spans import Decode, TokenTexts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXTS, TOKENS = 4, 256
"""Texts per variant at most, and tokens of each."""
HEADS = 64
"""Heads at most: all of a small model."""
NEW, LOST = 24, 16
"""New and lost heads among them at most, in a larger model; the others are those of most importance."""


class AttentionConfig(Config):
    """The two models, how many heads, texts and tokens are read at most, and the seed that draws the texts."""

    base: ModelSource
    post: ModelSource
    heads: int
    new: int
    lost: int
    texts: int
    tokens: int
    seed: int


def compute_attention(config: AttentionConfig, inputs: Inputs, progress: Progress) -> Attention | NotRun:
    """Return the attention of both models on clean texts of the input ``pairs``, of heads that ``comparison`` names."""
    from headscope.circuits import attention_rows
    from headscope.studies.models.subjects import load

    pairs, final = inputs.load("pairs", Pairs), inputs.load("comparison", Comparison).final
    heads, heads_are = choose_heads(final, config)
    chosen = choose_pairs(pairs, config.texts, config.tokens, config.seed)
    subjects = [load(source.stage(inputs)) for source in (config.base, config.post)]
    decode = _decoder(subjects[1].tokenizer)
    texts = [_read_text(pairs, index, config.tokens, decode) for index in chosen]
    levels = []  # of the base, then of the post-trained model
    with progress.bar("attention", 2 * len(texts)) as bar:
        for subject in subjects:
            parts = []
            for text in texts:
                try:
                    rows = attention_rows(subject, np.array(text.ids, dtype=np.int64), heads)
                except InputError as error:  # an architecture whose attention returns no rows: nothing else needs them
                    return NotRun(str(error))
                parts.append(encode_rows(rows))
                bar.advance()
            levels.append(np.concatenate(parts, axis=1))
    is_cut = any(text.length > len(text.ids) for text in texts)
    words = (
        f"clean texts of the pairs on which heads were counted, of different problems as far as there are, drawn with "
        f"seed {config.seed} from those of at most {config.tokens} tokens"
    )
    words += f"; longer ones, cut to their first {config.tokens}, because there are not enough" if is_cut else ""
    return Attention(config.post.name, config.post.step, heads, heads_are, tuple(texts), words, *levels)


ATTENTION = Work("attention", AttentionConfig, compute_attention)


def attention_unit(study: Study, base: Stage, final: Stage, pairs: Unit, comparison: Unit) -> Unit:
    """Return the unit of a variant's attention next to the base's, on the ``pairs`` its heads were counted on."""
    config = AttentionConfig(
        base=base.source,
        post=final.source,
        heads=HEADS,
        new=NEW,
        lost=LOST,
        texts=TEXTS,
        tokens=TOKENS,
        seed=study.seed,
    )
    inputs = {"pairs": pairs, "comparison": comparison} | base.inputs | final.inputs
    return ATTENTION.unit(config, {"variant": final.variant}, inputs)


def choose_heads(emergence: Emergence, config: AttentionConfig) -> tuple[tuple[HeadId, ...], str]:
    """Return the heads to read, those a reader would open first at the beginning, and which these are in words.

    New and lost heads come first, the largest change of importance first, then the heads of most importance in either
    model. A model with more than ``config.heads`` heads has so many read, of them at most ``config.new`` and
    ``config.lost``.
    """
    change = emergence.importance_change.value
    importance = _larger_importance(emergence)
    count = change.size
    ranked = top_heads(change, None)
    new = [head for head in ranked if emergence.status[head] == Status.NEW]
    lost = [head for head in ranked if emergence.status[head] == Status.LOST]
    if count > config.heads:
        new, lost = new[: config.new], lost[: config.lost]
    others = [head for head in top_heads(importance, None) if head not in {*new, *lost}]
    chosen = (*new, *lost, *others)[: config.heads]
    if count <= config.heads:
        return chosen, f"all {count} heads"
    rest = len(chosen) - len(new) - len(lost)
    return chosen, (
        f"{len(chosen)} of {count} heads: {len(new)} of {len(emergence.new)} new and {len(lost)} of "
        f"{len(emergence.lost)} lost ones, by the change of their importance, and the {rest} others of most importance"
    )


def _larger_importance(emergence: Emergence) -> "Float[np.ndarray, 'layer head']":
    """Return each head's importance in the model in which it has more; that of a change alone if the base's is unknown,
    as in comparisons of before."""
    change = emergence.importance_change.value
    base = emergence.base_importance
    larger: np.ndarray = np.abs(change) if base is None else np.maximum(base, base + change)
    return larger


def choose_pairs(pairs: Pairs, count: int, tokens: int, seed: int) -> list[int]:
    """Return which pairs' clean texts are read: of different problems if there are enough, and short enough if there
    are, in the order in which the seed draws them."""
    order = list(range(len(pairs)))
    random.Random(seed).shuffle(order)
    numbers = pairs.problem_groups.numbers
    first_of: dict[int, int] = {}
    for index in order:
        first_of.setdefault(int(numbers[index]), index)
    first = set(first_of.values())
    drawn = [*first_of.values(), *(index for index in order if index not in first)]
    fitting = [index for index in drawn if len(pairs.clean[index]) <= tokens]
    longer = sorted(
        (index for index in drawn if len(pairs.clean[index]) > tokens), key=lambda index: len(pairs.clean[index])
    )
    return [*fitting, *longer][:count]


def _read_text(pairs: Pairs, index: int, tokens: int, decode: Decode) -> AttentionText:
    pair = pairs[index]
    # The beginning, because in a causal model its rows are those of the whole text.
    ids = tuple(int(token) for token in pair.clean[:tokens])
    problem = "" if pairs.problems is None else pairs.problems[index]
    return AttentionText(problem, ids, token_pieces(ids, decode), min(pair.shared, len(ids)), len(pair.clean))


def token_pieces(ids: Sequence[int], decode: Decode) -> tuple[str, ...]:
    """Return the text that each token adds; of a tokenizer that does not decode piece by piece, each token's own."""
    text = decode(list(ids))
    ends = TokenTexts(decode).ends(list(ids), text)
    if ends is None:
        return tuple(decode([token]) for token in ids)
    starts = [0, *ends[:-1].tolist()]
    return tuple(text[start:end] for start, end in zip(starts, ends.tolist(), strict=True))


def _decoder(tokenizer: "PreTrainedTokenizerBase") -> Decode:
    """Return the function that makes text of token ids, with all that the chat template wrote."""

    def decode(tokens: list[int]) -> str:
        return str(tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    return decode
