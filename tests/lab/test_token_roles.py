"""Roles of tokens by hand, and that the teacher's traces have one for every token."""

import random
from collections import Counter

from headscope.lab import chains
from headscope.lab.labels import symbols
from headscope.lab.token_roles import LAB_TOKEN_ROLES, lab_token_roles

PROMPT = "c=4; j=c*4; a=c*8; ?j"


def test_a_small_trace_by_hand() -> None:
    response = "<think> okay j=c*4; c=4; j=4*4=6; wait j=4*4=6; </think> <ans> 6 <|im_end|>"
    definition = ["plan", "form", "retrieval", "retrieval", "retrieval", "form"]
    leaf = ["plan", "form", "retrieval", "form"]
    fold = ["plan", "form", "iteration", "retrieval", "retrieval", "form", "calculation", "form"]
    expected = ["form", "form", *definition, *leaf, *fold, *["re-check"] * 9, "plan", "form", "answer", "form"]
    assert lab_token_roles(PROMPT, response) == expected


def test_tokens_after_one_that_leaves_the_course_have_no_role() -> None:
    assert len(lab_token_roles(PROMPT, "<think> j=c*4; a=4; j=4*4=6;")) == 8
    # A wrong result is carried on.
    assert lab_token_roles(PROMPT, "<think> j=c*4; c=4; j=4*4=7; </think> <ans> 7")[-1] == "answer"


def test_facts_are_recalled() -> None:
    value = chains.fact(1, 2)
    roles = lab_token_roles("c=E1R2; j=c*4; ?j", f"<think> j=c*4; c=E1R2; c={value};")
    assert roles[-5:] == ["form", "plan", "form", "recall", "form"]
    assert lab_token_roles("E1 R2 ?", f"<think></think> <ans> {value}")[-1] == "answer"


def test_every_token_of_the_teachers_traces_has_a_role() -> None:
    counts: Counter[str] = Counter()
    for tier in ("T1", "T3", "KR"):
        for item in chains.draw_items(tier, "train", 20, seed=3):
            response = chains.thinking_turn(item, opener="to", recheck=0.3, rng=random.Random(0))
            roles = lab_token_roles(item.prompt, response)
            assert len(roles) == len(symbols(response))
            counts.update(roles)
    assert set(counts) == set(LAB_TOKEN_ROLES)
