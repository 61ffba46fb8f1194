"""Which random sets stand next to a group of heads."""

import numpy as np
import pytest

from headscope.comparison.control_sets import control_sets
from headscope.heads import HeadSet
from headscope.measures.permutation import permutation_p_value
from headscope.results.head_sets import ControlledHeads

HEADS = HeadSet.of(["L1H0", "L1H1"])
NONE: HeadSet = HeadSet(())
IMPORTANCE = np.random.default_rng(0).lognormal(size=(6, 8))


def test_the_rest_of_the_group_is_left_out_if_enough_sets_remain() -> None:
    others = HeadSet.of(["L1H2"])
    sets, neighbouring = control_sets(HEADS, others, IMPORTANCE, 5, seed=0)
    assert (len(sets), neighbouring) == (5, 0)
    assert all(each.layer_profile() == {1: 2} for each in sets)
    assert not any(head in others or head in HEADS for each in sets for head in each)


def test_neighbouring_layers_come_before_other_heads_of_the_group() -> None:
    others = HeadSet.of(["L1H2", "L1H3", "L1H4", "L1H5"])  # leaves one pair of the layer, L1H6 L1H7
    sets, neighbouring = control_sets(HEADS, others, IMPORTANCE, 5, seed=0)
    assert (len(sets), neighbouring) == (5, 4)
    assert sets[0] == HeadSet.of(["L1H6", "L1H7"])
    assert not any(head in others or head in HEADS for each in sets for head in each)
    assert {head.layer for each in sets for head in each} <= {0, 1, 2}


@pytest.mark.parametrize(("head", "layers"), [("L0H3", {0, 1, 2}), ("L3H3", {2, 3, 4}), ("L5H3", {3, 4, 5})])
def test_one_head_of_eight_per_layer_can_reach_p_below_a_twentieth(head: str, layers: set[int]) -> None:
    chosen = HeadSet.of([head])
    sets, neighbouring = control_sets(chosen, NONE, IMPORTANCE, 200, seed=0)
    # Its own layer's seven first, then all sixteen of the two layers next to it, at the ends of the model on one side.
    assert (len(sets), neighbouring, len(set(sets))) == (23, 16, 23)
    own = chosen.heads[0].layer
    assert [next(iter(each)).layer == own for each in sets] == [True] * 7 + [False] * 16
    assert {next(iter(each)).layer for each in sets} == layers
    assert chosen not in sets
    assert permutation_p_value(1.0, np.zeros(len(sets))) == pytest.approx(1 / 24)
    assert permutation_p_value(1.0, np.zeros(7)) == 1 / 8


def test_neighbours_of_like_importance_are_taken_first() -> None:
    chosen = HeadSet.of(["L3H3"])
    sets, neighbouring = control_sets(chosen, NONE, IMPORTANCE, 12, seed=0)
    assert neighbouring == 5
    logs = np.log(IMPORTANCE)
    distance = abs(logs - logs[3, 3])

    def farness(each: HeadSet) -> float:
        (head,) = each
        return float(distance[head.layer, head.head])

    taken = [farness(each) for each in sets[-neighbouring:]]
    everyone = sorted(np.concatenate([distance[2], distance[4]]))
    assert np.mean(taken) < np.mean(everyone)
    assert max(taken) <= everyone[11]


def test_other_heads_of_the_group_come_last_and_only_if_there_are_too_few_sets() -> None:
    everything = HeadSet.of([(layer, head) for layer in range(3) for head in range(8)])
    chosen = HeadSet.of(["L1H0"])
    few = HeadSet.of(["L0H0", "L1H1", "L2H1", "L2H2"])  # leaves 19 of the 23
    sets, _ = control_sets(chosen, few, IMPORTANCE[:3], 200, seed=0)
    assert len(sets) == 19
    assert not any(each & few for each in sets)
    sets, neighbouring = control_sets(chosen, everything - chosen, IMPORTANCE[:3], 200, seed=0)
    assert (len(sets), neighbouring) == (7, 0)


def test_no_sets_next_to_no_heads_or_a_whole_model() -> None:
    assert control_sets(NONE, NONE, IMPORTANCE, 20, seed=0) == ((), 0)
    everything = HeadSet.of([(layer, head) for layer in range(6) for head in range(8)])
    assert control_sets(everything, NONE, IMPORTANCE, 20, seed=0) == ((), 0)


def test_the_result_says_where_the_sets_come_from(tmp_path) -> None:
    sets, neighbouring = control_sets(HeadSet.of(["L3H3"]), NONE, IMPORTANCE, 20, seed=0)
    ControlledHeads(HeadSet.of(["L3H3"]), sets, (), (6, 8), "a caveat", neighbouring).save(tmp_path)
    saved = ControlledHeads.load(tmp_path)
    assert saved.neighbouring == 13
    assert saved.remarks(20).startswith("13 of the 20 random sets have heads of neighbouring layers")
    assert saved.remarks(20).endswith("too few others; a caveat")
    assert saved.remarks(7) == "a caveat"
    older = ControlledHeads.from_dict(
        {name: value for name, value in saved.as_dict().items() if name != "neighbouring"} | {"schema_version": 2}
    )
    assert (older.neighbouring, older.controls) == (0, sets)
