"""Step labels against the teacher's traces, the tokenizer's positions, and planted mistakes."""

import random

import pytest

from headscope.lab import chains
from headscope.lab.labels import label, symbols
from headscope.lab.tokenizer import build_tokenizer

CHAINS = ("T1", "T2", "T3", "T4", "KR")


def _rendered(item: chains.Item, response: str) -> list[int]:
    messages = [{"role": "user", "content": item.prompt}, {"role": "assistant", "content": response}]
    ids: list[int] = build_tokenizer().apply_chat_template(messages)["input_ids"]
    return ids


@pytest.mark.parametrize("tier", CHAINS)
def test_every_token_of_a_flawless_trace_is_the_expected_one(tier: str) -> None:
    for seed, item in enumerate(chains.draw_items(tier, "train", 30, seed=5)):
        opener = random.Random(seed).choice(["", "to", "okay"])
        response = chains.thinking_turn(item, opener=opener, recheck=0.5, rng=random.Random(seed)) + "<|im_end|>"
        labels = label(item.prompt, response)
        assert [token.symbol for token in labels] == symbols(response)
        assert all(token.right for token in labels)


@pytest.mark.parametrize("tier", CHAINS)
def test_positions_are_the_tokenizers_and_operands_hold_what_is_written(tier: str) -> None:
    tokens = build_tokenizer().convert_ids_to_tokens
    for item in chains.draw_items(tier, "train", 10, seed=6):
        response = chains.thinking_turn(item, opener="okay", recheck=0.3, rng=random.Random(0))
        written = tokens(_rendered(item, response))
        for token in label(item.prompt, response):
            assert written[token.position] == token.symbol
            read = [written[at] for at in token.operands]
            if token.slot in ("target", "operand", "operator", "digit", "fact", "answer"):
                assert read == [token.symbol]
            elif token.slot == "result" and len(read) == 3:
                assert str(chains.apply(read[1], int(read[0]), int(read[2]))) == token.symbol
            if token.definition is not None:
                assert written[token.definition + 1] == "="
            if token.slot == "operand" and token.previous is not None:
                assert written[token.previous] == token.symbol


def test_hand_written_labels_of_a_small_trace() -> None:
    prompt, response = "c=4; j=c*4; ?j", "<think> j=c*4; c=4; j=4*4=7; </think> <ans> 7"
    # Position: 0 start, 1 user, 2-5 c=4;  6-11 j=c*4;  12-13 ?j  14-16 end start assistant, 17 <think>
    labels = {token.position: token for token in label(prompt, response)}
    assert (labels[18].symbol, labels[18].definition, labels[18].operands) == ("j", 6, (6,))
    assert (labels[26].symbol, labels[26].slot, labels[26].operands) == ("4", "digit", (4,))
    fold = [labels[at] for at in range(28, 36)]
    assert [token.symbol for token in fold] == list("j=4*4=7;")
    assert [token.operands for token in fold] == [(6,), (), (26,), (9,), (10,), (), (30, 31, 32), ()]
    assert {token.previous for token in fold} == {26}
    assert (fold[6].expected, fold[6].right) == ("6", False)
    # The wrong result is carried: answering 7 is right given what was written.
    assert (labels[38].symbol, labels[38].right, labels[38].operands) == ("7", True, (34,))


def test_planted_slips_are_the_only_errors_found() -> None:
    for seed, item in enumerate(chains.draw_items("T3", "train", 40, seed=7)):
        response = chains.thinking_turn(item, recheck=0.6, slip=0.5, rng=random.Random(seed))
        wrong = [token for token in label(item.prompt, response) if not token.right]
        statements = [part for part in response.split("; ") if part.startswith("wait")]
        slips = 0
        for part in statements:
            left, operator, right, result = part[7], part[8], part[9], part[11]
            slips += str(chains.apply(operator, int(left), int(right))) != result
        assert len(wrong) == slips
        assert {token.slot for token in wrong} <= {"result"}


def test_labelling_ends_where_the_course_is_left() -> None:
    labels = label("c=4; j=c*4; ?j", "<think> j=c*4; a=4; j=4*4=6; </think> <ans> 6")
    assert (labels[-1].symbol, labels[-1].expected, labels[-1].slot) == ("a", "c", "target")


def test_answers_without_thinking_are_held_against_the_truth() -> None:
    item = chains.draw_items("K", "test", 1, seed=0)[0]
    labels = label(item.prompt, chains.direct_turn(item))
    assert [token.slot for token in labels] == ["marker", "marker", "marker", "answer"]
    assert (labels[-1].right, labels[-1].operands) == (True, (2, 3))
    wrong = label("c=4; j=c*4; ?j", "<think></think> <ans> 5")[-1]
    assert (wrong.expected, wrong.symbol) == ("6", "5")
