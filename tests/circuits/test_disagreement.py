"""Disagreement positions against a plain KL of two full forward passes."""

import copy
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from tests.precision import EXACT
from transformers import Qwen2Config, Qwen2ForCausalLM

from headscope.circuits import attribute, cross_patch, faithfulness_curve
from headscope.circuits.disagreement import answer_divergence, pairs_at_disagreement
from headscope.errors import InputError
from headscope.models import Subject
from headscope.pairs import Pairs

pytestmark = pytest.mark.usefixtures("float64")

# The module: in the package's namespace its name is the function's.
area = import_module("headscope.circuits.disagreement")


def plain_divergence(base: Any, post: Any, pairs: Pairs) -> list[np.ndarray]:
    """Σ p_post (log p_post − log p_base), every position from the first differing token on."""
    divergences = []
    for pair in pairs:
        with torch.no_grad():
            ours = torch.log_softmax(base(torch.tensor(pair.clean)[None]).logits[0], -1)
            theirs = torch.log_softmax(post(torch.tensor(pair.clean)[None]).logits[0], -1)
        divergences.append((theirs.exp() * (theirs - ours)).sum(-1)[pair.shared :].numpy())
    return divergences


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2", "mistral", "gemma2", "gemma3_text", "phi3", "gpt_oss"])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_divergence_is_that_of_full_passes_however_it_is_chunked(
    tiny_model: Any, ragged_pairs: Any, monkeypatch: pytest.MonkeyPatch, architecture: str, chunk: int
) -> None:
    base, post = tiny_model(architecture, 0), tiny_model(architecture, 1)
    pairs = ragged_pairs(0, count=2)
    monkeypatch.setattr(area, "LOGIT_BYTES", chunk * 4 * 6 * base.config.vocab_size)
    for divergence, expected in zip(
        answer_divergence(base, post, pairs), plain_divergence(base, post, pairs), strict=True
    ):
        np.testing.assert_allclose(divergence, expected, rtol=EXACT, atol=EXACT)


def test_it_is_of_float32_whatever_precision_the_caller_trains_in(tiny_model: Any, ragged_pairs: Any) -> None:
    base, post, pairs = tiny_model("qwen3", 0), tiny_model("qwen3", 1), ragged_pairs(0, count=1)
    (expected,) = answer_divergence(base, post, pairs)
    with torch.autocast("cpu", torch.bfloat16):
        (divergence,) = answer_divergence(base, post, pairs)
    np.testing.assert_array_equal(divergence, expected)


def test_the_largest_are_kept_at_least_one_per_pair(tiny_model: Any, ragged_pairs: Any) -> None:
    base, post, pairs = tiny_model("qwen3", 0), tiny_model("qwen3", 1), ragged_pairs(3)
    divergence = plain_divergence(base, post, pairs)
    for share, count in ((0.05, 1), (0.4, 2), (1.0, 99)):
        for pair, new, values in zip(pairs, pairs_at_disagreement(base, post, pairs, share), divergence, strict=True):
            largest = np.argsort(-values)[:count] + pair.shared
            assert new.positions.tolist() == sorted(largest.tolist())
            assert np.array_equal(new.clean, pair.clean)


def test_the_direction_is_post_against_base(tiny_model: Any, ragged_pairs: Any) -> None:
    base, post, pairs = tiny_model("qwen3", 0), tiny_model("qwen3", 1), ragged_pairs(count=1)
    forward, backward = answer_divergence(base, post, pairs)[0], answer_divergence(post, base, pairs)[0]
    assert not np.allclose(forward, backward, rtol=0.01)
    # Post sure of one token that base gives 1/40: KL is log 40 in this direction only.
    for model in (base, post):
        model.lm_head.weight.data.zero_()
    post.lm_head.bias = torch.nn.Parameter(torch.zeros(40))
    post.lm_head.bias.data[7] = 100
    np.testing.assert_allclose(answer_divergence(base, post, pairs)[0], np.log(40), rtol=EXACT)


def test_a_model_and_itself_never_disagree(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs()
    assert all(np.abs(row).max() < EXACT for row in answer_divergence(model, model, pairs))
    assert all(len(row) == 1 for row in pairs_at_disagreement(model, model, pairs).positions)


class Words:
    """A tokenizer as far as vocabularies go."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def get_vocab(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    def get_added_vocab(self) -> dict[str, int]:
        return {word: index for word, index in self.get_vocab().items() if word.startswith("<")}


def test_what_cannot_be_compared_is_refused(tiny_model: Any, ragged_pairs: Any) -> None:
    base, pairs = tiny_model("qwen3"), ragged_pairs(count=1)
    with pytest.raises(InputError, match=r"40 vocabulary entries and post .* has 50"):
        pairs_at_disagreement(base, tiny_model("qwen3", vocab_size=50), pairs)
    forward = Subject(base, Words(["a", "b"]), "x")
    backward = Subject(base, Words(["b", "a"]), "x")
    extended = Subject(base, Words(["a", "b", "<think>"]), "x")
    with pytest.raises(InputError, match="token 'a' is 1 in it and 0 in base"):
        pairs_at_disagreement(forward, backward, pairs)
    assert len(pairs_at_disagreement(forward, extended, pairs)) == 1
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="share="):
            pairs_at_disagreement(base, base, pairs, share)
    with pytest.raises(InputError, match="pair 0 has two equal texts"):
        pairs_at_disagreement(base, base, Pairs.from_tokens([[1, 2]], [[1, 2]]))
    with pytest.raises(InputError, match="token id 99"):
        pairs_at_disagreement(base, base, Pairs.from_tokens([[1, 99]], [[1, 2]]))
    broken = tiny_model("qwen3")
    broken.lm_head.weight.data[3] = float("nan")
    with pytest.raises(InputError, match=f"position {pairs[0].shared} of pair 0"):
        pairs_at_disagreement(base, broken, pairs)


def test_long_answers_over_a_real_vocabulary_stay_small() -> None:
    """No call of the unembedding makes more logits than the budget allows; 299 positions at once would be 1.1 GB."""
    config = Qwen2Config(
        vocab_size=151_936, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    clean = np.random.default_rng(0).integers(0, 151_936, (1, 300))
    corrupt = np.where(np.arange(300) < 1, clean, clean ^ 1)
    logit_counts: list[int] = []
    model.lm_head.register_forward_hook(lambda _module, _inputs, logits: logit_counts.append(logits.numel()))
    assert len(answer_divergence(model, model, Pairs.from_tokens(clean, corrupt))[0]) == 299
    assert sum(logit_counts) == 2 * 299 * 151_936
    assert max(logit_counts) * 4 * 6 <= area.LOGIT_BYTES


def grown(model: Any, rows: int) -> Any:
    """The same model with further token embeddings at the end, which it is likely to predict."""
    larger = copy.deepcopy(model)
    larger.resize_token_embeddings(rows, mean_resizing=False)
    larger.lm_head.weight.data[model.config.vocab_size :] = 0.5
    return larger.eval()


def test_a_vocabulary_with_further_tokens_is_compared_over_the_common_ones(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs()
    words = [f"w{index}" for index in range(40)]
    base, post = Subject(model, Words(words), "base"), Subject(grown(model, 44), Words([*words, "<think>"]), "post")
    for first, second in ((base, post), (post, base)):
        assert all(np.abs(row).max() < 1e-5 for row in answer_divergence(first, second, pairs))
    changed = tiny_model("qwen3", 1)
    larger = Subject(grown(changed, 44), post.tokenizer, "other")
    for divergence, expected in zip(
        answer_divergence(base, larger, pairs), plain_divergence(model, changed, pairs), strict=True
    ):
        np.testing.assert_allclose(divergence, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="token id 41; the model's vocabulary allows 0-39"):
        answer_divergence(base, post, Pairs.from_tokens([[1, 41]], [[1, 2]]))
    inserted = Subject(post.model, Words([*words[:9], "<think>", *words[9:]]), "post")
    with pytest.raises(InputError, match="token 'w9' is 10 in it and 9 in base"):
        answer_divergence(base, inserted, pairs)


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2", "gemma2"])
def test_scores_over_the_common_entries_are_those_of_the_smaller_model(
    tiny_model: Any, ragged_pairs: Any, architecture: str
) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=3)
    larger = grown(model, 44)
    expected = attribute(model, pairs, nodes=2)
    scores = attribute(larger, pairs.within(40), nodes=2)
    assert scores.settings["vocabulary"] == expected.settings["vocabulary"] == 40
    np.testing.assert_allclose(scores.edges, expected.edges, rtol=1e-3, atol=1e-6)
    over_all = attribute(larger, pairs, nodes=2)
    assert over_all.settings["vocabulary"] == 44
    assert np.abs(over_all.edges - expected.edges).max() > 1e-3 * np.abs(expected.edges).max()
    curve = faithfulness_curve(model, pairs, expected, fractions=(0.2,))
    larger_curve = faithfulness_curve(larger, pairs.within(40), expected, fractions=(0.2,))
    np.testing.assert_allclose(curve.normalised(), larger_curve.normalised(), rtol=1e-3)


def test_pairs_for_a_larger_vocabulary_than_the_models_are_refused(tiny_model: Any, ragged_pairs: Any) -> None:
    with pytest.raises(InputError, match="compared over 44 vocabulary entries and the model has 40"):
        attribute(tiny_model("qwen3"), ragged_pairs().within(44), nodes=2)


def test_cross_patching_compares_over_the_common_entries(tiny_model: Any, ragged_pairs: Any) -> None:
    base, post, pairs = tiny_model("qwen3"), tiny_model("qwen3", 1), ragged_pairs(count=2)
    words = [f"w{index}" for index in range(40)]
    expected = cross_patch(base, post, pairs)
    subjects = Subject(base, Words(words), "base"), Subject(grown(post, 44), Words([*words, "<think>"]), "post")
    patches = cross_patch(*subjects, pairs)
    np.testing.assert_allclose(patches.gap, expected.gap, rtol=1e-3)
    np.testing.assert_allclose(patches.closed, expected.closed, rtol=1e-3, atol=1e-5)
    with pytest.raises(InputError, match="give Subjects with tokenizers"):
        cross_patch(base, subjects[1].model, pairs)
