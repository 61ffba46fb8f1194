"""The crossed design where the answer is known: heads that are the model's, the prompt's, or need both."""

import json

import numpy as np
import pytest

from headscope.comparison import Resampling, crossed_design, importance_change
from headscope.errors import InputError
from headscope.results.crossed import ORIGINS, Crossed
from headscope.results.graph import Graph

GRAPH = Graph(3, 4)
ALL = Resampling(1.0, 40)


@pytest.fixture
def design(routed_scores):
    """L0H0 always; L1H1 on reasoning-style; L2H2 in post; L2H3 in post on reasoning-style; L1H3 too, rarely in base."""
    cells = [["L0H0"], ["L0H0", "L1H1"], ["L0H0", "L2H2"], ["L0H0", "L1H1", "L2H2", "L2H3", "L1H3"]]
    pairs = [[cell] * 8 for cell in cells]
    pairs[1] = [[*cells[1], "L1H3"], *[cells[1]] * 7]
    scores = [routed_scores(GRAPH, cell_pairs, pairs=name) for cell_pairs, name in zip(pairs, "abab", strict=True)]
    return (scores[0], scores[1]), (scores[2], scores[3])


def test_heads_called_emergent_are_parted_by_what_it_takes_to_see_them(design) -> None:
    crossed = crossed_design(*design, ALL)
    heads = {name: str(origin.heads) for name, origin in crossed.origins.items()}
    assert heads == {
        "emergent": "L1H1 L1H3 L2H2 L2H3",
        "prompt": "L1H1",
        "model": "L2H2",
        "both": "L2H3",
        "undecided": "L1H3",
    }
    counts = {name: crossed.origins[name].count for name in ORIGINS}
    assert counts["emergent"].value == 4
    assert (counts["model"].low, counts["model"].value, counts["model"].high, counts["model"].n) == (1, 1, 1, 8)
    assert crossed.pairs == 8


def test_effects_are_hand_summed(design) -> None:
    crossed = crossed_design(*design, ALL)
    of_post, of_reasoning = crossed.importance[:, :, 2, 2], crossed.importance[:, :, 1, 1]
    assert of_post.tolist() == [[0, 0], [pytest.approx(1 / 2), pytest.approx(1 / 5)]]
    assert crossed.effects["model"].value[2, 2] == pytest.approx((1 / 2 + 1 / 5) / 2)
    assert crossed.effects["prompt"].value[2, 2] == pytest.approx((1 / 5 - 1 / 2) / 2)
    assert crossed.effects["interaction"].value[2, 2] == pytest.approx(1 / 5 - 1 / 2)
    assert crossed.effects["prompt"].value[1, 1] == pytest.approx((of_reasoning[0, 1] + of_reasoning[1, 1]) / 2)
    assert sum(crossed.effects[name].value.sum() for name in crossed.effects) == pytest.approx(0)


def test_intervals_and_q_values_follow_the_pairs(noisy) -> None:
    base, post = noisy(GRAPH, 0, 1, 24), noisy(GRAPH, 5, 2, 24)
    crossed = crossed_design((base, base), (post, post), Resampling(0.2, 40))
    change = importance_change(base, post)
    for name in ("value", "low", "high"):
        assert np.allclose(getattr(crossed.effects["model"], name), getattr(change, name))
    assert np.abs(crossed.effects["prompt"].high).max() == 0
    assert len(crossed.changed_heads("prompt")) == len(crossed.changed_heads("interaction")) == 0
    assert len(crossed.changed_heads("model")) > 0
    assert crossed.origins["prompt"].count.value == 0


def test_a_model_crossed_with_itself_changes_nothing(noisy) -> None:
    cells = noisy(GRAPH, 0, 1, 24), noisy(GRAPH, 5, 2, 24)
    crossed = crossed_design(cells, cells, Resampling(0.2, 40))
    assert len(crossed.changed_heads("prompt")) > 0
    for effect in ("model", "interaction"):
        assert len(crossed.changed_heads(effect)) == 0
        assert np.abs(crossed.effects[effect].value).max() == 0


def test_result_survives_json(design) -> None:
    crossed = crossed_design(*design, ALL).as_dict()
    assert Crossed.from_dict(json.loads(json.dumps(crossed))).as_dict() == crossed
    with pytest.raises(InputError, match="update headscope"):
        Crossed.from_dict(crossed | {"schema_version": 99})


def test_cells_that_do_not_cross_are_refused(design, routed_scores) -> None:
    base, post = design
    with pytest.raises(InputError, match="same pairs as the base-style one"):
        crossed_design((base[0], base[0]), (post[0], post[0]), ALL)
    with pytest.raises(InputError, match="digest b"):
        crossed_design(base, (post[1], post[0]), ALL)
    with pytest.raises(InputError, match="3 layers of 2 heads"):
        crossed_design(base, (routed_scores(Graph(3, 2), [["L0H0"]] * 8, pairs="a"), post[1]), ALL)
