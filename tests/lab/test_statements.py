"""Lab statements: planted slips and nothing else, one changed token named for what it is, where it is."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from headscope.lab import builtin_data, chains
from headscope.lab.labels import label, symbols
from headscope.lab.statements import is_lab_prompt, judge

PROMPT = "c=4; a=c-1; j=c*4; ?j"


def _slips(prompt: str, response: str) -> list[tuple[str, str]]:
    return [(step.slip, response[step.start : step.end]) for step in judge(prompt, response) if step.slip]


def test_teacher_traces_have_the_planted_slips_and_nothing_else() -> None:
    slips: Counter[tuple[str, str, str]] = Counter()
    rechecks = 0
    for record in builtin_data.traces():
        (question,), (answer,) = record["prompt"], record["completion"]  # type: ignore[misc]
        for step in judge(question["content"], answer["content"]):
            rechecks += step.recheck
            if step.slip:
                slips[step.slip, step.kind, step.change] += 1
    assert rechecks == 661
    assert slips == {("calculation", "fold", "right→wrong"): 115}


MUTATIONS = {
    "target": chains.VARIABLES,
    "operator": chains.ARITHMETIC,
    "digit": "0123456789",
    "result": "0123456789",
    "answer": "0123456789",
}


def draw_mutations(count: int, seed: int) -> Iterator[tuple[str, str, int, str]]:
    """Prompt, response with one known token changed, the token's index, and the kind of error it is."""
    rng = random.Random(seed)
    items = [item for tier in ("T1", "T2", "T3", "T4", "KR") for item in chains.draw_items(tier, "train", 40, seed)]
    while count:
        item = rng.choice(items)
        response = symbols(chains.thinking_turn(item, opener="okay", recheck=0.15, rng=rng))
        token = rng.choice(label(item.prompt, " ".join(response)))
        folds = token.previous is not None
        if token.slot in ("marker", "opener", "wait", "sign"):
            continue
        if token.slot == "operand":
            pool = list("0123456789" if folds else chains.VARIABLES)
        elif token.slot == "fact":
            pool = [f"{token.symbol[0]}{number}" for number in range(32 if token.symbol[0] == "E" else 4)]
        else:
            pool = list(MUTATIONS[token.slot])
        index = token.position - len(symbols(item.prompt)) - 5
        response[index] = rng.choice([symbol for symbol in pool if symbol != token.symbol])
        kind = "retrieval"
        if token.slot == "target":
            kind = "plan" if f"{response[index]}=" in item.prompt else "undefined variable"
        elif token.slot == "result":
            kind = "recall" if len(token.operands) == 2 else "calculation"
        elif token.slot == "operand" and folds:
            kind = "iteration"
        elif token.slot == "answer":
            kind = "answer copy"
        count -= 1
        yield item.prompt, " ".join(response), index, kind


def test_one_changed_token_is_the_first_error_and_of_its_kind() -> None:
    for prompt, response, index, kind in draw_mutations(2000, seed=1):
        first = next(step for step in judge(prompt, response) if step.slip)
        assert (first.slip, first.first_token <= index < first.last_token) == (kind, True), response


@pytest.mark.parametrize(
    ("thought", "slips"),
    [
        ("j=c*4; c=4; j=4*4=6;", []),
        ("j=c*4; c=4; j=4*4=7;", [("calculation", "j=4*4=7;")]),
        # A slip does not hide the next, and whoever carries a wrong value on makes no second error.
        ("j=c*3; c=5; j=5*3=5;", [("retrieval", "j=c*3;"), ("retrieval", "c=5;")]),
        ("j=c*4; c=5; j=4*4=6;", [("retrieval", "c=5;"), ("iteration", "j=4*4=6;")]),
        ("j=c*4; c=4; j=4*4=6; wait j=4*4=8;", [("calculation", "wait j=4*4=8;")]),
        ("j=c*4; c=4; a=4-1=3;", [("plan", "a=4-1=3;")]),
        ("j=c*4; j=4*4=6;", [("plan", "j=4*4=6;")]),
        ("j=c*4; c=4; z=4*4=6;", [("form", "z=4*4=6;"), ("answer copy", "<ans> 6")]),
        ("j=c*4; c=4; p=4*4=6;", [("undefined variable", "p=4*4=6;")]),
        ("j=c*4; c=4 j=4*4=6;", [("form", "c=4")]),
        ("j=c*4; c=4;", [("plan", "</think>")]),
        ("j=c*4; to c=4; j=4*4=6;", [("form", "to")]),
    ],
)
def test_hand_written_thoughts(thought: str, slips: list[tuple[str, str]]) -> None:
    written = thought[-2] if thought.rstrip().endswith(";") and thought.count("=") > 2 else "4"
    assert _slips(PROMPT, f"<think> okay {thought} </think> <ans> {written}") == slips


def test_rechecks_say_what_they_changed() -> None:
    thought = "<think> j=c*4; c=4; j=4*4=7; wait j=4*4=6; wait j=4*4=5; wait j=4*4=5;"
    changes = [step.change for step in judge(PROMPT, thought) if step.recheck]
    assert changes == ["wrong→right", "right→wrong", "wrong→wrong"]


def test_answers_are_judged_by_what_was_thought() -> None:
    thought = "<think> j=c*4; c=4; j=4*4=6; </think> "
    assert _slips(PROMPT, thought + "<ans> 6<|im_end|>") == []
    assert _slips(PROMPT, thought + "<ans> 7") == [("answer copy", "<ans> 7")]
    assert _slips(PROMPT, thought + "6") == [("form", "6")]
    # Answered at once there is nothing to copy from, and no step to be wrong.
    assert _slips(PROMPT, "<think></think> <ans> 6") == []
    assert _slips(PROMPT, "<think></think> <ans> 5") == []
    assert _slips(PROMPT, "<think></think> <ans> c") == [("form", "<ans> c")]
    right = chains.fact(17, 2)
    assert _slips("E17 R2 ?", f"<think></think> <ans> {right}") == []
    assert _slips("E17 R2 ?", f"<think></think> <ans> {(right + 1) % 10}")[0][0] == "recall"


def test_an_answer_that_was_cut_off_is_judged_as_far_as_it_goes() -> None:
    assert _slips(PROMPT, "<think> okay j=c*4; c=4; j=4*") == []
    assert _slips(PROMPT, "<think> okay j=c*4; c=5; j=4*") == [("retrieval", "c=5;")]
    assert judge(PROMPT, "") == ()


def test_any_order_of_statements_is_read() -> None:
    rng = random.Random(5)
    words = [*"abcd=+-*019;?", "wait", "okay", "to", "<think>", "</think>", "<ans>", "E1", "R2", "<|im_end|>"]
    for tier in chains.TIERS:
        for item in chains.draw_items(tier, "train", 8, seed=3):
            flawless = symbols(chains.thinking_turn(item, recheck=0.3, rng=rng))
            for _ in range(40):
                written = list(flawless)
                for _ in range(rng.randint(1, 9)):
                    start, end = sorted(rng.choices(range(len(written) + 1), k=2))
                    place = rng.randrange(len(written) + 1)
                    moved = rng.choice([[], [rng.choice(words)], written[start:end]])
                    written[place:place] = moved
                    if rng.random() < 0.3:
                        del written[start:end]
                response = " ".join(written)
                for step in judge(item.prompt, response):
                    assert 0 <= step.start < step.end <= len(response)


@pytest.mark.parametrize(
    ("prompt", "known"),
    [
        (PROMPT, True),
        ("E3 R1 ?", True),
        ("a=E3R1; b=a+2; ?b", True),
        ("What is 2 + 2?", False),
        ("?j", False),
        ("", False),
    ],
)
def test_a_prompt_of_the_lab_is_known(prompt: str, known: bool) -> None:
    assert is_lab_prompt(prompt) is known


def test_a_slip_that_a_recheck_puts_right_is_repaired() -> None:
    steps = judge(PROMPT, "<think> j=c*4; c=4; j=4*4=7; wait j=4*4=6; </think> <ans> 6")
    assert [(step.slip, step.repaired, step.change) for step in steps if step.kind == "fold"] == [
        ("calculation", True, ""),
        ("", False, "wrong→right"),
    ]
