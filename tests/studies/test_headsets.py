"""Which random sets stand beside a group of heads."""

from headscope.heads import HeadSet
from headscope.studies.headsets import sample_matched_sets

HEADS = HeadSet.of(["L1H0", "L1H1"])


def test_the_rest_of_the_group_is_left_out_where_enough_sets_remain() -> None:
    others = HeadSet.of(["L1H2"])
    sets = sample_matched_sets(HEADS, others, (3, 8), 5, seed=0)
    assert len(sets) == 5
    assert all(each.layer_profile() == {1: 2} for each in sets)
    assert not any(head in others or head in HEADS for each in sets for head in each)


def test_it_may_be_drawn_where_the_layer_holds_too_few_others() -> None:
    others = HeadSet.of(["L1H2", "L1H3", "L1H4", "L1H5"])  # leaves one pair of heads, L1H6 L1H7
    sets = sample_matched_sets(HEADS, others, (3, 8), 5, seed=0)
    assert len(sets) == 5
    assert any(head in others for each in sets for head in each)


def test_fewer_sets_where_fewer_exist_and_none_for_no_heads() -> None:
    assert len(sample_matched_sets(HeadSet.of(["L1H0"]), HeadSet(()), (3, 8), 20, seed=0)) == 7
    assert sample_matched_sets(HeadSet(()), HeadSet(()), (3, 8), 20, seed=0) == []
    assert sample_matched_sets(HeadSet.of([(0, head) for head in range(8)]), HeadSet(()), (3, 8), 20, seed=0) == []
