"""Cross-model patching: a changed head is found, and agrees with writing the head into the weights."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tests.precision import EXACT

from headscope.circuits import cross_patch
from headscope.errors import InputError
from headscope.measures.logits import kl
from headscope.models import ARCHITECTURES, head_access
from headscope.models.projections import linear_weight
from headscope.results.cross_patch import CrossPatch

pytestmark = pytest.mark.usefixtures("float64")


def _with_head_changed(model: Any, layer: int, head: int) -> Any:
    """A copy whose output projection differs for one head alone: its z stays, what it writes does not."""
    altered = copy.deepcopy(model)
    access = head_access(altered)
    columns = slice(head * access.d_head, (head + 1) * access.d_head)
    with torch.no_grad():
        linear_weight(access.layers[layer].output)[:, columns] += 0.3 * torch.randn(access.d_model, access.d_head)
    return altered


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - {"gemma2", "gemma3_text", "olmo2"}))
def test_the_one_changed_head_closes_the_whole_gap(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    base, pairs = tiny_model(architecture), ragged_pairs(count=3, positions="answer")
    post = _with_head_changed(base, 1, 2)
    for into, source in ((base, post), (post, base)):
        patches = cross_patch(into, source, pairs)
        np.testing.assert_allclose(patches.closed[:, 1, 2], patches.gap, rtol=0, atol=EXACT)
        assert patches.share[1, 2] == pytest.approx(1, abs=EXACT)
        unchanged_heads = np.delete(patches.closed[:, 1], 2, axis=1)
        assert np.abs(unchanged_heads).max() < EXACT  # heads of the last layer that are the same in both models
    with torch.no_grad():
        ids, places = torch.as_tensor(pairs.clean[0])[None], pairs.positions[0]
        gap = kl(post(ids).logits[0, places], base(ids).logits[0, places]).mean()
    assert cross_patch(base, post, pairs).gap[0] == pytest.approx(float(gap), rel=EXACT)


def test_a_model_and_itself_have_no_gap(tiny_model: Any, ragged_pairs: Any) -> None:
    model = tiny_model("gemma2")
    patches = cross_patch(model, model, ragged_pairs(count=2))
    assert np.abs(patches.gap).max() < EXACT
    assert np.abs(patches.closed).max() < EXACT


def test_models_of_different_shapes_are_refused(tiny_model: Any, ragged_pairs: Any) -> None:
    with pytest.raises(InputError, match=r"two models of one shape; found llama of 2 × 4 heads, width 32 and qwen3 of"):
        cross_patch(tiny_model("llama"), tiny_model("qwen3", num_hidden_layers=1), ragged_pairs())


def test_save_and_load_are_inverse(tmp_path: Any) -> None:
    saved = CrossPatch(np.ones(2, np.float32), np.full((2, 3, 4), 0.5, np.float32), 1.5, {"into": "base"})
    saved.save(tmp_path)
    loaded = CrossPatch.load(tmp_path)
    assert np.array_equal(saved.closed, loaded.closed)
    assert (loaded.seconds, loaded.settings, loaded.share[0, 0]) == (1.5, {"into": "base"}, 0.5)
